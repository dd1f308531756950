"""`pinxit list`: the names that flags accept: models, adapters, samplers, schedules."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pinxit.cli.commands import Command, Named, OpenStudio, Studio
from pinxit.cli.parser import Arguments, Operand
from pinxit.cli.running import RUN_FLAGS
from pinxit.cli.terminal import Terminal
from pinxit.schema.errors import UnknownName

KINDS: dict[str, Callable[[Studio], Iterable[Named]]] = {
    "models": lambda studio: studio.models(),
    "adapters": lambda studio: studio.adapters(),
    "samplers": lambda studio: studio.catalog.samplers,
    "schedules": lambda studio: studio.catalog.schedules,
}


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:
    """List what there is of a kind; returns the exit code."""
    kind = arguments.operands["KIND"]
    if kind not in KINDS:
        raise UnknownName("list", kind, KINDS)
    entries = list(KINDS[kind](open_studio()))
    if terminal.json:
        terminal.send({"event": "listed", kind: [{"name": entry.name, "title": entry.title} for entry in entries]})
        return 0
    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        terminal.result(f"{entry.name:<{width}}  {entry.title}")
    return 0


COMMAND = Command(
    name="list",
    about="about.list",
    run=run,
    operands=(Operand(name="KIND", text="operand.kind"),),
    flags=(RUN_FLAGS[0],),
    examples=tuple(f"pinxit list {kind}" for kind in KINDS),
)
