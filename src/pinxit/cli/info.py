"""`pinxit info`: the recipe in a picture, ours or another program's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from pinxit.cli.again import Recipe, read_recipe
from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.help import columns
from pinxit.cli.parser import Arguments, Operand
from pinxit.cli.running import RUN_FLAGS
from pinxit.cli.terminal import Terminal
from pinxit.schema.field import knobs
from pinxit.schema.parts import FromImage
from pinxit.schema.record import Record
from pinxit.schema.request import GenerationRequest


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:  # noqa: ARG001  every command's shape
    """Show a recipe; returns the exit code."""
    recipe = read_recipe(Path(arguments.operands["FILE"]), terminal)
    if terminal.json:
        terminal.send(_as_json(recipe))
        return 0
    rows = list(_rows(recipe, terminal))
    width = max(columns(title) for title, _ in rows)
    for title, value in rows:
        lines = value.split("\n")
        terminal.result(title + " " * (width - columns(title) + 2) + lines[0])
        for line in lines[1:]:
            terminal.result(" " * (width + 2) + line)
    return 0


def _as_json(recipe: Recipe) -> Mapping[str, object]:
    if recipe.record is not None:
        return {"event": "recipe", "program": "pinxit", "record": recipe.record.to_dict()}
    return {
        "event": "recipe",
        "program": "a1111",
        "request": recipe.request.to_dict(),
        "strength": recipe.imported.strength if recipe.imported else None,
        "other": dict(recipe.imported.other) if recipe.imported else {},
        "parameters": recipe.parameters,
    }


def _rows(recipe: Recipe, terminal: Terminal) -> Iterator[tuple[str, str]]:
    """Title and value of everything that the recipe says."""
    yield from _request_rows(recipe.request, terminal, all_defaults=recipe.record is not None)
    if recipe.record is not None:
        yield from _record_rows(recipe.record, terminal)
    if recipe.imported is not None:
        if recipe.imported.strength is not None:
            yield terminal.say("from_image.strength.title"), f"{recipe.imported.strength:g}"
        yield from recipe.imported.other.items()
        yield terminal.say("info.source"), terminal.say("info.foreign")


def _request_rows(request: GenerationRequest, terminal: Terminal, *, all_defaults: bool) -> Iterator[tuple[str, str]]:
    for knob in knobs(GenerationRequest):
        value = getattr(request, knob.name)
        if value is None or knob.name in ("source", "count"):
            continue
        if value == knob.info.default and (
            knob.name in ("negative", "fit", "quality", "adapters", "passes") or not all_defaults
        ):
            continue
        yield terminal.say(f"{knob.key}.title"), _spelt(value)
    if isinstance(request.source, FromImage):
        image = request.source.image
        yield terminal.say("from_image.image.title"), f"{image.name} (sha256 {image.sha256})".strip()
        yield terminal.say("from_image.strength.title"), f"{request.source.strength:g}"


def _spelt(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_spelt, cast("tuple[object, ...]", value)))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _record_rows(record: Record, terminal: Terminal) -> Iterator[tuple[str, str]]:
    facts = record.model
    yield terminal.say("model_facts.family.title"), f"{facts.family}, {facts.prediction}"
    for file in facts.files:
        yield terminal.say("model_facts.files.title"), f"{file.name} (sha256 {file.sha256})"
    for one in record.adapters:
        for file in one.files:
            yield terminal.say("adapter_facts.files.title"), f"{file.name} (sha256 {file.sha256})"
    for name in ("noise", "dtype", "threads", "torch", "numerics", "engine"):
        yield terminal.say(f"record.{name}.title"), str(getattr(record, name))


COMMAND = Command(
    name="info",
    about="about.info",
    run=run,
    operands=(Operand(name="FILE", text="operand.picture"),),
    flags=(RUN_FLAGS[0],),
    examples=("pinxit info apple.png", "pinxit info apple.png --json"),
)
