"""What painting commands share: their flags, the input picture, the model, Ctrl-C, and telling what happens."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from pinxit.cli.commands import Studio
from pinxit.cli.parser import Arguments, Flag
from pinxit.cli.terminal import Terminal
from pinxit.schema.errors import BadInput, BadModelFile, PinxitError
from pinxit.schema.request import GenerationRequest, ImageFormat, ImageRef

if TYPE_CHECKING:
    from PIL import Image

    from pinxit.engine.means import Means
    from pinxit.schema.events import Event, Failed

OUTPUT_FLAGS = (Flag(name="output", text="flag.output", metavar="PATH", short="o", default="pictures"),)
PREVIEWS = Flag(name="previews", text="flag.previews", metavar="FOLDER")
RUN_FLAGS = (Flag(name="json", text="flag.json"), Flag(name="quiet", text="flag.quiet", short="q"))
MEANS_FLAGS = (
    Flag(name="device", text="flag.means-device", metavar="NAME", group="group.means", default="auto"),
    Flag(name="precision", text="flag.precision", metavar="NAME", group="group.means", default="auto"),
    Flag(name="memory", text="flag.memory", metavar="auto|low", group="group.means", default="auto"),
    Flag(name="compile", text="flag.compile", metavar="auto|on|off", group="group.means", default="auto"),
)
DEFAULT_OUTPUT = Path("pictures")
MODEL_SUFFIXES = (".safetensors", ".safetensors.index.json", ".ckpt", ".pt", ".pth", ".bin")
OTHER_PICTURES = (".gif", ".bmp", ".tif", ".tiff", ".avif", ".jxl", ".heic", ".svg", ".pdf")
"""Suffixes by which a user surely means a picture, of a format that is not written here."""


def means_of(arguments: Arguments) -> Means:
    """With what to compute. Raises UnknownName."""
    from pinxit.engine.means import Means

    return Means.of(**{flag.name: arguments.value(flag.name) for flag in MEANS_FLAGS})


def read_image(path: Path) -> tuple[ImageRef, bytes]:
    """The input picture at `path`. Raises Missing and BadImage."""
    from pinxit.engine.image import read_picture

    return read_picture(path)


def adopt_model(request: GenerationRequest, studio: Studio) -> GenerationRequest:
    """The request with names where the user gave paths of models or adapters. A bare word is always a name."""
    passes = tuple(one.model_copy(update={"model": _adopted(one.model, studio)}) for one in request.passes)
    adapters = tuple(one.model_copy(update={"name": _adopted(one.name, studio)}) for one in request.adapters)
    model = None if request.model is None else _adopted(request.model, studio)
    return request.replace(model=model, passes=passes, adapters=adapters)


def _adopted(name: str, studio: Studio) -> str:
    path = Path(name).expanduser()
    looks_like_a_path = "/" in name or "\\" in name or name.startswith("~")
    if (
        name.endswith(MODEL_SUFFIXES)
        or (looks_like_a_path and path.exists())
        or name.startswith(("./", "../", "/", "~"))
    ):
        return studio.add_model(path)
    return name


def output_of(arguments: Arguments, terminal: Terminal) -> tuple[Path, ImageFormat | None]:
    """Where the pictures go, and the format that a file's suffix asks for. Raises BadInput."""
    from pinxit.engine.output import SUFFIXES, is_file_name

    word = arguments.value("output")
    if word is None:
        return DEFAULT_OUTPUT, None
    if word == "" or not word.isprintable():
        raise BadInput(terminal.say("error.output"), hint=terminal.say("hint.output"))
    path = Path(word).expanduser()
    if is_file_name(path) and not word.endswith("/"):
        suffix = path.suffix.lower()
        return path, next(name for name, suffixes in SUFFIXES.items() if suffix in suffixes)
    if path.suffix.lower() in OTHER_PICTURES and not path.is_dir():
        message = terminal.say("error.suffix", suffix=path.suffix)
        raise BadInput(message, hint=terminal.say("hint.suffix", names=", ".join(SUFFIXES)), field="format")
    return path, None


