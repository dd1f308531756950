from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pinxit.schema.containers import CHUNKS, FILE_BYTES, TEXT_BYTES, read_texts
from pinxit.schema.errors import BadImage, BadInput, Missing, PinxitError
from pinxit.schema.exif import comment_tiff, user_comment
from pinxit.schema.interchange import Labels, a1111_text
from pinxit.schema.picture import encode_image, pixels_sha256, read_parameters, read_record, sidecar
from pinxit.schema.record import Record
from pinxit.schema.strict_json import canonical_json
from tests.schema.strategies import EXAMPLE, EXAMPLE_RECORD, record_of, records

FORMATS: tuple[Literal["png", "jpeg", "webp"], ...] = ("png", "jpeg", "webp")
PIXELS = Image.new("RGB", (16, 8), (200, 30, 60))
SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = b"\0\0\0\0IEND\xaeB`\x82"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def texts(data: bytes) -> dict[str, str]:
    return read_texts(io.BytesIO(data))


@settings(max_examples=60)
@given(records())
def test_a_request_survives_every_file_format(record: Record) -> None:
    data = encode_image(PIXELS, record)
    assert read_record(data) == record
    assert read_record(data).request == record.request
    assert read_record(sidecar(record)) == record


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("prompt", ["x" * 65536, "\U0001f600" * 16384, '&"' * 32768, "\uffff<\n>", "猫"])
def test_the_longest_and_strangest_prompts_survive(kind: str, prompt: str) -> None:
    record = record_of(EXAMPLE.replace(prompt=prompt, negative=prompt, format=kind))
    data = encode_image(PIXELS, record)
    assert read_record(data) == record
    parameters = read_parameters(data)
    if kind == "jpeg" and len(prompt) > 10_000:
        assert parameters is None
    else:
        assert parameters == a1111_text(record)


@pytest.mark.parametrize("kind", FORMATS)
def test_pillow_reads_the_same_texts(kind: str) -> None:
    record = record_of(EXAMPLE.replace(format=kind))
    data = encode_image(PIXELS, record, Labels(sampler="Euler a", schedule="Karras"))
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.format == kind.upper()
        comment = image.getexif().get_ifd(0x8769).get(0x9286, b"")
        info = dict(image.info)
    if kind == "png":
        assert info["pinxit"] == record.to_json()
        assert info["parameters"].startswith(
            "a cat, oil painting\nNegative prompt: blurry\nSteps: 4, Sampler: Euler a, "
        )
    else:
        assert comment[:8] == b"UNICODE\0"
        assert "Sampler: Euler a, Schedule type: Karras" in comment[8:].decode("utf-16-be")


