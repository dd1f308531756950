"""GGUF files: names, shapes and where the numbers lie, from a header we read ourselves.

Plain numbers (F32, F16, BF16) need nothing else; blocks of quantised ones are decoded by the package `gguf` (an extra).
The format: magic, version, counts, key-value pairs, descriptions of tensors, then the aligned data. Layouts of files by
stable-diffusion.cpp and ComfyUI-GGUF are those of single-file checkpoints, with or without the U-Net's prefix.
"""

from __future__ import annotations

import importlib
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from pinxit.schema.errors import BadModelFile, Missing
from pinxit.weights.blobs import Blob, Segment, Source
from pinxit.weights.header import DTYPE_BYTES, MAX_DIMENSIONS, Header, Limits, TensorInfo, is_bad_name
from pinxit.weights.layout import Shape
from pinxit.weights.numbers import Codes

MAGIC = b"GGUF"
VERSIONS = (2, 3)
PLAIN: Mapping[int, str] = {0: "F32", 1: "F16", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 30: "BF16"}
BLOCKS: Mapping[int, tuple[str, int, int]] = {
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    20: ("IQ4_NL", 32, 18),
    23: ("IQ4_XS", 256, 136),
}
"""By the format's number: name, numbers and bytes of one block."""
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
TEXT, ARRAY = 8, 9
MAX_TEXT = 2**20
MAX_ITEMS = 200_000
MAX_PAIRS = 10_000
MAX_HEADER = 64 * 2**20
DEFAULT_ALIGNMENT = 32
ORIGINAL_SHAPE = "comfy.gguf.orig_shape."
"""Where ComfyUI-GGUF keeps the shape of a tensor that it stored as a matrix."""


def is_gguf(path: Path) -> bool:
    """Whether `path` begins as a GGUF file does."""
    with path.open("rb") as stream:
        return stream.read(4) == MAGIC


@dataclass(frozen=True, slots=True)
class Quantised:
    """One of GGUF's block formats; decoding imports the package."""

    kind: int
    name: str
    numbers: int
    size: int

    def decode(self, raw: Codes) -> Codes:
        """The float32 numbers of whole blocks, given as bytes."""
        package: Any = _package(self.name)
        quantisation = package.GGMLQuantizationType(self.kind)
        return np.asarray(package.quants.dequantize(raw.reshape(-1, self.size), quantisation), "<f4")


def read_gguf(path: Path) -> Source:
    """The tensors of a GGUF file. Raises BadModelFile, and Missing where its numbers need the extra `gguf`."""
    source = read_gguf_header(path)
    packed = sorted({part.encoding.name for blob in source.blobs.values() for part in blob.segments if part.encoding})
    if packed:
        _package(", ".join(packed))
    return source


def read_gguf_header(path: Path) -> Source:
    """What a GGUF file says of its tensors. Nothing is decoded, so the extra is not needed. Raises BadModelFile."""
    try:
        with path.open("rb") as stream:
            return _Reader(path, stream).source()
    except OSError as error:
        raise BadModelFile(f"{path.name} cannot be read: {error.strerror}.", hint="Check its permissions.") from error


def _package(what: str) -> Any:
    try:
        return importlib.import_module("gguf")
    except ImportError as error:
        raise Missing(
            f"Reading {what} numbers needs the package gguf, which is not installed.",
            hint="Install it: pip install 'pinxit[gguf]'",
        ) from error


