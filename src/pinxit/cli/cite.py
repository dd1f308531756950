"""`pinxit cite`: the training drawings that a picture of the built-in model is nearest to, and whose they are."""

from __future__ import annotations

from pathlib import Path

from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.numbers import whole
from pinxit.cli.parser import Arguments, Flag, Operand
from pinxit.cli.running import RUN_FLAGS, read_image
from pinxit.cli.terminal import Terminal
from pinxit.schema.errors import BadImage, BadInput
from pinxit.schema.picture import read_record
from pinxit.schema.record import Record

OWN_FAMILY = "pinxit"
COUNT = 5


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:  # noqa: ARG001  every command's shape
    """List the nearest drawings. Raises BadInput for a picture that another family of models painted."""
    from pinxit.engine.image import open_picture
    from pinxit.evaluate.cite import nearest_drawings
    from pinxit.evaluate.references import SHIPPED, References

    path = Path(arguments.operands["FILE"])
    _, data = read_image(path)
    record = _record(path)
    if record is not None and record.model.family != OWN_FAMILY:
        raise BadInput(terminal.say("error.cite", model=record.model.name), hint=terminal.say("hint.cite"))
    folder = arguments.value("judges")
    references = References(Path(folder).expanduser() if folder else SHIPPED)
    count = whole(arguments, "count", terminal) or COUNT
    found = nearest_drawings(open_picture(data, name=path.name), references, count)
    if terminal.json:
        terminal.send({"event": "cited", "known": record is not None, "nearest": [one.to_json() for one in found]})
        return 0
    if record is None:
        terminal.note(terminal.say("cite.unknown"))
    for one in found:
        mark = terminal.say("cite.close") if one.close else ""
        terminal.result(f"{one.similarity:.2f}  {one.name}, {one.drawing} {mark}".rstrip())
        terminal.result(f"      {one.source.package}, {one.source.author}, {one.source.licence}")
    terminal.note(terminal.say("cite.meaning"))
    return 0


def _record(path: Path) -> Record | None:
    try:
        return read_record(path)
    except BadImage:
        return None


COMMAND = Command(
    name="cite",
    about="about.cite",
    run=run,
    operands=(Operand(name="FILE", text="operand.picture"),),
    flags=(
        Flag(name="count", text="flag.citations", metavar="N", default=str(COUNT)),
        Flag(name="judges", text="flag.judges", metavar="FOLDER"),
        *RUN_FLAGS,
    ),
    examples=("pinxit cite apple.png", "pinxit cite apple.png --count 10 --json"),
)
