"""`pinxit redo`: the picture again from its recipe, with or without changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pinxit.cli.again import IMAGE, inputs_for, read_recipe
from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.paint import DRY_RUN
from pinxit.cli.parser import Arguments, Operand
from pinxit.cli.request_flags import given, given_passes, given_source, request_flags
from pinxit.cli.running import MEANS_FLAGS, OUTPUT_FLAGS, RUN_FLAGS, adopt_model, means_of, paint_and_tell, read_image
from pinxit.cli.terminal import Terminal
from pinxit.schema.errors import UsageError
from pinxit.schema.parts import FromImage
from pinxit.schema.request import GenerationRequest


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:
    """Paint a picture again; returns the exit code."""
    path = Path(arguments.operands["FILE"])
    recipe = read_recipe(path, terminal)
    if recipe.imported is not None:
        for name, value in recipe.imported.other.items():
            terminal.note(terminal.say("note.not-taken", name=name, value=value[:100]))
    request, inputs = _changed(recipe.request, arguments, path, terminal)
    studio = open_studio(means_of(arguments))
    return paint_and_tell(studio, adopt_model(request, studio), inputs, arguments, terminal)


def _changed(
    request: GenerationRequest, arguments: Arguments, path: Path, terminal: Terminal
) -> tuple[GenerationRequest, Mapping[str, bytes]]:
    """The recipe's request with the changes that were asked for, and its input pictures."""
    changes = given(arguments)
    if (passes := given_passes(arguments, request.passes)) is not None:
        changes["passes"] = passes
    source = dict(given_source(arguments))
    image = arguments.value("image")
    if isinstance(request.source, FromImage):
        source.pop("image", None)
        if source:
            changes["source"] = {
                "kind": "image",
                "image": request.source.image,
                "strength": request.source.strength,
            } | source
        request = request.replace(**changes)
        return request, inputs_for(request, image, path, terminal)
    if not source:
        return request.replace(**changes), {}
    if image is None:
        flag = next(iter(source)).replace("_", "-")
        raise UsageError(terminal.say("error.no-image", flag=f"--{flag}"), hint=terminal.say("hint.image"))
    reference, data = read_image(Path(image))
    changes["source"] = source | {"kind": "image", "image": reference}
    return request.replace(**changes), {reference.sha256: data}


COMMAND = Command(
    name="redo",
    about="about.redo",
    run=run,
    operands=(Operand(name="FILE", text="operand.picture"),),
    flags=(*OUTPUT_FLAGS, IMAGE, DRY_RUN, *RUN_FLAGS, *request_flags(without=("image",)), *MEANS_FLAGS),
    examples=("pinxit redo apple.png", "pinxit redo apple.png --seed 8 --steps 20 --output other.png"),
)
