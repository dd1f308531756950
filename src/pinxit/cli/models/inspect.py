"""`pinxit models inspect`: what a model file is, and what to do with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.help import columns
from pinxit.cli.parser import Arguments, Flag, Operand
from pinxit.cli.running import RUN_FLAGS
from pinxit.cli.terminal import Terminal, safe

if TYPE_CHECKING:
    from pinxit.studio.inspect import Inspection

LONG_READING = 2**29
"""Bytes from which on it is said that the hashes take a while."""
SHOWN_NAMES = 8
STYLES = {"yes": "green", "no": "bold red", "unknown": "yellow"}
"""Colours of the answer about commercial use, where there is a terminal to show them."""

Row = tuple[str, str, str]
"""A title, a line of text, and the style that a terminal may show it in."""


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:
    """Say what a file is; returns the exit code. A file that is no model is an answer, not an error."""
    from pinxit.plugins.manager import build_catalog
    from pinxit.studio.hashes import HashCache
    from pinxit.studio.inspect import inspect_file
    from pinxit.studio.paths import builtin_model, cache_folder, model_folders

    path = find(arguments.operands["FILE"], open_studio)
    hashes = not arguments.on("no-hashes")
    if hashes and path.is_file() and path.stat().st_size > LONG_READING:
        terminal.note(terminal.say("note.hashing", size=size_text(path.stat().st_size)))
    found = inspect_file(
        path,
        build_catalog(),
        hashes=hashes,
        cache=HashCache(cache_folder() / "hashes.json"),
        folders=(*model_folders(), builtin_model().parent),
    )
    if terminal.json:
        terminal.send(found.to_json(terminal.lang))
    else:
        show(list(rows(found, terminal)), terminal)
    return 0


def find(word: str, open_studio: OpenStudio) -> Path:
    """The path that `word` is, or that of the listed model which it names. Raises UnknownName and Missing."""
    path = Path(word).expanduser()
    looks_like_a_path = "/" in word or "\\" in word or path.suffix != ""
    return path if looks_like_a_path or path.exists() else open_studio().model_path(word)


def rows(found: Inspection, terminal: Terminal) -> Iterator[Row]:
    """Everything that a person wants to know, in order of weight."""
    say, lang = terminal.say, terminal.lang
    yield say("inspect.file"), f"{found.path.name} ({size_text(found.size)})", ""
    yield say("inspect.kind"), found.title.text(lang), "bold"
    if found.family:
        yield say("inspect.family"), _family(found), ""
    elif found.variant:
        yield say("inspect.variant"), found.variant, ""
    if found.candidates:
        yield say("inspect.candidates"), ", ".join(found.candidates), ""
    if found.known_as:
        yield say("inspect.known"), found.known_as, ""
    if found.prediction:
        yield say("inspect.prediction"), found.prediction, "bold"
    yield from ((say("inspect.evidence"), line, "") for line in found.evidence)
    if found.layout:
        yield say("inspect.layout"), f"{found.layout} ({found.table})" if found.table else found.layout, ""
    yield from _contents(found, terminal)
    yield from _licence(found, terminal)
    yield from _digests(found, terminal)
    yield from ((say("inspect.training"), f"{name}: {value}", "") for name, value in found.training.items())
    yield from ((say("inspect.advice"), line.text(lang), "cyan") for line in found.advice)


def _family(found: Inspection) -> str:
    name = f"{found.family_title} ({found.family})" if found.family_title else str(found.family)
    return f"{name}, {found.variant}" if found.variant else name


def _contents(found: Inspection, terminal: Terminal) -> Iterator[Row]:
    say = terminal.say
    for part in found.components:
        words = say(
            "inspect.component",
            name=part.name,
            tensors=f"{part.tensors:,}",
            parameters=number_text(part.parameters),
            size=size_text(part.bytes),
            dtype=part.dtype,
        )
        yield say("inspect.components"), words, ""
    for title, names, count in (
        ("inspect.missing", found.missing, found.missing_count),
        ("inspect.unexpected", found.unexpected, found.unexpected_count),
    ):
        if count:
            more = say("inspect.more", count=count - SHOWN_NAMES) if count > SHOWN_NAMES else ""
            yield say(title), ", ".join(names[:SHOWN_NAMES]) + more, "yellow"
    for reason, count in found.unused.items():
        yield say("inspect.unused"), f"{count}: {reason}", ""


def _licence(found: Inspection, terminal: Terminal) -> Iterator[Row]:
    say, licence = terminal.say, found.licence
    yield say("inspect.licence"), licence.name or say("inspect.unknown"), ""
    answer = {"yes": say("inspect.yes"), "no": say("inspect.no"), "unknown": say("inspect.unknown")}[licence.commercial]
    condition = f"{say('inspect.but')}{licence.condition.text(terminal.lang)}" if licence.condition else ""
    yield say("inspect.commercial"), answer + condition, STYLES[licence.commercial]
    yield from ((say("inspect.licence-evidence"), line, "") for line in licence.evidence)


def _digests(found: Inspection, terminal: Terminal) -> Iterator[Row]:
    for file in found.files:
        if file.hashes is None:
            continue
        if len(found.files) > 1:
            yield terminal.say("inspect.hashes"), f"{file.name}  sha256 {file.hashes.sha256}", ""
            continue
        for name, digest in file.hashes.to_json().items():
            if digest:
                yield terminal.say("inspect.hashes"), f"{name:<7} {digest}", ""


def show(lines: list[Row], terminal: Terminal) -> None:
    """Titles in one column, texts in the other; a title is not repeated. Colours only where a terminal shows them."""
    width = max(columns(title) for title, _, _ in lines)
    if terminal.out.isatty():
        _show_in_colour(lines, width, terminal)
        return
    before = ""
    for title, text, _ in lines:
        shown = "" if title == before else title
        terminal.result(shown + " " * (width - columns(shown) + 2) + text)
        before = title


def _show_in_colour(lines: list[Row], width: int, terminal: Terminal) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=width, no_wrap=True)
    table.add_column(overflow="fold")
    before = ""
    for title, text, style in lines:
        table.add_row(Text("" if title == before else safe(title), style="dim"), Text(safe(text), style=style))
        before = title
    Console(file=terminal.out, highlight=False).print(table)


def size_text(count: int) -> str:
    """A number of bytes for people: `4.27 GB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.2f} {unit}"
    return f"{count} B"


def number_text(count: int) -> str:
    """A number of weights for people: `859.52 M`."""
    return f"{count / 1e6:,.2f} M" if count >= 1_000_000 else f"{count:,}"


COMMAND = Command(
    name="models inspect",
    about="about.models-inspect",
    run=run,
    operands=(Operand(name="FILE", text="operand.model-file"),),
    flags=(Flag(name="no-hashes", text="flag.no-hashes"), RUN_FLAGS[0]),
    examples=("pinxit models inspect model.safetensors", "pinxit models inspect model.safetensors --json --no-hashes"),
)
