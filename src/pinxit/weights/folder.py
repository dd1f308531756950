"""Models that are more than one file: shards with their index, and folders with one sub-folder per part."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, cast

from pinxit.schema.errors import BadModelFile, Missing
from pinxit.weights.header import Header, Limits, TensorInfo, read_header
from pinxit.weights.settings import read_json

_SHARD = re.compile(r"^[\w.-]+\.safetensors$", re.ASCII)
_PART = re.compile(r"^[A-Za-z0-9_]{1,64}$")
MAX_SHARDS = 512
MAX_PARTS = 32
WEIGHT_STEMS = ("diffusion_pytorch_model", "model")
LEGACY_SUFFIXES = (".bin", ".ckpt", ".pt", ".pth")
LEGACY_NAMES = ("diffusion_pytorch_model.bin", "pytorch_model.bin", "model.bin")


Open: TypeAlias = Callable[[Path], Header]
"""Reads the header of a weights file in a format of old."""


def read_model(
    path: Path, *, variant: str | None = None, limits: Limits | None = None, legacy: Open | None = None
) -> Header:
    """The header of whatever `path` is: a safetensors file, an index of shards, a folder of parts, or of one part.

    `variant` picks the weights of that name in a folder (`fp16` reads `model.fp16.safetensors`). `legacy` reads pickles
    in a folder that has no safetensors; without it they are refused. Raises Missing and BadModelFile.
    """
    if path.is_dir():
        if (path / "model_index.json").exists():
            return _read_parts(path, variant, limits, legacy)
        return _read_part(path, variant, limits, legacy)
    if path.name.endswith(".safetensors.index.json"):
        return read_shards(path, limits=limits)
    return read_header(path, limits=limits)


def read_shards(index: Path, *, limits: Limits | None = None) -> Header:
    """One header for all the shards that `index` lists.

    Every shard must lie in the index's own folder, and the shards must hold exactly the tensors that the index names.
    """
    mapping = read_json(index).get("weight_map")
    if not isinstance(mapping, dict):
        raise BadModelFile(f"{index.name} has no weight_map.", hint="Download the index again.")
    listed = _shard_names(index, cast(dict[str, object], mapping))
    shards = sorted(set(listed.values()))
    if len(shards) > MAX_SHARDS:
        raise BadModelFile(f"{index.name} lists {len(shards):,} shards, at most {MAX_SHARDS} are read.")
    tensors: dict[str, TensorInfo] = {}
    metadata: dict[str, str] = {}
    sizes: dict[Path, int] = {}
    for shard in shards:
        try:
            header = read_header(index.parent / shard, limits=limits)
        except Missing as error:
            raise BadModelFile(
                f"The shard {shard} of {index.name} is missing.", hint="Download every shard."
            ) from error
        for name in header.tensors:
            if listed.get(name) != shard:
                raise BadModelFile(
                    f"{shard} holds the tensor {name!a}, which {index.name} does not place there.",
                    hint="Index and shards belong to different downloads: fetch them together.",
                )
        tensors.update(header.tensors)
        metadata.update(header.metadata)
        sizes.update(header.sizes)
    if absent := sorted(set(listed) - set(tensors)):
        raise BadModelFile(
            f"The shards of {index.name} lack {len(absent)} of its tensors, such as {absent[0]!a}.",
            hint="Index and shards belong to different downloads: fetch them together.",
        )
    return Header(path=index, tensors=tensors, metadata=metadata, sizes=sizes)


def _shard_names(index: Path, mapping: Mapping[str, object]) -> dict[str, str]:
    names: dict[str, str] = {}
    for tensor, shard in mapping.items():
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard):
            raise BadModelFile(
                f"{index.name} names the shard {ascii(shard)[:80]}, which is not a plain .safetensors file name.",
                hint="Do not trust this model.",
            )
        names[tensor] = shard
    return names


def _read_parts(path: Path, variant: str | None, limits: Limits | None, legacy: Open | None) -> Header:
    """A folder with a model_index.json: all its parts under one roof, names prefixed by the part."""
    index = read_json(path / "model_index.json")
    parts = sorted(name for name, value in index.items() if not name.startswith("_") and _is_part(value))
    if len(parts) > MAX_PARTS or not all(_PART.fullmatch(part) for part in parts):
        raise BadModelFile(f"The model_index.json of {path.name} lists parts that are no folder names.")
    tensors: dict[str, TensorInfo] = {}
    configs: dict[str, Mapping[str, object]] = {"model_index.json": index}
    sizes: dict[Path, int] = {}
    metadata: dict[str, str] = {}
    for part in parts:
        folder = path / part
        for name in ("config.json", "scheduler_config.json", "tokenizer_config.json"):
            if (folder / name).is_file():
                configs[f"{part}/{name}"] = read_json(folder / name)
        if f"{part}/config.json" not in configs or not (weights := _weights_file(folder, variant, legacy)):
            continue
        header = _read_weights(weights, limits, legacy)
        metadata = {**header.metadata, **metadata}
        tensors.update({f"{part}/{name}": info for name, info in header.tensors.items()})
        sizes.update(header.sizes)
    if not tensors:
        raise BadModelFile(f"The folder {path.name} holds no weights.", hint="Download its .safetensors files.")
    return Header(path=path, tensors=tensors, metadata=metadata, configs=configs, sizes=sizes)


def _read_weights(path: Path, limits: Limits | None, legacy: Open | None) -> Header:
    if legacy is not None and path.name.endswith(LEGACY_SUFFIXES):
        return legacy(path)
    return read_model(path, limits=limits)


def _is_part(value: object) -> bool:
    """Whether a model_index entry names a part: `[library, class]`, neither of them null."""
    return isinstance(value, list) and len(cast(list[object], value)) == 2 and None not in cast(list[object], value)


def _read_part(path: Path, variant: str | None, limits: Limits | None, legacy: Open | None) -> Header:
    """A folder that holds one network, with its config.json where there is one."""
    weights = _weights_file(path, variant, legacy)
    if weights is None:
        raise BadModelFile(f"The folder {path.name} holds no model.", hint="It needs a model_index.json or weights.")
    config = path / "config.json"
    configs = {"config.json": read_json(config)} if config.is_file() else {}
    return replace(_read_weights(weights, limits, legacy), path=path, configs=configs)


def _weights_file(folder: Path, variant: str | None, legacy: Open | None) -> Path | None:
    """The weights in a part's folder, or its index of shards; None where there are none (a feature extractor, say)."""
    middle = f".{variant}" if variant else ""
    tails = (f"{middle}.safetensors", f".safetensors.index{middle}.json", f"{middle}.safetensors.index.json")
    candidates = [folder / (stem + tail) for stem in WEIGHT_STEMS for tail in dict.fromkeys(tails)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    others = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    if spare := [name for name in others if name.endswith(".safetensors")]:
        if len(spare) == 1 and variant is None:
            return folder / spare[0]
        raise BadModelFile(
            f"The folder {folder.name} has no weights named {candidates[0].name}; it has {', '.join(spare[:5])}.",
            hint="Choose one with its variant, as in `fp16`.",
        )
    if pickles := [name for name in others if name.endswith(LEGACY_SUFFIXES)]:
        if legacy is not None:
            return folder / next((name for name in LEGACY_NAMES if name in pickles), pickles[0])
        raise BadModelFile(
            f"The weights of {folder.name} are a pickle, {pickles[0]}.",
            hint="Convert it to safetensors first: `pinxit models convert OLD-FOLDER NEW-FOLDER`. pinxit never loads "
            "pickles, because they can run code.",
        )
    return None
