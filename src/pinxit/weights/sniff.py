"""Say what a file is that is not safetensors, from its first bytes. Nothing is parsed, nothing runs."""

from __future__ import annotations

from typing import NamedTuple

_CONVERT = (
    "Convert it to safetensors first: `pinxit models convert OLD.ckpt NEW.safetensors`. "
    "pinxit never loads pickles, because they can run code."
)
_DOWNLOAD = "Download the file itself again."
_SAFETENSORS = "Look for the .safetensors version of this model."
_GGUF = "Convert it first: `pinxit models convert MODEL.gguf NEW.safetensors`, with the extra gguf."
_UNPACK = "Unpack it first."
_PICTURE = "Pass pictures with --image."


class Foreign(NamedTuple):
    """What a file is, as a noun with its article, what to do about it, and its kind in one word."""

    noun: str
    hint: str
    kind: str


_PICKLE = Foreign("a Python pickle, most likely a legacy .ckpt", _CONVERT, "pickle")

MAGIC: tuple[tuple[int, bytes, Foreign], ...] = (
    (0, b"PK\x03\x04", Foreign("a zip archive, most likely a legacy .ckpt or .pt pickle", _CONVERT, "zip")),
    (0, b"GGUF", Foreign("a GGUF file", _GGUF, "gguf")),
    (
        0,
        b"version https://git-lfs",
        Foreign("a git-lfs pointer, not the weights", "Fetch the weights with `git lfs pull`.", "git-lfs-pointer"),
    ),
    (0, b"\x89PNG\r\n\x1a\n", Foreign("a PNG picture", _PICTURE, "picture")),
    (0, b"\xff\xd8\xff", Foreign("a JPEG picture", _PICTURE, "picture")),
    (0, b"\x1f\x8b", Foreign("a gzip archive", _UNPACK, "archive")),
    (0, b"7z\xbc\xaf\x27\x1c", Foreign("a 7z archive", _UNPACK, "archive")),
    (0, b"Rar!\x1a\x07", Foreign("a RAR archive", _UNPACK, "archive")),
    (0, b"BZh", Foreign("a bzip2 archive", _UNPACK, "archive")),
    (0, b"\xfd7zXZ\x00", Foreign("an xz archive", _UNPACK, "archive")),
    (257, b"ustar", Foreign("a tar archive, perhaps a very old .ckpt", _CONVERT, "archive")),
    (0, b"\x89HDF\r\n\x1a\n", Foreign("an HDF5 file", _SAFETENSORS, "hdf5")),
    (0, b"\x93NUMPY", Foreign("a NumPy array", _SAFETENSORS, "numpy")),
    (4, b"TFL3", Foreign("a TensorFlow Lite model", _SAFETENSORS, "tflite")),
    (0, b"SQLite format 3\x00", Foreign("an SQLite database", _SAFETENSORS, "database")),
    (0, b"\x7fELF", Foreign("a program", _DOWNLOAD, "program")),
    (0, b"MZ", Foreign("a program", _DOWNLOAD, "program")),
)
"""Offset, bytes, and what starts so."""


def foreign_format(head: bytes) -> Foreign | None:
    """What a file starting with `head` (512 bytes suffice) is and what to do about it; None when it is no known one."""
    for offset, magic, found in MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return found._replace(kind="pickle") if found.kind == "zip" and b"/data.pkl" in head else found
    if head[:1] == b"\x80" and head[1:2] in b"\x01\x02\x03\x04\x05" and len(head) > 1 and head[2:8] != bytes(6):
        return _PICKLE
    if _is_onnx(head):
        return Foreign("an ONNX model", _SAFETENSORS, "onnx")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        noun = "a web page, not a model: the download was answered with a page, perhaps a login or an error"
        return Foreign(noun, _DOWNLOAD, "html-page")
    if text.startswith((b"{", b"[")):
        noun = "JSON text, perhaps an error message that was saved under the model's name"
        return Foreign(noun, _DOWNLOAD, "json")
    return None


def _is_onnx(head: bytes) -> bool:
    """Whether `head` starts as ONNX's protocol buffer does: a small version number, then the producer's name."""
    if len(head) < 5 or head[0] != 0x08 or not 1 <= head[1] <= 32 or head[2] != 0x12:
        return False
    name = head[4 : 4 + head[3]]
    return 0 < head[3] <= 64 and len(name) == head[3] and name.isascii() and name.decode("ascii").isprintable()