def paint_and_tell(
    studio: Studio,
    request: GenerationRequest,
    inputs: Mapping[str, bytes],
    arguments: Arguments,
    terminal: Terminal,
) -> int:
    """Paint, or with `--dry-run` only plan, and tell how it goes. Returns the exit code."""
    output, suffix_format = output_of(arguments, terminal)
    if suffix_format is not None and arguments.value("format") is None:
        request = request.replace(format=suffix_format)
    if arguments.on("dry-run"):
        return _tell_plan(studio, request, inputs, output, terminal)
    previews = arguments.value(PREVIEWS.name)
    with stoppable(terminal) as stop:
        events = studio.paint(request, inputs, output=output, stop=stop, previews=previews is not None)
        return tell(events if previews is None else _kept(events, Path(previews).expanduser(), terminal), terminal)


def _kept(events: Iterator[Event], folder: Path, terminal: Terminal) -> Iterator[Event]:
    """The same events, after the previews among them were written to `folder`, named by picture and step."""
    from pinxit.schema.events import Stepped

    for event in events:
        if isinstance(event, Stepped) and event.preview is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                event.preview.save(folder / f"{event.image + 1:02d}-{event.index + 1:02d}.png")
            except OSError as error:
                message = terminal.say("error.previews", folder=folder, reason=error.strerror)
                raise BadInput(message, hint=terminal.say("hint.previews")) from error
        yield event


def _tell_plan(
    studio: Studio, request: GenerationRequest, inputs: Mapping[str, bytes], output: Path, terminal: Terminal
) -> int:
    from pinxit.engine.output import check_output

    plan = studio.plan(request, inputs)
    check_output(output, request)
    if terminal.json:
        terminal.send({"event": "planned", **plan.to_json()})
        return 0
    for line in plan.lines():
        terminal.result(line)
    return 0


def tell(events: Iterator[Event], terminal: Terminal) -> int:
    """Show a run as the terminal wants it; the paths of the pictures are the lines of the result.

    Where a progress bar may be in their way, they wait for its end; also when that end is an error.
    """
    from pinxit.cli.watching import watcher
    from pinxit.schema.events import Failed, ImageReady

    waiting: list[Path] = []
    try:
        with watcher(terminal) as watch:
            for event in events:
                if isinstance(event, Failed):
                    return tell_failure(event, terminal)
                watch(event)
                if isinstance(event, ImageReady) and event.path is not None and not terminal.json:
                    waiting.append(event.path)
                if not terminal.err.isatty():
                    _print(waiting, terminal)
    finally:
        _print(waiting, terminal)
    return 0


def _print(waiting: list[Path], terminal: Terminal) -> None:
    for path in waiting:
        terminal.result(path)
    waiting.clear()


def tell_failure(failed: Failed, terminal: Terminal) -> int:
    """Show a failure that came as an event; returns the exit code of the error that it was made from."""
    terminal.fail(failed.code, failed.message, failed.hint, failed.field)
    return error_of(failed).exit_code


def error_of(failed: Failed) -> PinxitError:
    """The error that the event `failed` was made from."""
    kind = next((kind for kind in _kinds(PinxitError) if kind.code == failed.code), PinxitError)
    error = PinxitError.__new__(kind)
    PinxitError.__init__(error, failed.message, hint=failed.hint, field=failed.field)
    return error


def _kinds(kind: type[PinxitError]) -> Iterator[type[PinxitError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _kinds(child)


def one_picture(
    request: GenerationRequest, inputs: Mapping[str, bytes], studio: Studio, stop: Callable[[], bool]
) -> Image.Image:
    """The one picture that a request gives. Raises what the run failed with, and BadModelFile when there is none."""
    from pinxit.schema.events import Failed, ImageReady

    picture: Image.Image | None = None
    for event in studio.paint(request, inputs, stop=stop):
        if isinstance(event, Failed):
            raise error_of(event)
        if isinstance(event, ImageReady):
            picture = event.image
    if picture is None:
        raise BadModelFile("The model painted nothing.", hint="Look at it with `pinxit models inspect`.")
    return picture


class Stop:
    """Asked between steps: whether the user wants to end the run."""

    def __init__(self) -> None:
        self.wanted = False

    def __call__(self) -> bool:
        return self.wanted


@contextmanager
def stoppable(terminal: Terminal) -> Generator[Stop]:
    """Let the first Ctrl-C (or SIGTERM) ask for an end between two steps, and the second one raise at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(_number: int, _frame: FrameType | None) -> None:
        if stop.wanted:
            raise KeyboardInterrupt
        stop.wanted = True
        terminal.note(terminal.say("note.stopping"))

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
