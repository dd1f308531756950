"""IP-Adapters (Ye et al. 2023): prompts that are pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.models.ip_adapter.config import IpAdapterConfig, config_from
from pinxit.models.ip_adapter.layout import LAYOUTS
from pinxit.models.kinds import Kind

if TYPE_CHECKING:
    from torch import nn


def _build(config: IpAdapterConfig) -> nn.Module:
    from pinxit.models.ip_adapter.network import IpAdapter

    return IpAdapter(config)


KIND = Kind(
    name="ip-adapter",
    title="IP-Adapter",
    hint="It lets a model follow a picture like a prompt; it is no model by itself.",
    layouts=LAYOUTS,
    config_from=config_from,
    build=_build,
)
