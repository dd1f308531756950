"""ControlNets (Zhang, Rao & Agrawala 2023): edges, depth, poses and the like as guides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.models.controlnet.config import ControlNetConfig, config_from
from pinxit.models.controlnet.folder import folder_files
from pinxit.models.controlnet.layout import LAYOUTS
from pinxit.models.kinds import Kind

if TYPE_CHECKING:
    from torch import nn


def _build(config: ControlNetConfig) -> nn.Module:
    from pinxit.models.controlnet.network import ControlNet

    return ControlNet(config)


KIND = Kind(
    name="controlnet",
    title="ControlNet",
    hint="It guides a model with a picture; it is no model by itself.",
    layouts=LAYOUTS,
    config_from=config_from,
    build=_build,
    files=folder_files,
)
