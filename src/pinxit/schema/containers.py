"""The texts inside PNG, JPEG and WebP files, read without decoding a pixel.

Every file is treated as hostile: sizes are checked before bytes are read, compressed texts are expanded up to a limit,
and anything cut short is refused. Nothing read here is ever more than text.
"""

from __future__ import annotations

import html
import os
import re
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from pinxit.schema.errors import BadImage
from pinxit.schema.exif import user_comment

FILE_BYTES = 512 * 1024 * 1024
"""Longest picture file that is looked into."""
TEXT_BYTES = 4 * 1024 * 1024
"""Longest single text, after decompression."""
TOTAL_BYTES = 4 * TEXT_BYTES
"""All texts of one file together."""
CHUNKS = 100_000
"""Most chunks or segments that one file may have."""

RECORD_KEY = "pinxit"
PARAMETERS_KEY = "parameters"

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8"
COMMENT_HEAD = re.compile(rb"pinxit ([0-9]{1,4})/([0-9]{1,4})\n")
"""Opens each JPEG comment segment that carries a slice of the record: slice number and how many there are."""
XMP_ELEMENT = re.compile(rb"<pinxit:record[^>]{0,200}>([^<]*)</pinxit:record>")


def read_texts(file: BinaryIO) -> dict[str, str]:
    """Texts of the picture by keyword; the first of equal keywords counts.

    A PNG gives all its text chunks. JPEG and WebP give `pinxit`, the record, and `parameters`, the EXIF user comment.
    Raises BadImage for other formats, for damaged or truncated files and for texts beyond the limits.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size > FILE_BYTES:
        raise BadImage(f"The picture's file is {size} bytes long; {FILE_BYTES} is the most that is read.")
    head = file.read(12)
    if head.startswith(PNG_SIGNATURE):
        found = _png(file, size)
    elif head.startswith(JPEG_SIGNATURE):
        found = _jpeg(file, size)
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        found = _webp(file, size)
    else:
        raise BadImage("The file is not a PNG, JPEG or WebP picture.")
    texts: dict[str, str] = {}
    total = 0
    for keyword, text in found:
        total += len(text)
        if total > TOTAL_BYTES:
            raise BadImage(f"The picture's texts are longer than {TOTAL_BYTES} characters together.")
        texts.setdefault(keyword, text)
    return texts


def _png(file: BinaryIO, size: int) -> Iterator[tuple[str, str]]:
    """tEXt, zTXt and iTXt chunks (PNG specification, third edition, 11.3.3)."""
    position = len(PNG_SIGNATURE)
    for _ in range(CHUNKS):
        file.seek(position)
        length, kind = struct.unpack(">I4s", _exactly(file, 8))
        position += 12 + length
        if position > size:
            raise _truncated()
        if kind == b"IEND":
            return
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            _allow(length)
            data = _exactly(file, length)
            if zlib.crc32(kind + data) != struct.unpack(">I", _exactly(file, 4))[0]:
                raise BadImage(f"A {kind.decode()} chunk of the picture is damaged: its checksum is wrong.")
            yield _png_text(kind, data)
    raise BadImage(f"The picture has more than {CHUNKS} chunks.")


def _png_text(kind: bytes, data: bytes) -> tuple[str, str]:
    keyword, mark, rest = data.partition(b"\0")
    if not mark or len(keyword) > 79:
        raise BadImage(f"A {kind.decode()} chunk of the picture is damaged: it has no keyword.")
    name = keyword.decode("latin-1")
    if kind == b"tEXt":
        return name, rest.decode("latin-1")
    if kind == b"zTXt":
        return name, _inflate(rest[1:]).decode("latin-1")
    packed = rest[:1] == b"\1"
    parts = rest[2:].split(b"\0", 2)
    if len(parts) != 3:
        raise BadImage("An iTXt chunk of the picture is damaged: it ends too early.")
    return name, _utf8(_inflate(parts[2]) if packed else parts[2])


def _jpeg(file: BinaryIO, size: int) -> Iterator[tuple[str, str]]:
    """COM segments with slices of the record, and the EXIF segment (ITU T.81, B.1.1)."""
    slices: dict[int, bytes] = {}
    wanted = 0
    position = 2
    for _ in range(CHUNKS):
        file.seek(position)
        lead, marker = _exactly(file, 2)
        if lead != 0xFF:
            raise BadImage("The JPEG picture is damaged: a segment does not start where it should.")
        if marker == 0xFF:
            position += 1
            continue
        if marker == 0xDA:
            break
        if marker in (0x01, *range(0xD0, 0xD9)):
            position += 2
            continue
        (length,) = struct.unpack(">H", _exactly(file, 2))
        position += 2 + length
        if length < 2 or position > size or marker == 0xD9:
            raise _truncated()
        if marker not in (0xFE, 0xE1):
            continue
        data = _exactly(file, length - 2)
        if marker == 0xE1 and data.startswith(b"Exif\0\0"):
            yield from _comment(data[6:])
        elif marker == 0xFE and (head := COMMENT_HEAD.match(data)):
            slices.setdefault(int(head[1]), data[head.end() :])
            wanted = int(head[2])
    else:
        raise BadImage(f"The picture has more than {CHUNKS} segments.")
    file.seek(max(position, size - 65536))
    if b"\xff\xd9" not in file.read(65536):
        raise _truncated()
    if wanted:
        yield RECORD_KEY, _utf8(_joined(slices, wanted))


def _joined(slices: dict[int, bytes], wanted: int) -> bytes:
    if sorted(slices) != list(range(1, wanted + 1)):
        raise BadImage(f"The picture's record is incomplete: {len(slices)} of {wanted} slices are there.")
    _allow(sum(map(len, slices.values())))
    return b"".join(slices[number] for number in sorted(slices))


def _webp(file: BinaryIO, size: int) -> Iterator[tuple[str, str]]:
    """EXIF and XMP chunks of the RIFF container."""
    file.seek(4)
    end = 8 + struct.unpack("<I", _exactly(file, 4))[0]
    if end > size:
        raise _truncated()
    position = 12
    for _ in range(CHUNKS):
        if position >= end:
            return
        file.seek(position)
        kind, length = struct.unpack("<4sI", _exactly(file, 8))
        position += 8 + length + length % 2
        if position > end + 1:
            raise _truncated()
        if kind in (b"EXIF", b"XMP "):
            _allow(length)
            data = _exactly(file, length)
            if kind == b"EXIF":
                yield from _comment(data.removeprefix(b"Exif\0\0"))
            elif element := XMP_ELEMENT.search(data):
                yield RECORD_KEY, html.unescape(_utf8(element[1]))
    raise BadImage(f"The picture has more than {CHUNKS} chunks.")


def _comment(tiff: bytes) -> Iterator[tuple[str, str]]:
    text = user_comment(tiff)
    if text is not None:
        yield PARAMETERS_KEY, text


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise _truncated()
    return data


def _allow(length: int) -> None:
    if length > TEXT_BYTES:
        raise BadImage(f"A text in the picture is {length} bytes long; {TEXT_BYTES} is the most that is read.")


def _inflate(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(data, TEXT_BYTES + 1)
    except zlib.error:
        raise BadImage("A compressed text in the picture is damaged.") from None
    if len(text) > TEXT_BYTES:
        raise BadImage(f"A compressed text in the picture grows beyond {TEXT_BYTES} bytes.")
    if not stream.eof:
        raise BadImage("A compressed text in the picture ends too early.")
    return text


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadImage("A text in the picture is not UTF-8.") from None


def _truncated() -> BadImage:
    return BadImage("The picture's file is cut short.", hint="Copy or download it again.")
