"""What happens during a run, as the engine tells it: one small frozen value per event.

The progress bar, the server's event stream and the tests read the same values. `to_json` gives a dict of plain JSON
values whose `event` names the kind; pictures themselves never go into it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pinxit.schema.errors import PinxitError
from pinxit.schema.parts import json_seed
from pinxit.schema.record import Record
from pinxit.schema.request import GenerationRequest

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What is about to happen: the request with every choice made, the stages, and remarks for the user."""

    event: ClassVar[str] = "planned"
    request: GenerationRequest
    stages: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        return {
            "event": self.event,
            "request": self.request.to_dict(),
            "stages": list(self.stages),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    """A stage of the plan begins."""

    event: ClassVar[str] = "stage_started"
    stage: str

    def to_json(self) -> dict[str, object]:
        return {"event": self.event, "stage": self.stage}


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Something that the plan did not foresee, such as that memory ran out and what is done about it."""

    event: ClassVar[str] = "noted"
    text: str

    def to_json(self) -> dict[str, object]:
        return {"event": self.event, "text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """A sampler has taken a step: `index` of `total`, counted from 0, for picture `image` of the batch.

    `sigma` is the noise level reached, `seconds` the time of this step. When several pictures advance together, `image`
    is the first of them.
    """

    event: ClassVar[str] = "stepped"
    index: int
    total: int
    sigma: float
    seconds: float
    image: int = 0
    preview: Image | None = field(default=None, repr=False, compare=False)
    """What the estimate of this step looks like, where previews were asked for: smaller than the picture."""

    def to_json(self) -> dict[str, object]:
        return {
            "event": self.event,
            "index": self.index,
            "total": self.total,
            "sigma": self.sigma,
            "seconds": self.seconds,
            "image": self.image,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReady:
    """Picture `index` of the batch is finished. `path` is None when it was not written to a file.

    `pixels_sha256` is `pinxit.schema.picture.pixels_sha256` of the picture: equal for equal pixels in any file format.
    """

    event: ClassVar[str] = "image_ready"
    index: int
    seed: int
    record: Record
    pixels_sha256: str
    path: Path | None = None
    image: Image | None = field(default=None, repr=False, compare=False)
    """The picture itself, for callers in the same process."""

    def to_json(self) -> dict[str, object]:
        return {
            "event": self.event,
            "index": self.index,
            "seed": json_seed(self.seed),
            "record": self.record.to_dict(),
            "pixels_sha256": self.pixels_sha256,
            "path": None if self.path is None else str(self.path),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedImage:
    """One line of the summary at the end of a run."""

    path: Path | None
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The run is over and every picture is there. `seconds` is the time of the whole run."""

    event: ClassVar[str] = "finished"
    images: tuple[FinishedImage, ...]
    seconds: float

    def to_json(self) -> dict[str, object]:
        return {
            "event": self.event,
            "images": [
                {"path": None if image.path is None else str(image.path), "seed": json_seed(image.seed)}
                for image in self.images
            ],
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The run ended without its pictures. `field` names the request field at fault, if one is."""

    event: ClassVar[str] = "failed"
    code: str
    message: str
    hint: str = ""
    field: str | None = None

    @classmethod
    def from_error(cls, error: PinxitError) -> Failed:
        return cls(code=error.code, message=error.message, hint=error.hint, field=error.field)

    def to_json(self) -> dict[str, object]:
        return {
            "event": self.event,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "field": self.field,
        }


Event = Planned | StageStarted | Noted | Stepped | ImageReady | Finished | Failed
