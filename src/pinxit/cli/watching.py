"""How a run is shown while it goes: JSON lines, a progress bar, plain lines, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pinxit.cli.terminal import Terminal, safe
from pinxit.cli.texts import ENGLISH
from pinxit.schema.events import Event, Finished, ImageReady, Noted, Planned, StageStarted, Stepped

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Watch = Callable[[Event], None]


@contextmanager
def watcher(terminal: Terminal) -> Generator[Watch]:
    """The way of showing events that suits the terminal, for as long as the run lasts."""
    if terminal.json:
        yield lambda event: terminal.send(event.to_json())
    elif terminal.quiet:
        yield lambda _event: None
    elif terminal.err.isatty():
        with _bar(terminal) as progress:
            yield Bar(terminal, progress)
    else:
        yield Lines(terminal)


class Lines:
    """For logs: a line for each stage and picture, and the pace where the steps end."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._pace = Pace()

    def __call__(self, event: Event) -> None:
        say, note = self._terminal.say, self._terminal.note
        if isinstance(event, Planned):
            for line in event.notes:
                note(line)
        elif isinstance(event, Noted):
            note(event.text)
        elif isinstance(event, StageStarted):
            note(stage_name(event.stage, self._terminal))
        elif isinstance(event, Stepped):
            self._pace.add(event)
            if event.index + 1 == event.total:
                note(say("note.steps", total=event.total, pace=self._pace.text(say("word.pace"))))
        elif isinstance(event, Finished):
            note(say("note.finished", count=len(event.images), seconds=f"{event.seconds:.1f}"))


class Bar:
    """A progress bar on a terminal: one task for each picture, with the time of a step."""

    def __init__(self, terminal: Terminal, progress: Progress) -> None:
        self._terminal = terminal
        self._progress = progress
        self._pace = Pace()
        self._task: TaskID = progress.add_task("", total=None, pace="")
        self._count, self._image = 1, 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Planned):
            self._count = event.request.count
            for line in event.notes:
                self._print(line)
        elif isinstance(event, Noted):
            self._print(event.text)
        elif isinstance(event, StageStarted):
            self._describe(stage_name(event.stage, self._terminal))
        elif isinstance(event, Stepped):
            self._pace.add(event)
            self._image = event.image
            pace = self._pace.text(self._terminal.say("word.pace"))
            self._progress.update(self._task, total=event.total, completed=event.index + 1, pace=pace)
        elif isinstance(event, ImageReady):
            self._image, self._pace = event.index + 1, Pace()
            if self._image < self._count:
                self._progress.reset(self._task, total=None, pace="")

    def _print(self, line: str) -> None:
        self._progress.console.print(safe(line), markup=False, highlight=False)

    def _describe(self, words: str) -> None:
        numbered = f"{self._image + 1}/{self._count} {words}" if self._count > 1 else words
        self._progress.update(self._task, description=safe(numbered))


class Pace:
    """The mean time of the steps so far, without the first one, which pays for warming up."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    def add(self, event: Stepped) -> None:
        self._seconds.append(event.seconds)

    def text(self, unit: str) -> str:
        """Such as `0.41 s/step`."""
        counted = self._seconds[1:] or self._seconds
        return f"{sum(counted) / len(counted):.2f} {unit}" if counted else ""


def stage_name(stage: str, terminal: Terminal) -> str:
    """What people call a stage; a plugin's stage keeps its own name."""
    key = f"stage.{stage}"
    return terminal.say(key) if key in ENGLISH else stage


@contextmanager
def counter(terminal: Terminal, words: str) -> Generator[Callable[[int, int], None]]:
    """Shows how many of so many things are done, as (done, total): a bar on a terminal, else nothing."""
    if terminal.json or terminal.quiet or not terminal.err.isatty():
        yield lambda _done, _total: None
        return
    with _bar(terminal) as progress:
        task = progress.add_task(safe(words), total=None, pace="")
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def _bar(terminal: Terminal) -> Generator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=terminal.err), transient=True) as progress:
        yield progress
