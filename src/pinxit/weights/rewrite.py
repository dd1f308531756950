"""From one layout to another without loading anything: each tensor is read when it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from re import compile as pattern
from typing import TypeAlias

from pinxit.schema.errors import BadInput, NumericError
from pinxit.weights.blobs import Blob, Files, Identity, is_float, to_ours, to_theirs
from pinxit.weights.files import (
    Outgoing,
    json_text,
    publish_files,
    publish_folder,
    staged,
    write_safetensors,
    write_sharded,
    write_text,
)
from pinxit.weights.header import Header, unchanged
from pinxit.weights.identify import PartMatch
from pinxit.weights.layout import Layout
from pinxit.weights.numbers import Codes, are_finite, itemsize

_SAFE_NAME = pattern(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")

Blobs: TypeAlias = Mapping[str, Blob]
Make: TypeAlias = Callable[[], Iterator[Codes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A tensor under its name in the target, with our name for it (the first's, where it joins several)."""

    name: str
    ours: str
    blob: Blob


def our_blobs(part: PartMatch, blobs: Blobs) -> dict[str, Blob]:
    """The tensors of one network under our names; entries that the file lacks something of are left out."""
    found: dict[str, Blob] = {}
    for entry in part.entries:
        if all(name in blobs for name in entry.theirs):
            found.update(zip(entry.ours, to_ours(entry, [blobs[name] for name in entry.theirs]), strict=True))
    return found


def without(ours: Blobs, patterns: Sequence[str]) -> dict[str, Blob]:
    """`ours` without the tensors whose names fit one of `patterns`."""
    return {name: blob for name, blob in ours.items() if not any(fnmatchcase(name, pattern) for pattern in patterns)}


def completed(ours: Blobs, identities: Mapping[str, str]) -> dict[str, Blob]:
    """`ours` with the matrices that change nothing where they are absent: name, and the vector as long as its side."""
    found = dict(ours)
    for name, vector in identities.items():
        if name not in found and vector in found:
            side = found[vector].shape[0]
            found[name] = Identity(name=name, shape=(side, side), segments=(), kind=found[vector].dtype)
    return found


def laid_out(layout: Layout, component: str, ours: Blobs) -> list[Named]:
    """The tensors of one network as `layout` names them. Raises BadModelFile where they are no network of it."""
    shapes = {name: blob.shape for name, blob in ours.items()}
    return [
        Named(name=name, ours=entry.ours[0], blob=blob)
        for entry in layout.names_for(component, shapes)
        for name, blob in zip(entry.theirs, to_theirs(entry, [ours[name] for name in entry.ours]), strict=True)
    ]


def outgoing(name: str, blob: Blob, files: Files, dtype: str | None = None) -> Outgoing:
    """`blob` on its way into a file, its floats as `dtype` where one is given.

    Writing it raises NumericError for NaN and infinity, also where they only come by the cast.
    """
    kind = dtype if dtype is not None and is_float(blob) else blob.dtype
    return checked(name, blob.shape, kind, partial(blob.pieces, files, kind), blob.dtype)


def checked(name: str, shape: tuple[int, ...], dtype: str, make: Make, source: str) -> Outgoing:
    """The codes that `make` gives, as bytes on their way into a file, looked over for NaN and infinity."""

    def pieces() -> Iterator[memoryview]:
        for codes in make():
            if not are_finite(codes, dtype):
                raise _not_finite(name, source, dtype)
            yield codes.data.cast("B")

    return Outgoing(name=name, dtype=dtype, shape=shape, pieces=pieces)


def _not_finite(name: str, source: str, dtype: str) -> NumericError:
    if itemsize(dtype) < itemsize(source):
        return NumericError(
            f"{name} holds numbers that {dtype} cannot express, or that are not finite already.",
            hint="Convert to bf16 or f32 instead. If that fails as well, the file is damaged.",
        )
    return NumericError(
        f"{name} holds NaN or infinity.", hint="The file is damaged, or was merged wrongly: look for another copy."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a rewritten model goes and in which form. `max_shard_bytes` cuts the weights into several files."""

    path: Path
    metadata: Mapping[str, str]
    max_shard_bytes: int | None = None
    overwrite: bool = False


Check: TypeAlias = Callable[[Path], object]


def write_single(tensors: Sequence[Outgoing], target: Target, check: Check) -> tuple[Path, ...]:
    """Write one file, or shards with their index; returns what was written, the index last.

    `check` is called with the finished model before it appears under its name, and may raise.
    """
    destination = target.path
    if not destination.name.endswith(".safetensors"):
        raise BadInput(f"{destination.name} must end in .safetensors.", hint="Or choose the layout of a folder.")
    stem = destination.name.removesuffix(".safetensors")
    index = destination.with_name(f"{stem}.safetensors.index.json")
    if target.max_shard_bytes is not None and index.exists() and not target.overwrite:
        raise BadInput(f"{index} exists already.", hint="Choose another name, or allow overwriting.")
    with staged(destination, need=_need(tensors), overwrite=target.overwrite) as stage:
        if target.max_shard_bytes is None:
            write_safetensors(stage / destination.name, tensors, target.metadata)
        else:
            write_sharded(stage, stem, tensors, target.metadata, target.max_shard_bytes)
        made = stage / index.name
        check(made if made.exists() else stage / destination.name)
        return publish_files(stage, destination.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """One sub-folder's weights: its path in the model (empty for the model's own) and the stem of its file."""

    folder: str
    stem: str
    tensors: Sequence[Outgoing]


def write_folder(
    rooms: Sequence[Room], target: Target, check: Check, *, files: Mapping[str, object], copies: Mapping[str, Path]
) -> tuple[Path, ...]:
    """Write a folder of parts; returns every file in it.

    `files` are JSON values and texts by relative path, `copies` files that are copied as they are.
    """
    need = sum(_need(room.tensors) for room in rooms) + sum(path.stat().st_size for path in copies.values())
    with staged(target.path, need=need, overwrite=target.overwrite) as stage:
        root = stage / "new"
        root.mkdir()
        for relative, value in files.items():
            write_text(_below(root, relative), value if isinstance(value, str) else json_text(value))
        for relative, source in copies.items():
            _below(root, relative).write_bytes(source.read_bytes())
        for room in rooms:
            folder = _below(root, f"{room.folder}/{room.stem}" if room.folder else room.stem).parent
            write_sharded(folder, room.stem, room.tensors, target.metadata, target.max_shard_bytes)
        check(root)
        return publish_folder(stage, target.path)


def _need(tensors: Sequence[Outgoing]) -> int:
    return sum(tensor.size for tensor in tensors)


def _below(root: Path, relative: str) -> Path:
    pieces = PurePosixPath(relative).parts
    if not pieces or not all(_SAFE_NAME.fullmatch(piece) for piece in pieces):
        raise BadInput(f"{relative!r} is not a plain file name inside the model's folder.")
    path = root.joinpath(*pieces)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def still_there(header: Header) -> AbstractContextManager[Files]:
    """Files to read `header`'s tensors from. Raises BadInput when one of them changed since it was looked at."""
    if not unchanged(header):
        raise BadInput(f"{header.path.name} changed since it was looked at.", hint="Wait until it is written.")
    return Files()
