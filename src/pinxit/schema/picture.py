"""Picture files that carry their recipe: written with the record inside, and read back from any of them.

| format | record | for other programs |
|---|---|---|
| PNG | iTXt chunk `pinxit` | text chunk `parameters` |
| JPEG | comment segments | EXIF user comment, left out beyond 65,000 bytes |
| WebP | XMP element `pinxit:record` | EXIF user comment |
| JSON | the whole file, beside the picture | |
"""

from __future__ import annotations

import hashlib
import html
import io
import struct
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pinxit.schema.containers import PARAMETERS_KEY, RECORD_KEY, read_texts
from pinxit.schema.errors import BadImage, BadInput, Missing
from pinxit.schema.exif import comment_tiff
from pinxit.schema.interchange import Labels, a1111_text
from pinxit.schema.record import Record
from pinxit.schema.strict_json import REQUEST_BYTES
from pinxit.schema.text import shown

if TYPE_CHECKING:
    from PIL.Image import Image

SEGMENT_BYTES = 65_000
"""Payload of one JPEG segment; the format's own limit is 65,533."""
LOSSLESS = 100
"""At this quality WebP keeps every pixel."""

_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:pinxit="urn:pinxit:1"><pinxit:record>{}</pinxit:record>'
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def encode_image(image: Image, record: Record, labels: Labels | None = None) -> bytes:
    """The picture as a file, in the format and quality that the record's request asks for, with the record inside.

    `image` is a Pillow picture in mode RGB, RGBA or L; JPEG drops transparency. `labels` are the names under which
    other programs know the sampler and the schedule. Equal arguments give equal bytes.
    """
    request = record.request
    parameters = a1111_text(record, labels)
    out = io.BytesIO()
    if request.format == "png":
        from PIL.PngImagePlugin import PngInfo

        texts = PngInfo()
        texts.add_itxt(RECORD_KEY, record.to_json())
        texts.add_text(PARAMETERS_KEY, parameters)
        image.save(out, "PNG", pnginfo=texts)
        return out.getvalue()
    tiff = comment_tiff(parameters)
    if request.format == "jpeg":
        exif = b"Exif\0\0" + tiff if len(tiff) < SEGMENT_BYTES else b""
        picture = image if image.mode in ("RGB", "L") else image.convert("RGB")
        picture.save(out, "JPEG", quality=request.quality, subsampling=0, exif=exif, extra=_comments(record))
        return out.getvalue()
    xmp = _XMP.format(html.escape(record.to_json(ascii_only=True), quote=False)).encode()
    exact = request.quality == LOSSLESS
    image.save(out, "WEBP", quality=request.quality, lossless=exact, exact=exact, method=4, exif=tiff, xmp=xmp)
    return out.getvalue()


def read_record(source: Path | bytes) -> Record:
    """The record in a picture file or in a JSON file beside one.

    Raises Missing when there is no such file, BadImage when it is no readable picture or holds no record, and
    BadInput when the record itself is not valid.
    """
    with _opened(source) as file:
        if file.read(1) == b"{":
            file.seek(0)
            return Record.from_json(file.read(REQUEST_BYTES + 1))
        texts = read_texts(file)
    if RECORD_KEY not in texts:
        raise BadImage(
            "The picture holds no pinxit record.",
            hint="It has parameters of another program." if PARAMETERS_KEY in texts else "",
        )
    return Record.from_json(texts[RECORD_KEY])


def read_parameters(source: Path | bytes) -> str | None:
    """The `parameters` text that A1111-compatible programs leave in a picture, or None. Raises Missing and BadImage."""
    with _opened(source) as file:
        return read_texts(file).get(PARAMETERS_KEY)


def sidecar(record: Record) -> bytes:
    """The JSON file that can stand beside a picture instead of a record inside it."""
    return record.to_json().encode() + b"\n"


def pixels_sha256(image: Image) -> str:
    """Fingerprint of the decoded pixels: SHA-256 of mode, width and height and then the bytes in reading order."""
    head = f"{image.mode} {image.width}x{image.height}\n".encode()
    return hashlib.sha256(head + image.tobytes()).hexdigest()


def _comments(record: Record) -> bytes:
    """The record as JPEG comment segments, sliced because one segment may be too short for a long prompt."""
    data = record.to_json().encode()
    slices = [data[start : start + SEGMENT_BYTES] for start in range(0, len(data), SEGMENT_BYTES)]
    payloads = (b"pinxit %d/%d\n" % (number, len(slices)) + part for number, part in enumerate(slices, 1))
    return b"".join(struct.pack(">HH", 0xFFFE, 2 + len(payload)) + payload for payload in payloads)


def _opened(source: Path | bytes) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    name = shown(str(source))
    try:
        if source.exists() and not source.is_file():
            raise BadInput(f"{name} is not a file.")
        return source.open("rb")
    except FileNotFoundError:
        raise Missing(f"There is no file {name}.") from None
    except OSError as error:
        raise BadInput(f"{name} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise BadInput(f"{name} cannot be the name of a file.") from None
