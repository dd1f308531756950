"""`pinxit models list`: everything in the folders of models, and what each file is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.help import columns
from pinxit.cli.models.inspect import size_text
from pinxit.cli.parser import Arguments, Flag
from pinxit.cli.running import RUN_FLAGS
from pinxit.cli.terminal import Terminal, safe
from pinxit.cli.watching import counter
from pinxit.schema.errors import Missing, UnknownName

if TYPE_CHECKING:
    from pinxit.studio.library import Library
    from pinxit.studio.listing import Row

MODELS_FLAG = Flag(name="models", text="flag.models", metavar="DIR")
HEADINGS = ("list.name", "list.kind", "list.family", "list.size", "list.dtype", "list.hash")


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:  # noqa: ARG001  every command's shape
    """List the models; returns the exit code."""
    from pinxit.plugins.manager import build_catalog
    from pinxit.studio.listing import listed
    from pinxit.studio.paths import cache_folder

    library = library_of(arguments, terminal)
    entries = library.everything()
    rows: list[Row] = []
    with counter(terminal, terminal.say("note.listing")) as count:
        for row in listed(library, build_catalog(), cache_folder() / "listing.json", entries):
            rows.append(row)
            count(len(rows), len(entries))
    wanted = arguments.value("kind")
    if wanted is not None:
        kinds = {kind for row in rows for kind in (row.kind, row.entry.kind)}
        if rows and wanted not in kinds:
            raise UnknownName("kind of model", wanted, kinds)
        rows = [row for row in rows if wanted in (row.kind, row.entry.kind)]
    if terminal.json:
        terminal.send({"event": "listed", "models": [row.to_json() for row in rows]})
        return 0
    _print([tuple(terminal.say(heading) for heading in HEADINGS), *(_cells(row) for row in rows)], terminal)
    if not rows:
        folders = ", ".join(map(str, library.folders))
        terminal.note(terminal.say("note.no-models", folders=folders))
    return 0


def library_of(arguments: Arguments, terminal: Terminal) -> Library:
    """The library of the usual folders, or of the one that `--models` names. Raises Missing when that is not there."""
    from pinxit.studio.library import Library

    named = arguments.value("models")
    if named is None:
        return Library()
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise Missing(terminal.say("error.no-folder", folder=folder), hint=terminal.say("hint.no-folder"))
    return Library((folder.absolute(),))


def _cells(row: Row) -> tuple[str, ...]:
    family = row.family or ""
    if row.variant and row.kind != "shard":
        family = f"{family} {row.variant}".strip()
    return (row.entry.name, row.kind, family, size_text(row.bytes), row.dtype or "", row.short or "")


def _print(table: Sequence[tuple[str, ...]], terminal: Terminal) -> None:
    cells = [tuple(safe(cell) for cell in row) for row in table]
    widths = [max(columns(row[index]) for row in cells) for index in range(len(HEADINGS))]
    for row in cells:
        padded = (cell + " " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True))
        terminal.result("  ".join(padded).rstrip())


COMMAND = Command(
    name="models list",
    about="about.models-list",
    run=run,
    flags=(Flag(name="kind", text="flag.kind", metavar="KIND"), MODELS_FLAG, *RUN_FLAGS),
    examples=("pinxit models list", "pinxit models list --kind lora --json", "pinxit models list --models ~/ComfyUI"),
)
