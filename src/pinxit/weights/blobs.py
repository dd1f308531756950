"""Tensors as they lie in files: which bytes hold them, and how to read them piece by piece. No torch.

```
Blob     a tensor = Segments one after another, and perhaps strides
Segment  a run of bytes in a file, and how it spells numbers (its encoding)
```
Joining, splitting and swapping tensors along the first axis only rearranges segments, so a whole checkpoint changes its
layout without ever being in memory. What cannot be said by segments, a transposed matrix, is said by strides and read
at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

import numpy as np

from pinxit.schema.errors import BadModelFile
from pinxit.weights.header import Header, TensorInfo
from pinxit.weights.layout import Entry, Op, Shape
from pinxit.weights.numbers import CODE_TYPES, FLOATS, Codes, cast, itemsize

PIECE_BYTES = 8 * 2**20
"""The most that is read at once of a tensor that lies in order."""
STRIDED_BYTES = 2 * 2**30
"""The most that is read at once of one that does not."""


class Encoding(Protocol):
    """A spelling of numbers that NumPy has no type for: blocks of `numbers` in `size` bytes each."""

    @property
    def name(self) -> str: ...
    @property
    def numbers(self) -> int: ...
    @property
    def size(self) -> int: ...
    def decode(self, raw: Codes, /) -> Codes:
        """The float32 numbers of whole blocks, given as bytes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The bytes [start, end) of `path`, spelt as the plain type `dtype` unless an `encoding` says otherwise."""

    path: Path
    start: int
    end: int
    dtype: str
    encoding: Encoding | None = None

    @property
    def block(self) -> tuple[int, int]:
        """Numbers and bytes of the smallest run that can be read by itself."""
        return (1, itemsize(self.dtype)) if self.encoding is None else (self.encoding.numbers, self.encoding.size)

    @property
    def count(self) -> int:
        numbers, size = self.block
        return (self.end - self.start) // size * numbers

    def cut(self, low: int, high: int) -> Segment:
        """The numbers from `low` to `high`. Raises BadModelFile where they do not fall on whole blocks."""
        numbers, size = self.block
        if low % numbers or high % numbers:
            raise BadModelFile(f"{self.path.name} packs {numbers} numbers together where a tensor has to be split.")
        return replace(self, start=self.start + low // numbers * size, end=self.start + high // numbers * size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """One tensor: the numbers of its segments in order; with `strides`, taken from them by these steps from the first.

    `dtype` is the type that it is read as: that of its segments, F32 where these differ or are encoded.
    """

    name: str
    shape: Shape
    segments: tuple[Segment, ...]
    strides: tuple[int, ...] | None = None

    @property
    def dtype(self) -> str:
        kinds = {segment.dtype if segment.encoding is None else "F32" for segment in self.segments}
        return kinds.pop() if len(kinds) == 1 else "F32"

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def packed(self) -> bool:
        """Whether some of it is in an encoding of whole blocks."""
        return any(segment.encoding is not None for segment in self.segments)

    def pieces(self, files: Files, dtype: str, *, numbers: int | None = None) -> Iterator[Codes]:
        """Its numbers as flat runs of codes of the type `dtype`, `numbers` at a time (the last run may be shorter)."""
        step = numbers or PIECE_BYTES // max(itemsize(dtype), itemsize(self.dtype))
        if self.strides is not None:
            whole = self._gathered(files, dtype)
            yield from (whole[at : at + step] for at in range(0, len(whole), step))
            return
        waiting: list[Codes] = []
        have = 0
        for segment in self.segments:
            for run in files.runs(segment, step):
                codes = cast(run, self.dtype if segment.encoding is not None else segment.dtype, dtype)
                while have + len(codes) >= step:
                    head, codes = codes[: step - have], codes[step - have :]
                    yield np.concatenate([*waiting, head]) if waiting else head
                    waiting, have = [], 0
                if len(codes):
                    waiting.append(codes)
                    have += len(codes)
        if waiting:
            yield np.concatenate(waiting) if len(waiting) > 1 else waiting[0]

    def _gathered(self, files: Files, dtype: str) -> Codes:
        need = sum(segment.count for segment in self.segments) * itemsize(dtype)
        if need > STRIDED_BYTES:
            raise BadModelFile(f"The tensor {self.name!a} lies scattered over {need:,} bytes, too many to gather.")
        plain = replace(self, strides=None, shape=(sum(segment.count for segment in self.segments),))
        runs = list(plain.pieces(files, dtype))
        numbers = np.concatenate(runs) if runs else np.zeros(0, CODE_TYPES[dtype])
        steps = tuple(step * numbers.itemsize for step in self.strides or ())
        view = np.lib.stride_tricks.as_strided(numbers, self.shape, steps, writeable=False)
        return np.ascontiguousarray(view).reshape(-1)

    def reshaped(self, shape: Shape) -> Blob:
        """The same numbers in another shape; axes of length 1 come and go."""
        if self.strides is None:
            return replace(self, shape=shape)
        kept = [step for step, size in zip(self.strides, self.shape, strict=True) if size != 1]
        steps = iter(kept)
        return replace(self, shape=shape, strides=tuple(0 if size == 1 else next(steps) for size in shape))

    def transposed(self) -> Blob:
        """Rows for columns, where it has two axes."""
        if len(self.shape) != 2:
            return self
        steps = self.strides or (self.shape[1], 1)
        shape = self.shape[::-1]
        back = steps[::-1]
        return replace(self, shape=shape, strides=None if back == (shape[1], 1) else back)

    def split(self, count: int) -> tuple[Blob, ...]:
        """Equal parts along the first axis."""
        self.must_be_plain()
        shape = (self.shape[0] // count, *self.shape[1:])
        size = math.prod(shape)
        parts = (_cut(self.segments, at * size, (at + 1) * size) for at in range(count))
        return tuple(replace(self, shape=shape, segments=part) for part in parts)

    def swapped(self) -> Blob:
        """The second half of the first axis before the first half."""
        return joined(self.split(2)[::-1])

    def must_be_plain(self) -> None:
        """Raise BadModelFile where it does not lie in order."""
        if self.strides is not None:
            raise BadModelFile(
                f"The tensor {self.name!a} does not lie in order, and has to be joined or split.",
                hint="Convert the file with --layout same first, then convert the result.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity(Blob):
    """A square matrix with ones on its diagonal, of the type `kind`. It lies in no file."""

    kind: str

    @property
    def dtype(self) -> str:
        return self.kind

    def pieces(self, files: Files, dtype: str, *, numbers: int | None = None) -> Iterator[Codes]:
        del files
        codes = cast(np.eye(self.shape[0], dtype="<f4").reshape(-1), "F32", dtype)
        step = numbers or len(codes)
        yield from (codes[at : at + step] for at in range(0, len(codes), step))


def joined(blobs: Sequence[Blob]) -> Blob:
    """One tensor of several, along the first axis."""
    for blob in blobs:
        blob.must_be_plain()
    shape = (sum(blob.shape[0] for blob in blobs), *blobs[0].shape[1:])
    return Blob(name=blobs[0].name, shape=shape, segments=tuple(part for blob in blobs for part in blob.segments))


def _cut(segments: tuple[Segment, ...], low: int, high: int) -> tuple[Segment, ...]:
    found: list[Segment] = []
    at = 0
    for segment in segments:
        first, last = max(low - at, 0), min(high - at, segment.count)
        if first < last:
            found.append(segment.cut(first, last))
        at += segment.count
    return tuple(found)


def blob_of(name: str, info: TensorInfo) -> Blob:
    """The tensor that a header describes."""
    segment = Segment(path=info.path, start=info.start, end=info.end, dtype=info.dtype)
    return Blob(name=name, shape=info.shape, segments=(segment,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A model to read from: its header, its tensors by the header's names, and notes on what was left out."""

    header: Header
    blobs: Mapping[str, Blob]
    notes: tuple[str, ...] = field(default=())


