"""Does a picture's recipe still make that picture here? Paint it again and compare the pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pinxit.schema.errors import Missing, UnknownName
from pinxit.schema.events import Event, Failed, ImageReady
from pinxit.schema.picture import encode_image
from pinxit.schema.record import Record
from pinxit.schema.request import GenerationRequest

if TYPE_CHECKING:
    from PIL import Image

CONDITIONS = ("engine", "torch", "dtype", "threads", "numerics", "noise", "sigmas_sha256")
"""What a record says of the conditions under which it was painted."""
PEAK = 255


class Painter(Protocol):
    """What can paint a request: the studio."""

    def paint(
        self,
        request: GenerationRequest,
        inputs: Mapping[str, bytes] | None = ...,
        *,
        stop: Callable[[], bool] = ...,
    ) -> Iterator[Event]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far two pictures lie apart: the largest difference of a channel (0..255), the peak signal-to-noise ratio in
    decibels (infinite for equal ones), and the share of pixels that differ.
    """

    largest: int
    psnr: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that was not as it is now. `what` is a field of the record, or `size`."""

    what: str
    then: str
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`difference` is None when the sizes differ, so that pixels cannot be compared."""

    equal: bool
    difference: Difference | None
    changes: tuple[Change, ...]
    record: Record

    def to_json(self) -> dict[str, object]:
        """The verdict as plain JSON values; an infinite ratio is null."""
        measured = self.difference
        return {
            "equal": self.equal,
            "largest": None if measured is None else measured.largest,
            "psnr": None if measured is None or math.isinf(measured.psnr) else round(measured.psnr, 3),
            "share": None if measured is None else measured.share,
            "changes": [{"what": one.what, "then": one.then, "now": one.now} for one in self.changes],
        }


def verify(
    painter: Painter,
    record: Record,
    picture: bytes,
    inputs: Mapping[str, bytes],
    *,
    watch: Callable[[Event], None],
    stop: Callable[[], bool],
) -> Verdict | Failed:
    """Paint what `record` says, telling `watch` every event, and compare with the file `picture`.

    Raises BadImage for a file that cannot be read, Missing when the model or a plugin's sampler is not here, and
    whatever painting raises.
    """
    before = _decoded(picture)
    ready: ImageReady | None = None
    try:
        for event in painter.paint(record.request, inputs, stop=stop):
            if isinstance(event, Failed):
                return event
            watch(event)
            if isinstance(event, ImageReady):
                ready = event
    except UnknownName as error:
        raise Missing(error.message, hint=error.hint, field=error.field) from error
    if ready is None or ready.image is None:
        raise Missing("The picture was not painted again.", hint="Try pinxit redo.")
    # Lossy formats change pixels on writing, so the new picture takes the same way into a file and out of it.
    after = _decoded(encode_image(ready.image, ready.record))
    return _verdict(before, after, record, ready.record)


def compare(before: Image.Image, after: Image.Image) -> Difference:
    """Measure two RGB pictures of one size. Raises ValueError for different sizes."""
    import numpy as np

    if before.size != after.size:
        raise ValueError(f"sizes differ: {before.size} and {after.size}")
    apart = np.abs(np.asarray(before, dtype=np.int16) - np.asarray(after, dtype=np.int16))
    mean = float(np.mean(apart.astype(np.float64) ** 2))
    return Difference(
        largest=int(apart.max(initial=0)),
        psnr=math.inf if mean == 0 else 10 * math.log10(PEAK**2 / mean),
        share=float(np.mean(apart.max(axis=2) > 0)),
    )


def changes(then: Record, now: Record) -> tuple[Change, ...]:
    """What differs between the conditions of two records: models' and adapters' files, versions, precision, threads."""
    found: list[Change] = []
    hashes = [
        tuple(file.sha256 for model in (record.model, *record.passes) for file in model.files) for record in (then, now)
    ]
    if hashes[0] != hashes[1]:
        found.append(Change(what="model", then=_model(then), now=_model(now)))
    merged = [tuple(file.sha256 for one in record.adapters for file in one.files) for record in (then, now)]
    if merged[0] != merged[1]:
        found.append(Change(what="adapters", then=_adapters(then), now=_adapters(now)))
    for name in CONDITIONS:
        old, new = str(getattr(then, name)), str(getattr(now, name))
        if old != new:
            found.append(Change(what=name, then=old, now=new))
    return tuple(found)


def _verdict(before: Image.Image, after: Image.Image, then: Record, now: Record) -> Verdict:
    found = changes(then, now)
    if before.size != after.size:
        sizes = [f"{image.width}x{image.height}" for image in (before, after)]
        found = (Change(what="size", then=sizes[0], now=sizes[1]), *found)
        return Verdict(equal=False, difference=None, changes=found, record=now)
    difference = compare(before, after)
    return Verdict(equal=difference.largest == 0, difference=difference, changes=found, record=now)


def _model(record: Record) -> str:
    models = (record.model, *record.passes)
    return ", ".join(f"{one.name} {one.files[0].sha256[:10]}" if one.files else one.name for one in models)


def _adapters(record: Record) -> str:
    return ", ".join(f"{one.name} {one.files[0].sha256[:10]}" if one.files else one.name for one in record.adapters)


def _decoded(data: bytes) -> Image.Image:
    from pinxit.engine.image import open_picture

    return open_picture(data)
