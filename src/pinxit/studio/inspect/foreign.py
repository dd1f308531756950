"""What a file is that cannot be read as safetensors: another format, something saved by mistake, or a damaged file."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pinxit.schema.errors import BadModelFile
from pinxit.studio.inspect.known import FILES
from pinxit.studio.inspect.metadata import cleaned
from pinxit.weights.gguf import read_gguf_header
from pinxit.weights.header import DTYPE_BYTES, MAX_DIMENSIONS, Header, Limits, TensorInfo
from pinxit.weights.sniff import Foreign, foreign_format

LEGACY = (".ckpt", ".pt", ".pth", ".bin")
HEAD = 64 * 1024
"""Bytes that are looked at."""
_TITLE = re.compile(r"<title[^>]*>([^<]{1,400})", re.IGNORECASE)
_POINTER = re.compile(rb"oid sha256:([0-9a-f]{64})\s+size (\d{1,15})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """What is known of a file that cannot be loaded as it is.

    `rest` is its header, where one can be read: of a truncated file, or of one in a format that can be converted.
    """

    kind: str
    evidence: tuple[str, ...] = ()
    need: int = 0
    rest: Header | None = None


def recognise(path: Path, size: int, reason: str) -> Stranger:
    """What the file at `path`, of `size` bytes, is; `reason` is why it cannot be read as safetensors."""
    if size == 0:
        return Stranger(kind="empty", evidence=("the file has no bytes",))
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    if not head.strip(b"\0"):
        return Stranger(kind="damaged", evidence=(f"its first {len(head):,} bytes are zeros: nothing was written",))
    length = struct.unpack("<Q", head[:8])[0] if len(head) >= 8 else 0
    if head[8:9] == b"{" and length <= 100_000_000:
        return _cut_off(path, size, length) or Stranger(kind="damaged", evidence=(reason,))
    found = foreign_format(head[:512])
    if found is not None and found.kind == "gguf":
        return _gguf(path)
    if found is not None:
        return _known(found, head, path)
    if path.suffix.lower() == ".onnx":
        return Stranger(kind="onnx", evidence=("the name ends in .onnx",))
    if _is_text(head):
        return Stranger(kind="text", evidence=(f"it begins: {cleaned(head.decode('utf-8', 'replace'), 200)}",))
    return Stranger(kind="unknown", evidence=(reason,))


def _known(found: Foreign, head: bytes, path: Path) -> Stranger:
    evidence = [f"its first bytes are those of {found.noun}"]
    kind = found.kind
    text = head.decode("utf-8", "replace")
    if kind == "zip" and path.suffix.lower() in (*LEGACY, ".safetensors"):
        kind = "pickle"
    elif kind == "html-page" and (title := _TITLE.search(text)):
        evidence.append(f"the page's title is: {cleaned(title[1], 200)}")
    elif kind == "json":
        evidence.append(f"it begins: {cleaned(text, 200)}")
    elif kind == "git-lfs-pointer":
        evidence += _pointed_at(head)
    if kind == "pickle":
        evidence.append("pickles can run code; nothing of it was run or unpacked")
    return Stranger(kind=kind, evidence=tuple(evidence))


def _pointed_at(head: bytes) -> list[str]:
    """What a git-lfs pointer says of the file that it stands for."""
    found = _POINTER.search(head)
    if not found:
        return []
    digest = found[1].decode("ascii")
    known = FILES.get(digest)
    named = f", which is {known.title} ({known.file})" if known else ""
    return [f"it stands for a file of {int(found[2]):,} bytes with the SHA-256 {digest}{named}"]


def _gguf(path: Path) -> Stranger:
    """A GGUF file by its own header: its numbers may be packed, but its tensors have names and shapes as elsewhere."""
    try:
        source = read_gguf_header(path)
    except BadModelFile as error:
        return Stranger(kind="gguf", evidence=(error.message,))
    architecture = cleaned(source.header.metadata.get("general.architecture", ""), 60)
    evidence = [f"its general.architecture is {architecture}"] if architecture else []
    return Stranger(kind="gguf", evidence=(*evidence, *source.notes), rest=source.header)


def _is_text(head: bytes) -> bool:
    """Whether `head` is UTF-8 text; its last character may be cut in two."""
    sample = head[:4096]
    if any(byte < 9 or 13 < byte < 32 for byte in sample):
        return False
    for end in range(len(sample), max(len(sample) - 4, 0), -1):
        try:
            sample[:end].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return True
    return False


def _cut_off(path: Path, size: int, length: int) -> Stranger | None:
    """A safetensors file that ends too early, in its header or in its data; None for one that is broken otherwise."""
    if length > size - 8:
        words = f"the header alone needs {length + 8:,} bytes, the file has {size:,}"
        return Stranger(kind="truncated", evidence=(words,), need=length + 8)
    if length > Limits().header_bytes:
        return None
    with path.open("rb") as stream:
        stream.seek(8)
        raw = stream.read(length)
    if raw.count(b'"data_offsets"') > Limits().tensors:
        return None
    tensors = _tensors(path, raw)
    end = max((info.end for info in tensors.values()), default=0)
    if not tensors or end <= size:
        return None
    whole = sum(info.end <= size for info in tensors.values())
    words = f"it names {end:,} bytes and has {size:,}: {whole} of {len(tensors)} tensors are complete"
    rest = Header(path=path, tensors=tensors, sizes={path: size})
    return Stranger(kind="truncated", evidence=(words,), need=end, rest=rest)


def _tensors(path: Path, raw: bytes) -> dict[str, TensorInfo]:
    """The tensors that a header describes in the usual form; what else it may hold is passed over."""
    try:
        document: object = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return {}
    entries = cast("Mapping[str, object]", document) if isinstance(document, dict) else {}
    if len(entries) > Limits().tensors:
        return {}
    found = {name: _tensor(path, name, value, 8 + len(raw)) for name, value in entries.items()}
    return {name: info for name, info in found.items() if info is not None}


def _tensor(path: Path, name: str, value: object, base: int) -> TensorInfo | None:
    entry = cast("Mapping[str, object]", value) if isinstance(value, dict) else {}
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES or len(name) > Limits().name_length:
        return None
    sizes, span = _counts(shape, MAX_DIMENSIONS), _counts(offsets, 2)
    if sizes is None or span is None or len(span) != 2 or span[0] > span[1]:
        return None
    if span[1] - span[0] != math.prod(sizes) * DTYPE_BYTES[dtype]:
        return None
    return TensorInfo(name=name, dtype=dtype, shape=sizes, start=base + span[0], end=base + span[1], path=path)


def _counts(value: object, most: int) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(cast("list[object]", value)) > most:
        return None
    numbers = tuple(n for n in cast("list[object]", value) if type(n) is int and 0 <= n < 2**63)
    return numbers if len(numbers) == len(cast("list[object]", value)) else None