class _Reader:
    """One file's header, read from the front; every count is bounded before it is used."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.path = path
        self.stream = stream
        self.size = path.stat().st_size

    def source(self) -> Source:
        if self._take(4) != MAGIC:
            self._refuse("it is no GGUF file")
        version, tensors, pairs = self._number("<I"), self._number("<Q"), self._number("<Q")
        if version not in VERSIONS:
            self._refuse(f"its version {version} is not known (2 and 3 are)")
        if tensors > Limits().tensors or pairs > MAX_PAIRS:
            self._refuse(f"it claims {tensors:,} tensors and {pairs:,} facts")
        facts: dict[str, object] = {}
        for _ in range(pairs):
            key = self._text()
            facts[key] = self._value(self._number("<I"), 0)
        rows = [self._row() for _ in range(tensors)]
        alignment = facts.get("general.alignment", DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or not 0 < alignment <= 2**20:
            self._refuse("its alignment is no size")
        base = -(-self.stream.tell() // alignment) * alignment
        blobs: dict[str, Blob] = {}
        for name, shape, kind, offset in rows:
            if name in blobs:
                self._refuse(f"it names {name!a} twice")
            blobs[name] = self._blob(name, self._shape(name, shape, facts), kind, base + offset)
        self._no_overlaps(blobs)
        infos = {name: _info(blob) for name, blob in blobs.items()}
        metadata = {key: str(value) for key, value in facts.items() if isinstance(value, str | int | float)}
        header = Header(path=self.path, tensors=infos, metadata=metadata, sizes={self.path: self.size})
        return Source(header=header, blobs=blobs)

    def _refuse(self, reason: str) -> NoReturn:
        raise BadModelFile(f"{self.path.name} is not a usable GGUF file: {reason}.", hint="Download it again.")

    def _take(self, count: int) -> bytes:
        data = self.stream.read(count)
        if len(data) != count or self.stream.tell() > MAX_HEADER:
            self._refuse("it is cut off" if len(data) != count else "its header is longer than any model needs")
        return data

    def _number(self, form: str) -> int:
        return int(struct.unpack(form, self._take(struct.calcsize(form)))[0])

    def _text(self) -> str:
        length = self._number("<Q")
        if length > MAX_TEXT:
            self._refuse(f"it holds a text of {length:,} bytes")
        try:
            return self._take(length).decode("utf-8")
        except UnicodeDecodeError:
            self._refuse("it holds a text that is not UTF-8")

    def _value(self, kind: int, depth: int) -> object:
        if kind == TEXT:
            return self._text()
        if kind in SCALARS:
            form = SCALARS[kind]
            return struct.unpack(form, self._take(struct.calcsize(form)))[0]
        if kind != ARRAY or depth > 2:
            self._refuse(f"it holds a fact of the unknown type {kind}")
        inner, count = self._number("<I"), self._number("<Q")
        if count > MAX_ITEMS:
            self._refuse(f"it holds a list of {count:,} items")
        return [self._value(inner, depth + 1) for _ in range(count)]

    def _row(self) -> tuple[str, Shape, int, int]:
        name = self._text()
        if not 0 < len(name) <= Limits().name_length or is_bad_name(name):
            self._refuse(f"the tensor name {ascii(name)[:80]} holds a path or control characters")
        axes = self._number("<I")
        if axes > MAX_DIMENSIONS:
            self._refuse(f"{name!a} has {axes:,} axes")
        shape = tuple(self._number("<Q") for _ in range(axes))
        return name, shape[::-1], self._number("<I"), self._number("<Q")

    def _shape(self, name: str, shape: Shape, facts: Mapping[str, object]) -> Shape:
        """The tensor's shape; the one it had before it was stored as a matrix, where the file says so."""
        told = facts.get(ORIGINAL_SHAPE + name)
        if not isinstance(told, list):
            return shape
        sizes = tuple(item for item in told if isinstance(item, int) and item > 0)
        if math.prod(sizes) != math.prod(shape) or len(sizes) > MAX_DIMENSIONS:
            self._refuse(f"the shape that it tells of {name!a} does not fit its numbers")
        return sizes

    def _blob(self, name: str, shape: Shape, kind: int, start: int) -> Blob:
        count = math.prod(shape)
        if count >= 2**60:
            self._refuse(f"{name!a} claims {count:,} numbers")
        if kind in PLAIN:
            dtype = PLAIN[kind]
            segment = Segment(path=self.path, start=start, end=start + count * DTYPE_BYTES[dtype], dtype=dtype)
        elif kind in BLOCKS:
            word, numbers, size = BLOCKS[kind]
            if count % numbers:
                self._refuse(f"{name!a} of shape {list(shape)} does not fill whole blocks of {word}")
            encoding = Quantised(kind, word, numbers, size)
            segment = Segment(
                path=self.path, start=start, end=start + count // numbers * size, dtype="F32", encoding=encoding
            )
        else:
            self._refuse(f"{name!a} holds numbers of the unknown type {kind}")
        if segment.end > self.size:
            self._refuse(f"it is cut off: {name!a} ends at byte {segment.end:,}, the file has {self.size:,}")
        return Blob(name=name, shape=shape, segments=(segment,))

    def _no_overlaps(self, blobs: Mapping[str, Blob]) -> None:
        reached = 0
        for segment in sorted((blob.segments[0] for blob in blobs.values()), key=lambda segment: segment.start):
            if segment.start < reached:
                self._refuse("two of its tensors overlap")
            reached = max(reached, segment.end)


def _info(blob: Blob) -> TensorInfo:
    segment = blob.segments[0]
    dtype = segment.encoding.name if segment.encoding is not None else segment.dtype
    return TensorInfo(
        name=blob.name, dtype=dtype, shape=blob.shape, start=segment.start, end=segment.end, path=segment.path
    )
