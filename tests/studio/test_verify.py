from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping

import pytest
from PIL import Image

from pinxit.schema.errors import BadImage, Missing, UnknownName
from pinxit.schema.events import Event, Failed, ImageReady
from pinxit.schema.picture import encode_image, pixels_sha256
from pinxit.schema.record import ModelFile, Record
from pinxit.schema.request import GenerationRequest
from pinxit.studio.verify import Change, Verdict, changes, compare, verify
from tests.schema.strategies import EXAMPLE_RECORD, record_of

RED = Image.new("RGB", (8, 8), (200, 10, 10))


class Painter:
    """Paints one picture, or raises."""

    def __init__(self, image: Image.Image, record: Record, error: Exception | None = None) -> None:
        self.image, self.record, self.error = image, record, error

    def paint(
        self,
        request: GenerationRequest,
        inputs: Mapping[str, bytes] | None = None,
        *,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Event]:
        if self.error is not None:
            raise self.error
        yield ImageReady(index=0, seed=7, record=self.record, pixels_sha256=pixels_sha256(self.image), image=self.image)


def verdict(painter: Painter, picture: bytes, record: Record = EXAMPLE_RECORD) -> Verdict:
    found = verify(painter, record, picture, {}, watch=lambda _: None, stop=lambda: False)
    assert isinstance(found, Verdict)
    return found


def test_pictures_are_compared_by_pixel() -> None:
    other = RED.copy()
    other.putpixel((3, 3), (201, 7, 10))
    found = compare(RED, other)
    assert (found.largest, found.share) == (3, 1 / 64)
    assert found.psnr == pytest.approx(10 * math.log10(255**2 / (10 / 192)))
    assert compare(RED, RED).psnr == math.inf
    with pytest.raises(ValueError, match="sizes differ"):
        compare(RED, RED.resize((4, 4)))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_an_equal_picture_is_equal_in_every_format(kind: str) -> None:
    record = EXAMPLE_RECORD.from_dict(
        EXAMPLE_RECORD.to_dict() | {"request": EXAMPLE_RECORD.request.to_dict() | {"format": kind}}
    )
    found = verdict(Painter(RED, record), encode_image(RED, record), record)
    assert (found.equal, found.changes) == (True, ())
    assert found.to_json()["psnr"] is None


def test_what_changed_is_named() -> None:
    bare = EXAMPLE_RECORD.model.model_copy(update={"files": ()})
    now = EXAMPLE_RECORD.model_copy(update={"torch": "3.0.0", "threads": 4, "model": bare})
    assert changes(EXAMPLE_RECORD, now) == (
        Change(what="model", then="tiny ababababab", now="tiny"),
        Change(what="torch", then="2.13.0", now="3.0.0"),
        Change(what="threads", then="2", now="4"),
    )


def test_an_adapter_that_changed_is_named() -> None:
    record = record_of(EXAMPLE_RECORD.request.replace(adapters=("fur@0.5",)))
    other = record.adapters[0].model_copy(update={"files": (ModelFile(name="fur.safetensors", sha256="ef" * 32),)})
    assert changes(record, record.model_copy(update={"adapters": (other,)})) == (
        Change(what="adapters", then="fur cdcdcdcdcd", now="fur efefefefef"),
    )


def test_another_size_cannot_be_measured() -> None:
    found = verdict(Painter(RED, EXAMPLE_RECORD), encode_image(RED.resize((4, 8)), EXAMPLE_RECORD))
    assert (found.equal, found.difference) == (False, None)
    assert found.changes[0] == Change(what="size", then="4x8", now="8x8")


def test_what_cannot_be_remade_is_missing() -> None:
    picture = encode_image(RED, EXAMPLE_RECORD)
    painter = Painter(RED, EXAMPLE_RECORD, UnknownName("sampler", "new", ["euler"], field="sampler"))
    with pytest.raises(Missing, match="no sampler named 'new'"):
        verdict(painter, picture)
    with pytest.raises(BadImage):
        verdict(painter, b"no picture")


def test_a_failure_is_handed_on() -> None:
    class Failing(Painter):
        def paint(self, *_: object, **__: object) -> Iterator[Event]:
            yield Failed(code="model", message="Broken.")

    picture = io.BytesIO(encode_image(RED, EXAMPLE_RECORD)).getvalue()
    found = verify(Failing(RED, EXAMPLE_RECORD), EXAMPLE_RECORD, picture, {}, watch=lambda _: None, stop=lambda: False)
    assert found == Failed(code="model", message="Broken.")
