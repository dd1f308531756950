"""Networks into files, through any layout: one file, shards, or a folder of parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from pinxit.schema.errors import BadInput
from pinxit.weights.convert import to_theirs
from pinxit.weights.dtypes import FILE_DTYPES
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
from pinxit.weights.layout import Entry, Layout

_SAFE_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")


def save_model(
    networks: Mapping[str, Mapping[str, Tensor]],
    layout: Layout,
    destination: Path,
    *,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
    configs: Mapping[str, object] | None = None,
    max_shard_bytes: int | None = None,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write the tensors of `networks` (by component, under our names) as `layout`; returns the files.

    `configs` are the folder's other files by relative path: texts as they are, anything else as JSON. A single file
    takes none. Floats become `dtype` where one is given. Either everything appears under its final name or nothing.
    Raises BadModelFile when a network does not fit the layout, BadInput for a place that cannot be written, OutOfSpace.
    """
    metadata = {"format": "pt", **(metadata or {})}
    outgoing = {name: list(_outgoing(layout, name, tensors, dtype)) for name, tensors in networks.items()}
    need = sum(tensor.size for tensors in outgoing.values() for tensor in tensors)
    if not layout.folder:
        if configs:
            raise BadInput(f"{layout.name} is a single file; it cannot hold {', '.join(configs)}.")
        merged = [tensor for tensors in outgoing.values() for tensor in tensors]
        return save_tensors(
            merged, destination, metadata=metadata, max_shard_bytes=max_shard_bytes, overwrite=overwrite
        )
    with staged(destination, need=need, overwrite=overwrite) as stage:
        root = stage / "new"
        root.mkdir()
        for relative, value in (configs or {}).items():
            path = _inside(root, relative)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, value if isinstance(value, str) else json_text(value))
        for component, tensors in outgoing.items():
            place = layout.part(component).places[0]
            folder = root / place.prefix.rstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
            write_sharded(folder, place.file, tensors, metadata, max_shard_bytes)
        return publish_folder(stage, destination)


def save_tensors(
    tensors: list[Outgoing] | Mapping[str, Tensor],
    destination: Path,
    *,
    metadata: Mapping[str, str] | None = None,
    max_shard_bytes: int | None = None,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write tensors under the names they have as `destination`, or as shards of it and their index."""
    if isinstance(tensors, Mapping):
        tensors = [_announce(name, tensor) for name, tensor in tensors.items()]
    if not destination.name.endswith(".safetensors"):
        raise BadInput(f"{destination.name} must end in .safetensors.")
    need = sum(tensor.size for tensor in tensors)
    with staged(destination, need=need, overwrite=overwrite) as stage:
        stem = destination.name.removesuffix(".safetensors")
        if max_shard_bytes is None:
            write_safetensors(stage / destination.name, tensors, metadata or {})
        else:
            write_sharded(stage, stem, tensors, metadata or {}, max_shard_bytes)
        return publish_files(stage, destination.parent)


def _announce(name: str, tensor: Tensor) -> Outgoing:
    if tensor.dtype not in FILE_DTYPES:
        raise BadInput(f"{name} has the type {tensor.dtype}, which a weights file cannot hold.")
    shape = tuple(tensor.shape)
    return Outgoing(
        name=name, dtype=FILE_DTYPES[tensor.dtype], shape=shape, pieces=lambda: _bytes_of(tensor, tensor.dtype, shape)
    )


def _bytes_of(tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> Iterator[memoryview]:
    made = tensor.detach().to(device="cpu", dtype=dtype).contiguous()
    if tuple(made.shape) != shape:
        raise ValueError(f"a tensor was announced as {shape}, but is {tuple(made.shape)}")
    yield made.reshape(-1).view(torch.uint8).numpy().data


def _outgoing(
    layout: Layout, component: str, tensors: Mapping[str, Tensor], dtype: torch.dtype | None
) -> Iterator[Outgoing]:
    """The layout's tensors of one network, computed one at a time when they are written."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for entry in layout.names_for(component, shapes):
        ours = [tensors[name] for name in entry.ours]
        kind = dtype if dtype is not None and ours[0].is_floating_point() else ours[0].dtype
        theirs = entry.theirs_shapes(tuple(shapes[name] for name in entry.ours))
        for number, (name, shape) in enumerate(zip(entry.theirs, theirs, strict=True)):
            pieces = partial(_pieces, entry, ours, number, kind, shape)
            yield Outgoing(name=_in_part(layout, component, name), dtype=FILE_DTYPES[kind], shape=shape, pieces=pieces)


def _pieces(
    entry: Entry, ours: list[Tensor], number: int, dtype: torch.dtype, shape: tuple[int, ...]
) -> Iterator[memoryview]:
    yield from _bytes_of(to_theirs(entry, ours)[number], dtype, shape)


def _in_part(layout: Layout, component: str, name: str) -> str:
    """The name inside its own file: without the part's folder."""
    return name.removeprefix(layout.part(component).places[0].prefix) if layout.folder else name


def _inside(root: Path, relative: str) -> Path:
    pieces = PurePosixPath(relative).parts
    if not pieces or not all(_SAFE_NAME.fullmatch(piece) for piece in pieces):
        raise BadInput(f"{relative!r} is not a plain file name inside the model's folder.")
    return root.joinpath(*pieces)