@pytest.mark.parametrize(("kind", "quality"), [("png", 95), ("webp", 100)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_lossless_files_keep_every_pixel(kind: str, quality: int, mode: str) -> None:
    noisy = Image.effect_noise((32, 24), 90).convert(mode)
    if mode == "RGBA":
        noisy.putalpha(Image.linear_gradient("L").resize((32, 24)))
    data = encode_image(noisy, record_of(EXAMPLE.replace(format=kind, quality=quality)))
    with Image.open(io.BytesIO(data)) as image:
        assert pixels_sha256(image) == pixels_sha256(noisy)


def test_jpeg_drops_transparency() -> None:
    data = encode_image(PIXELS.convert("RGBA"), record_of(EXAMPLE.replace(format="jpeg")))
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "RGB"


@pytest.mark.parametrize("kind", FORMATS)
def test_equal_pictures_give_equal_files(kind: str) -> None:
    record = record_of(EXAMPLE.replace(format=kind))
    assert encode_image(PIXELS, record) == encode_image(PIXELS.copy(), record)


def test_the_fingerprint_of_pixels_sees_shape_and_mode() -> None:
    prints = {pixels_sha256(Image.new(mode, size)) for mode in ("RGB", "L") for size in ((2, 3), (3, 2))}
    assert len(prints) == 4


def test_files_are_read_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(encode_image(PIXELS, EXAMPLE_RECORD))
    assert read_record(path) == EXAMPLE_RECORD
    with pytest.raises(Missing, match=r"There is no file '.*"):
        read_record(tmp_path / "dog.png")
    with pytest.raises(BadInput, match="is not a file"):
        read_record(tmp_path)
    with pytest.raises(BadInput, match=r"cannot be read: File name too long\."):
        read_record(tmp_path / ("x" * 300))
    with pytest.raises(BadInput, match=r"^'a\\x00b' cannot be the name of a file\.$"):
        read_record(Path("a\0b"))


def test_a_file_beyond_all_size_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(FILE_BYTES + 1)
    with pytest.raises(BadImage, match="file is 536870913 bytes long; 536870912 is the most that is read"):
        read_record(path)


def test_a_picture_without_a_record_says_so() -> None:
    plain = SIGNATURE + END
    with pytest.raises(BadImage, match=r"^The picture holds no pinxit record\.$"):
        read_record(plain)
    with pytest.raises(BadImage, match=r"no pinxit record\. It has parameters of another program"):
        read_record(SIGNATURE + chunk(b"tEXt", b"parameters\0a cat") + END)
    assert read_parameters(plain) is None


@pytest.mark.parametrize("kind", FORMATS)
def test_every_truncation_is_refused(kind: str) -> None:
    data = encode_image(PIXELS, record_of(EXAMPLE.replace(format=kind)))
    for end in range(0, len(data) - 1, 7):
        with pytest.raises(BadImage):
            read_record(data[:end])


@settings(max_examples=60)
@given(st.sampled_from(FORMATS), st.data())
def test_damaged_files_give_a_record_or_a_typed_error(kind: str, draw: st.DataObject) -> None:
    data = bytearray(encode_image(PIXELS, record_of(EXAMPLE.replace(format=kind))))
    for position in draw.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=6)):
        data[position] = draw.draw(st.integers(0, 255))
    with suppress(PinxitError):
        read_record(bytes(data))


@given(
    st.sampled_from([b"", SIGNATURE, b"\xff\xd8", b"\xff\xd8\xff\xe1\0\x20Exif\0\0", b"RIFF\x40\0\0\0WEBPEXIF"]),
    st.binary(),
)
def test_any_bytes_give_texts_or_a_typed_error(head: bytes, tail: bytes) -> None:
    with suppress(BadImage):
        texts(head + tail)


def test_png_texts_of_all_kinds_are_read() -> None:
    data = (
        SIGNATURE
        + chunk(b"tEXt", b"plain\0caf\xe9")
        + chunk(b"zTXt", b"packed\0\0" + zlib.compress(b"caf\xe9"))
        + chunk(b"iTXt", b"wide\0\0\0\0\0" + "猫".encode())
        + chunk(b"IDAT", b"x")
        + chunk(b"iTXt", b"late\0\1\0en\0\0" + zlib.compress("猫".encode()))
        + chunk(b"tEXt", b"plain\0second")
        + END
        + b"<html>"
    )
    assert texts(data) == {"plain": "café", "packed": "café", "wide": "猫", "late": "猫"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000))), "grows beyond 4194304 bytes"),
        (chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(50_000_000))), "grows beyond 4194304 bytes"),
        (chunk(b"zTXt", b"k\0\0" + zlib.compress(b"abc")[:-4]), "ends too early"),
        (chunk(b"zTXt", b"k\0\0abc"), "compressed text in the picture is damaged"),
        (chunk(b"tEXt", bytes(TEXT_BYTES + 1)), "is 4194305 bytes long; 4194304 is the most that is read"),
        (chunk(b"tEXt", b"k\0" + bytes(TEXT_BYTES - 10)) * 5, "are longer than 16777216 characters together"),
        (chunk(b"tEXt", b"keyword"), "has no keyword"),
        (chunk(b"iTXt", b"k\0\0\0only"), "iTXt chunk of the picture is damaged: it ends too early"),
        (chunk(b"iTXt", b"k\0\0\0\0\0\xff"), "not UTF-8"),
        (chunk(b"tEXt", b"k\0v")[:-1] + b"?", "its checksum is wrong"),
        (struct.pack(">I", 2**31) + b"IDAT", "cut short"),
        (chunk(b"aaaa", b"") * CHUNKS, "more than 100000 chunks"),
    ],
)
def test_hostile_pngs_are_refused(body: bytes, message: str) -> None:
    with pytest.raises(BadImage, match=message):
        texts(SIGNATURE + body + END)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\xff\xfe\0\x0fpinxit 1/2\n{}" + b"\xff\xda\xff\xd9", "record is incomplete: 1 of 2 slices"),
        (b"\xff\xfe\0\x0fpinxit 2/1\n{}" + b"\xff\xda\xff\xd9", "record is incomplete"),
        (b"\xff\xfe\0\x01", "cut short"),
        (b"\xff\xfe\xff\xff", "cut short"),
        (b"\xff\xd9", "cut short"),
        (b"\xff\xda", "cut short"),
        (b"\x00\x00", "a segment does not start where it should"),
        (b"\xff\xd0" * CHUNKS, "more than 100000 segments"),
    ],
)
def test_hostile_jpegs_are_refused(body: bytes, message: str) -> None:
    with pytest.raises(BadImage, match=message):
        texts(b"\xff\xd8" + body)


