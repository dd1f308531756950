"""The one EXIF entry that image generators use: the user comment, written and read (EXIF 3.0, 4.6.5 and 4.6.6)."""

from __future__ import annotations

import struct

_EXIF_IFD = 0x8769
_USER_COMMENT = 0x9286
_LONG, _UNDEFINED = 4, 7
_ENTRIES = 1000
_HEADER = 8
_IFD_BYTES = 2 + 12 + 4


def comment_tiff(text: str) -> bytes:
    """A big-endian TIFF block whose only content is `text` as a Unicode user comment."""
    comment = b"UNICODE\0" + text.encode("utf-16-be")
    inner = _HEADER + _IFD_BYTES
    return b"".join(
        (
            struct.pack(">2sHI", b"MM", 42, _HEADER),
            struct.pack(">HHHIII", 1, _EXIF_IFD, _LONG, 1, inner, 0),
            struct.pack(">HHHIII", 1, _USER_COMMENT, _UNDEFINED, len(comment), inner + _IFD_BYTES, 0),
            comment,
        )
    )


def user_comment(tiff: bytes) -> str | None:
    """The user comment of a TIFF block, or None when there is none or the block makes no sense.

    Cameras and editors write so many broken blocks that damage here counts as absence.
    """
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < _HEADER:
        return None
    first = _entry(tiff, order, struct.unpack_from(f"{order}I", tiff, 4)[0], _EXIF_IFD)
    comment = _entry(tiff, order, first[2], _USER_COMMENT) if first else None
    if comment is None:
        return None
    kind, count, start = comment
    data = tiff[start : start + count]
    if kind != _UNDEFINED or len(data) != count or count < 8:
        return None
    return _decode(data[:8], data[8:], order)


def _entry(tiff: bytes, order: str, offset: int, tag: int) -> tuple[int, int, int] | None:
    """Type, count and value (or value offset) of the entry `tag` in the directory at `offset`."""
    if offset + 2 > len(tiff):
        return None
    (count,) = struct.unpack_from(f"{order}H", tiff, offset)
    for index in range(min(count, _ENTRIES)):
        position = offset + 2 + 12 * index
        if position + 12 > len(tiff):
            return None
        found, kind, size, value = struct.unpack_from(f"{order}HHII", tiff, position)
        if found == tag:
            return kind, size, value
    return None


def _decode(code: bytes, data: bytes, order: str) -> str:
    if code == b"UNICODE\0":
        return data[: len(data) // 2 * 2].decode(_utf16(data, order), "replace").removeprefix("\ufeff")
    return data.rstrip(b"\0").decode("utf-8", "replace")


def _utf16(data: bytes, order: str) -> str:
    """The byte order of UTF-16 text. Writers disagree whether the block's order applies, so the reading
    with more ASCII characters wins."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16-le" if data[0] == 0xFF else "utf-16-be"
    little, big = (sum(map(str.isascii, data.decode(name, "replace"))) for name in ("utf-16-le", "utf-16-be"))
    if little == big:
        return "utf-16-le" if order == "<" else "utf-16-be"
    return "utf-16-le" if little > big else "utf-16-be"
