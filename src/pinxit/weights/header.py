"""The gate before every weights file: names, shapes and types from a safetensors header, and no byte of data.

A file is `u64 length | JSON header | data`. Everything is checked before a tensor is touched: the header's size, each
name, type, shape and byte range, and that the ranges fill the data exactly. Whatever is wrong raises BadModelFile and
says what the file is. A number in a file never makes us allocate more than the header itself.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from pinxit.schema.errors import BadModelFile, Missing
from pinxit.weights.sniff import foreign_format

DTYPE_BYTES: Mapping[str, int] = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
"""Bytes of one number, by the format's type names."""

MAX_DIMENSIONS = 8
_BAD_NAME = re.compile(
    r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]|(?:^|[/\\])\.\.(?:[/\\]|$)|^[/\\]"
)
_AGAIN = "The file is damaged: download it again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that a header may ask for. The format itself allows 100 MB of header; real ones stay below 2 MB."""

    header_bytes: int = 16 * 2**20
    tensors: int = 20_000
    name_length: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """One tensor: `name` as its own file spells it, and the bytes [start, end) of `path` that hold it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What one model says of itself: a file, a set of shards, or a folder of parts.

    In a folder each name starts with its part, as in `unet/conv_in.weight`, and `configs` holds its JSON files by
    their relative path; `sizes` are the lengths of the files in bytes, to notice one that changed since.
    """

    path: Path
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    configs: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])
    sizes: Mapping[Path, int] = field(default_factory=dict[Path, int])

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: info.shape for name, info in self.tensors.items()}


def read_header(path: Path, *, limits: Limits | None = None) -> Header:
    """Read and check the header of one safetensors file.

    Raises Missing when there is no such file and BadModelFile for everything else that is wrong with it.
    """
    limits = limits or Limits()
    size = _regular_size(path)
    try:
        with path.open("rb") as stream:
            raw = _header_bytes(path, stream, size, limits)
    except OSError as error:
        raise BadModelFile(f"{path.name} cannot be read: {error.strerror}.", hint="Check its permissions.") from error
    document = _parse(path, raw, limits)
    metadata = _metadata(path, document.pop("__metadata__", None))
    if len(document) > limits.tensors:
        _refuse(
            path, f"it names {len(document):,} tensors; at most {limits.tensors:,} are read", "No model needs so many."
        )
    base = 8 + len(raw)
    tensors = {name: _tensor(path, name, value, base, limits) for name, value in document.items()}
    _check_ranges(path, tensors, base, size)
    return Header(path=path, tensors=tensors, metadata=metadata, sizes={path: size})


def is_bad_name(name: str) -> bool:
    """Whether a tensor's name holds a path out of its place, or characters that act on a terminal."""
    return _BAD_NAME.search(name) is not None


def _refuse(path: Path, reason: str, hint: str = _AGAIN) -> NoReturn:
    raise BadModelFile(f"{path.name} is not a usable model file: {reason}.", hint=hint)


def _regular_size(path: Path) -> int:
    """The size of a regular file, found without opening it (a named pipe would wait for ever)."""
    try:
        info = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Missing(
            f"There is no file {path}.", hint="Check the path, or list models with `pinxit models list`."
        ) from error
    except (OSError, ValueError) as error:
        raise BadModelFile(f"{path.name!r} cannot be opened: {error}.", hint="Check the path.") from error
    if not stat.S_ISREG(info.st_mode):
        _refuse(path, "it is a folder or a device, not a file", "Give the path of a .safetensors file.")
    return info.st_size


def _header_bytes(path: Path, stream: BinaryIO, size: int, limits: Limits) -> bytes:
    if size == 0:
        _refuse(path, "it is empty")
    head = stream.read(512)
    length = struct.unpack("<Q", head[:8])[0] if len(head) >= 8 else 0
    if len(head) < 9 or head[8:9] != b"{" or length > size - 8:
        if found := foreign_format(head):
            _refuse(path, f"it is {found[0]}", found[1])
        if len(head) >= 9 and head[8:9] == b"{" and length <= 100_000_000:
            _refuse(path, f"it is cut off: the header alone needs {length + 8:,} bytes, the file has {size:,}")
        _refuse(
            path, "it is not in the safetensors format", "Give a .safetensors file; other formats are converted first."
        )
    if length > limits.header_bytes:
        _refuse(
            path,
            f"its header claims {length:,} bytes; at most {limits.header_bytes:,} are read",
            "No model needs so much.",
        )
    stream.seek(8)
    raw = stream.read(length)
    if len(raw) != length:
        _refuse(path, "it changed while it was read", "Wait until it is completely written.")
    return raw


