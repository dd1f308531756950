"""Say what a file is that is not safetensors, from its first bytes. Nothing is parsed, nothing runs."""

from __future__ import annotations

_CONVERT = "Convert it to safetensors first; pinxit never loads pickles, because they can run code."
_DOWNLOAD = "Download the file itself again."
_SAFETENSORS = "Look for the .safetensors version of this model."

MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"PK\x03\x04", "a zip archive, most likely a legacy .ckpt or .pt pickle", _CONVERT),
    (0, b"GGUF", "a GGUF file", _SAFETENSORS),
    (0, b"version https://git-lfs", "a git-lfs pointer, not the weights", "Fetch the weights with `git lfs pull`."),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture", "Pass pictures with --image."),
    (0, b"\xff\xd8\xff", "a JPEG picture", "Pass pictures with --image."),
    (0, b"\x1f\x8b", "a gzip archive", "Unpack it first."),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it first."),
    (0, b"Rar!\x1a\x07", "a RAR archive", "Unpack it first."),
    (0, b"BZh", "a bzip2 archive", "Unpack it first."),
    (0, b"\xfd7zXZ\x00", "an xz archive", "Unpack it first."),
    (257, b"ustar", "a tar archive, perhaps a very old .ckpt", _CONVERT),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", _SAFETENSORS),
    (0, b"\x93NUMPY", "a NumPy array", _SAFETENSORS),
    (0, b"SQLite format 3\x00", "an SQLite database", _SAFETENSORS),
    (0, b"\x7fELF", "a program", _DOWNLOAD),
    (0, b"MZ", "a program", _DOWNLOAD),
)
"""Offset, bytes, what it is, what to do."""


def foreign_format(head: bytes) -> tuple[str, str] | None:
    """What a file starting with `head` (512 bytes suffice) is and what to do about it; None when it is no known one."""
    for offset, magic, noun, hint in MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return noun, hint
    if head[:1] == b"\x80" and head[1:2] in b"\x01\x02\x03\x04\x05" and len(head) > 1 and head[2:8] != bytes(6):
        return "a Python pickle, most likely a legacy .ckpt", _CONVERT
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "a web page, not a model: the download was answered with a page, perhaps a login or an error", _DOWNLOAD
    if text.startswith((b"{", b"[")):
        return "JSON text, perhaps an error message that was saved under the model's name", _DOWNLOAD
    return None
