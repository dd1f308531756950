"""What commands that start from a picture's recipe share: reading it, and finding its input picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pinxit.cli.parser import Flag
from pinxit.cli.running import read_image
from pinxit.cli.terminal import Terminal
from pinxit.schema.errors import BadImage, BadInput, Missing
from pinxit.schema.interchange import Imported, read_a1111
from pinxit.schema.picture import read_parameters, read_record
from pinxit.schema.record import Record
from pinxit.schema.request import GenerationRequest

IMAGE = Flag(name="image", text="flag.image-again", metavar="FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a file says of how it was made: our record, or another program's settings."""

    record: Record | None
    imported: Imported | None
    parameters: str | None

    @property
    def request(self) -> GenerationRequest:
        """The request that makes the picture again, as far as it is known."""
        if self.record is not None:
            return self.record.request
        if self.imported is None:
            raise ValueError("a recipe holds a record or foreign settings")
        return self.imported.request()


def read_recipe(path: Path, terminal: Terminal) -> Recipe:
    """The recipe in the file at `path`; our own record goes before other programs' texts.

    Raises Missing, BadImage when there is neither, and BadInput.
    """
    try:
        return Recipe(record=read_record(path), imported=None, parameters=None)
    except BadImage:
        parameters = read_parameters(path)
        if not parameters:
            raise BadImage(
                terminal.say("error.no-recipe", name=path.name), hint=terminal.say("hint.no-recipe")
            ) from None
    return Recipe(record=None, imported=read_a1111(parameters), parameters=parameters)


def inputs_for(request: GenerationRequest, image: str | None, near: Path, terminal: Terminal) -> Mapping[str, bytes]:
    """The input pictures of `request`: the file that `--image` names, else found by fingerprint beside `near` or here.

    Raises BadInput for a file with another fingerprint and Missing when a picture is not found.
    """
    wanted = request.inputs()
    if not wanted:
        return {}
    if image is not None:
        reference, data = read_image(Path(image))
        if reference.sha256 != wanted[0].sha256:
            message = terminal.say("error.other-image", name=reference.name)
            hint = terminal.say("hint.other-image", sha256=wanted[0].sha256[:16], name=wanted[0].name or "?")
            raise BadInput(message, hint=hint, field="source")
        return {reference.sha256: data}
    from pinxit.studio.inputs import find_inputs

    found = find_inputs(wanted, [near.absolute().parent, Path.cwd()])
    for reference in wanted:
        if reference.sha256 not in found:
            message = terminal.say("error.input", name=reference.name or reference.sha256[:16])
            raise Missing(message, hint=terminal.say("hint.input", sha256=reference.sha256[:16]), field="source")
    return found