def _parse(path: Path, raw: bytes, limits: Limits) -> dict[str, object]:
    """The header's JSON object. Keys given twice, numbers like NaN, deep nesting and bad UTF-8 are refused."""
    seen = 0

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal seen
        seen += 1
        if seen > limits.tensors + 2:
            _refuse(path, f"it names more than {limits.tensors:,} tensors", "No model needs so many.")
        result = dict(pairs)
        if len(result) != len(pairs):
            counts = Counter(key for key, _ in pairs)
            _refuse(path, f"its header gives {_shown(counts.most_common(1)[0][0])} twice")
        return result

    def no_constant(text: str) -> NoReturn:
        _refuse(path, f"its header holds {text} where a number belongs")

    try:
        document: object = json.loads(raw.decode("utf-8"), object_pairs_hook=unique, parse_constant=no_constant)
    except UnicodeDecodeError:
        _refuse(path, "its header is not UTF-8 text")
    except (ValueError, RecursionError):
        _refuse(path, "its header is not valid JSON")
    if not isinstance(document, dict):
        _refuse(path, "its header is not a JSON object")
    return cast(dict[str, object], document)


def _metadata(path: Path, value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        _refuse(path, "its metadata is not an object of texts")
    entries = cast(dict[str, object], value)
    texts = {key: text for key, text in entries.items() if isinstance(text, str)}
    if len(texts) != len(entries):
        _refuse(path, "its metadata is not an object of texts")
    return texts


def _shown(name: str) -> str:
    """A name fit for a message: quoted, escaped and short."""
    return ascii(name if len(name) <= 80 else name[:77] + "...")


def _tensor(path: Path, name: str, value: object, base: int, limits: Limits) -> TensorInfo:
    if not name or len(name) > limits.name_length:
        _refuse(path, f"a tensor's name has {len(name):,} characters; 1 to {limits.name_length} are allowed")
    if _BAD_NAME.search(name):
        _refuse(path, f"the tensor name {_shown(name)} holds a path or control characters", "Do not trust this file.")
    if not isinstance(value, dict):
        _refuse(path, f"the entry {_shown(name)} does not describe a tensor")
    entry = cast(dict[str, object], value)
    if set(entry) != {"dtype", "shape", "data_offsets"}:
        _refuse(path, f"the entry {_shown(name)} must have exactly dtype, shape and data_offsets")
    dtype = entry["dtype"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        known = ", ".join(DTYPE_BYTES)
        _refuse(path, f"the tensor {_shown(name)} has the unknown type {_shown(str(dtype))}", f"Known types: {known}.")
    shape = _counts(entry["shape"])
    if shape is None or len(shape) > MAX_DIMENSIONS:
        _refuse(path, f"the shape of {_shown(name)} is not a list of at most {MAX_DIMENSIONS} sizes")
    offsets = _counts(entry["data_offsets"])
    if offsets is None or len(offsets) != 2 or offsets[0] > offsets[1]:
        _refuse(path, f"the data_offsets of {_shown(name)} are not a range of bytes")
    start, end = offsets
    need = math.prod(shape) * DTYPE_BYTES[dtype]
    if need != end - start:
        _refuse(
            path, f"{_shown(name)} of shape {list(shape)} in {dtype} needs {need:,} bytes but is given {end - start:,}"
        )
    return TensorInfo(name=name, dtype=dtype, shape=shape, start=base + start, end=base + end, path=path)


def _counts(value: object) -> tuple[int, ...] | None:
    """A JSON list of whole numbers from 0 to 2^63 as a tuple; None for anything else (true and 1.0 included)."""
    if not isinstance(value, list):
        return None
    numbers = [n for n in cast(list[object], value) if type(n) is int and 0 <= n < 2**63]
    return tuple(numbers) if len(numbers) == len(cast(list[object], value)) else None


def _check_ranges(path: Path, tensors: Mapping[str, TensorInfo], base: int, size: int) -> None:
    """Refuse overlaps, holes, ranges beyond the file and bytes that belong to no tensor."""
    reached = base
    for info in sorted(tensors.values(), key=lambda info: (info.start, info.end)):
        if info.end > size:
            _refuse(path, f"it is cut off: {_shown(info.name)} ends at byte {info.end:,}, the file has {size:,}")
        if info.start != reached:
            what = "overlaps another tensor" if info.start < reached else "leaves a hole before it"
            _refuse(path, f"the data of {_shown(info.name)} {what}")
        reached = info.end
    if reached != size:
        _refuse(path, f"{size - reached:,} bytes at its end belong to no tensor", "Do not trust this file.")


def unchanged(header: Header) -> bool:
    """True while every file of `header` still has the length that was checked."""
    return all(os.path.exists(path) and path.stat().st_size == size for path, size in header.sizes.items())