def plain_source(header: Header) -> Source:
    """The source of safetensors files, whatever their arrangement."""
    return Source(header=header, blobs={name: blob_of(name, info) for name, info in header.tensors.items()})


class Files:
    """Files that stay open while tensors are read from them. A context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._open: dict[Path, BinaryIO] = {}

    def __enter__(self) -> Files:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()
        self._open.clear()

    def runs(self, segment: Segment, numbers: int) -> Iterator[Codes]:
        """The segment's numbers, about `numbers` at a time: codes of a plain type, float32 of an encoded one."""
        per_block, size = segment.block
        step = max(numbers // per_block, 1) * size
        for at in range(segment.start, segment.end, step):
            raw = self._read(segment.path, at, min(step, segment.end - at))
            if segment.encoding is None:
                yield raw.view(CODE_TYPES[segment.dtype])
            else:
                yield np.ascontiguousarray(segment.encoding.decode(raw), "<f4").reshape(-1)

    def _read(self, path: Path, start: int, size: int) -> Codes:
        raw = bytearray(size)
        room = memoryview(raw)
        try:
            if path not in self._open:
                self._open[path] = self._stack.enter_context(path.open("rb", buffering=0))
            stream = self._open[path]
            stream.seek(start)
            while room:
                count = stream.readinto(room)  # pyright: ignore[reportAttributeAccessIssue] - a raw file has it
                if not count:
                    raise BadModelFile(f"{path.name} became shorter while it was read.", hint="Start again.")
                room = room[count:]
        except OSError as error:
            raise BadModelFile(f"{path.name} cannot be read: {error.strerror}.", hint="Check the disk.") from error
        return np.frombuffer(raw, "u1")


def to_ours(entry: Entry, theirs: Sequence[Blob]) -> tuple[Blob, ...]:
    """Our tensors of `entry` from those in the file."""
    shapes = entry.ours_shapes(tuple(blob.shape for blob in theirs))
    return tuple(_turned(entry.op, blob, shape) for blob, shape in _regrouped(theirs, shapes))


def to_theirs(entry: Entry, ours: Sequence[Blob]) -> tuple[Blob, ...]:
    """A file's tensors of `entry` from ours: the inverse of `to_ours`."""
    shapes = entry.theirs_shapes(tuple(blob.shape for blob in ours))
    return tuple(_turned(entry.op, blob, shape) for blob, shape in _regrouped(ours, shapes))


def _regrouped(blobs: Sequence[Blob], shapes: Sequence[Shape]) -> Iterator[tuple[Blob, Shape]]:
    if len(shapes) == len(blobs):
        parts = tuple(blobs)
    else:
        parts = blobs[0].split(len(shapes)) if len(blobs) == 1 else (joined(blobs),)
    return zip(parts, shapes, strict=True)


def _turned(op: Op | None, blob: Blob, shape: Shape) -> Blob:
    if op is Op.SWAP:
        return blob.swapped()
    if op is Op.TRANSPOSE:
        return blob.transposed()
    return blob.reshaped(shape)


def is_float(blob: Blob) -> bool:
    """Whether a cast may change its type."""
    return blob.dtype in FLOATS
