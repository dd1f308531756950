"""Make safetensors files without weights: a header, and data that is a hole in a sparse file or given bytes."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pinxit.weights.header import DTYPE_BYTES, Header, TensorInfo
from tests.reference import golden_json

Shape = Sequence[int]


def raw_file(path: Path, header: object, data: bytes = b"") -> Path:
    """A file with exactly this header (text, bytes or JSON value) and data."""
    text = (
        header
        if isinstance(header, bytes)
        else header.encode()
        if isinstance(header, str)
        else json.dumps(header).encode()
    )
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def described(
    shapes: Mapping[str, Shape], dtypes: Mapping[str, str] | None = None, dtype: str = "F32"
) -> dict[str, Any]:
    """The header's JSON for tensors that follow one another."""
    header: dict[str, Any] = {}
    at = 0
    for name, shape in shapes.items():
        kind = (dtypes or {}).get(name, dtype)
        size = math.prod(shape) * DTYPE_BYTES[kind]
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    return header


def sparse_file(
    path: Path,
    shapes: Mapping[str, Shape],
    *,
    dtype: str = "F32",
    dtypes: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """A file of these names and shapes; its numbers are zeros that take no room on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = described(shapes, dtypes, dtype)
    end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if metadata is not None:
        header = {"__metadata__": dict(metadata), **header}
    raw_file(path, header)
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size + end)
    return path


def header_of(shapes: Mapping[str, Shape], *, configs: Mapping[str, Mapping[str, object]] | None = None) -> Header:
    """A header that never was a file."""
    path = Path("model.safetensors")
    tensors = {
        name: TensorInfo(name=name, dtype="F32", shape=tuple(shape), start=0, end=0, path=path)
        for name, shape in shapes.items()
    }
    return Header(path=path, tensors=tensors, configs=configs or {})


def manifest(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a single-file checkpoint."""
    return {key: tuple(shape) for key, shape in golden_json(f"manifests/singlefile/{name}.json")["tensors"].items()}


def manifest_folder(root: Path, name: str, *, dtype: str = "F32") -> Path:
    """A diffusers folder with the parts, names, shapes and JSON files of the manifest `name`, and no numbers."""
    return write_folder(root, golden_json(f"manifests/diffusers/{name}.json"), dtype=dtype)


def write_folder(root: Path, content: Mapping[str, Any], *, dtype: str = "F32") -> Path:
    """A diffusers folder of the manifest `content`."""
    root.mkdir()
    (root / "model_index.json").write_text(json.dumps(content["model_index"]))
    for part, value in content["components"].items():
        folder = root / part
        folder.mkdir()
        for key, file in (("config", "config.json"), ("scheduler_config", "scheduler_config.json")):
            if value.get(key) is not None:
                (folder / file).write_text(json.dumps(value[key]))
        if value.get("tensors"):
            sparse_file(folder / value["weight_file"].split()[0], value["tensors"], dtype=dtype)
    return root