def test_jpeg_fill_bytes_are_skipped() -> None:
    assert texts(b"\xff\xd8\xff\xff\xfe\0\x0fpinxit 1/1\n{}\xff\xda\xff\xd9") == {"pinxit": "{}"}


def test_hostile_webps_are_refused() -> None:
    head = b"RIFF" + struct.pack("<I", 4 + 8 * (CHUNKS + 1)) + b"WEBP"
    with pytest.raises(BadImage, match="more than 100000 chunks"):
        texts(head + b"junk\0\0\0\0" * (CHUNKS + 1))
    with pytest.raises(BadImage, match="cut short"):
        texts(b"RIFF\x20\0\0\0WEBPEXIF\xff\xff\xff\xff" + bytes(20))


def test_other_files_are_no_pictures() -> None:
    for data in (b"", b"GIF89a", b"<svg/>", b"not a picture"):
        with pytest.raises(BadImage, match="not a PNG, JPEG or WebP picture"):
            texts(data)


def test_a_large_sidecar_is_refused() -> None:
    with pytest.raises(BadInput, match="1048576 is the most that is read"):
        read_record(canonical_json({"x": "y" * 2**21}).encode())


@pytest.mark.parametrize("text", ["a cat", "猫", "\U0001f600" * 50 + "Steps: 4", ""])
def test_user_comments_of_either_byte_order_are_read(text: str) -> None:
    ours = comment_tiff(text)
    assert user_comment(ours) == text
    swapped = ours.replace(text.encode("utf-16-be"), text.encode("utf-16-le")) if text.isascii() else ours
    assert user_comment(swapped) == text
    marked = ours[: -len(text.encode("utf-16-be"))] if text else ours
    assert user_comment(marked) == (None if text else "")


def test_user_comments_of_other_writers_are_read() -> None:
    def little(comment: bytes) -> bytes:
        first = struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 0x8769, 4, 1, 26, 0)
        return first + struct.pack("<HHHIII", 1, 0x9286, 7, len(comment), 44, 0) + comment

    assert user_comment(little(b"ASCII\0\0\0a cat\0\0")) == "a cat"
    assert user_comment(little(b"UNICODE\0" + "猫".encode("utf-16-le"))) == "猫"
    assert user_comment(little(b"UNICODE\0" + "猫".encode("utf-16"))) == "猫"
    assert user_comment(little(b"short")) is None
    assert user_comment(b"II*\0") is None
    assert user_comment(b"II*\0" + struct.pack("<IH", 8, 1)) is None
    assert user_comment(b"XX*\0\0\0\0\x08") is None


@given(st.binary(max_size=80), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
def test_any_exif_block_is_read_or_ignored(data: bytes, head: bytes) -> None:
    assert isinstance(user_comment(head + data), str | None)
