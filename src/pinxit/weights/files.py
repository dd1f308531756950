"""Write safetensors files and whole folders so that they appear complete or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pinxit.schema.errors import BadInput, OutOfSpace
from pinxit.weights.header import DTYPE_BYTES

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A tensor on its way into a file: `pieces` gives its bytes when its turn comes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    pieces: Callable[[], Iterable[bytes | memoryview]]

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return DTYPE_BYTES[self.dtype] * math.prod(self.shape)


def write_safetensors(path: Path, tensors: Sequence[Outgoing], metadata: Mapping[str, str]) -> None:
    """Write one file, tensor by tensor, and wait until the disk has it.

    The order is by size of the number, largest first, then by name, so equal tensors give equal bytes and every
    tensor is aligned. Not atomic by itself: write inside `staged`.
    """
    ordered = sorted(tensors, key=lambda tensor: (-DTYPE_BYTES[tensor.dtype], tensor.name))
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    at = 0
    for tensor in ordered:
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.size],
        }
        at += tensor.size
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for tensor in ordered:
            written = sum(stream.write(piece) for piece in tensor.pieces())
            if written != tensor.size:
                raise ValueError(f"{tensor.name} was announced with {tensor.size} bytes, but has {written}")
        stream.flush()
        os.fsync(stream.fileno())


def write_sharded(
    folder: Path, stem: str, tensors: Sequence[Outgoing], metadata: Mapping[str, str], limit: int | None
) -> None:
    """Write `stem.safetensors`; or, where that exceeds `limit` bytes, shards and their index.

    A shard holds at most `limit` bytes of tensors, or one tensor that is larger by itself.
    """
    shards: list[list[Outgoing]] = [[]]
    filled = 0
    for tensor in sorted(tensors, key=lambda tensor: tensor.name):
        if limit is not None and shards[-1] and filled + tensor.size > limit:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled += tensor.size
    if len(shards) == 1:
        write_safetensors(folder / f"{stem}.safetensors", tensors, metadata)
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"{stem}-{number:05d}-of-{len(shards):05d}.safetensors"
        write_safetensors(folder / name, shard, metadata)
        weight_map.update({tensor.name: name for tensor in shard})
    index = {"metadata": {"total_size": sum(tensor.size for tensor in tensors)}, "weight_map": weight_map}
    write_text(folder / f"{stem}.safetensors.index.json", json_text(index))


def json_text(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8 and wait until the disk has it."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def staged(destination: Path, *, need: int, overwrite: bool) -> Generator[Path]:
    """A fresh folder beside `destination` to write in; what happens to it is the caller's. Always removed at the end.

    Raises BadInput when `destination` exists and may not be replaced, or its folder cannot be written; OutOfSpace when
    fewer than `need` bytes are free, or the disk fills up meanwhile.
    """
    if destination.exists() and not overwrite:
        raise BadInput(f"{destination} exists already.", hint="Choose another name, or allow overwriting.")
    parent = destination.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(parent).free
        if free < need:
            raise _out_of_space(destination, need, free)
        stage = Path(tempfile.mkdtemp(prefix=".pinxit-", suffix=".partial", dir=parent))
    except OSError as error:
        raise BadInput(f"{destination} cannot be written: {error.strerror}.", hint="Choose another place.") from error
    try:
        yield stage
    except OSError as error:
        if error.errno in _FULL:
            raise _out_of_space(destination, need, shutil.disk_usage(parent).free) from error
        raise BadInput(f"{destination} cannot be written: {error.strerror}.", hint="Choose another place.") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _out_of_space(destination: Path, need: int, free: int) -> OutOfSpace:
    return OutOfSpace(
        f"{destination.name} needs {need / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free. Nothing was written.",
        hint="Free some space, or choose another disk.",
    )


def publish_files(stage: Path, folder: Path) -> tuple[Path, ...]:
    """Move every file of `stage` into `folder`, an index last: it never names a shard that is not there."""
    names = sorted((entry.name for entry in stage.iterdir()), key=lambda name: (name.endswith(".json"), name))
    for name in names:
        os.replace(stage / name, folder / name)
    _sync_folder(folder)
    return tuple(folder / name for name in names)


def publish_folder(stage: Path, destination: Path) -> tuple[Path, ...]:
    """Turn `stage` into the folder `destination`; an older one of that name is removed after the change."""
    made = stage / "new"
    for folder in (made, *(path for path in made.rglob("*") if path.is_dir())):
        _sync_folder(folder)
    if destination.exists():
        os.replace(destination, stage / "old")
    os.replace(made, destination)
    _sync_folder(destination.parent)
    return tuple(sorted(path for path in destination.rglob("*") if path.is_file()))


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
