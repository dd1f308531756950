"""T2I-Adapters (Mou et al. 2023): edges, depth, colours and the like as guides, smaller than ControlNets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.models.kinds import Kind
from pinxit.models.t2i_adapter.config import AdapterConfig, config_from
from pinxit.models.t2i_adapter.folder import folder_files
from pinxit.models.t2i_adapter.layout import LAYOUTS

if TYPE_CHECKING:
    from torch import nn


def _build(config: AdapterConfig) -> nn.Module:
    from pinxit.models.t2i_adapter.network import T2IAdapter

    return T2IAdapter(config)


KIND = Kind(
    name="t2i-adapter",
    title="T2I-Adapter",
    hint="It guides a model with a picture; it is no model by itself.",
    layouts=LAYOUTS,
    config_from=config_from,
    build=_build,
    files=folder_files,
)
