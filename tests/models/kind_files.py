"""One network file in every spelling that its kind knows: written, recognised and loaded again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pinxit.models.kinds import AnyKind, Found, find_kind
from pinxit.plugins.manager import build_catalog
from pinxit.weights.folder import read_model
from pinxit.weights.layout import Layout
from pinxit.weights.load import load_into
from pinxit.weights.save import save_model
from tests.models.common.golden import det_weight

KINDS = build_catalog().kinds


def golden_state(keys: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The weights of the reference's tiny networks."""
    return {key: det_weight(key, shape) for key, shape in keys.items()}


def found_in(path: Path) -> Found[Any]:
    return find_kind(read_model(path), KINDS)


def loaded(found: Found[Any], config: Any = None) -> nn.Module:
    """The network of a recognised file, with its weights; `config` in place of the file's own where one is given."""
    with torch.device("meta"):
        network = found.kind.network(config or found.config)
    load_into(network, found.match, found.kind.name)
    return network.eval()


def written(
    kind: AnyKind,
    layout: Layout,
    state: Mapping[str, Tensor],
    folder: Path,
    *,
    name: str = "network",
    config: Mapping[str, object] | None = None,
) -> Path:
    """`state` as a file of `layout`, or as a folder with its config.json."""
    if not layout.folder:
        return save_model({kind.name: state}, layout, folder / f"{name}.safetensors")[0]
    save_model({kind.name: state}, layout, folder / name, configs={"config.json": config} if config else None)
    return folder / name
