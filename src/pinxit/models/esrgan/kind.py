"""Upscalers of the ESRGAN class (Wang et al. 2018; Wang et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.models.esrgan.config import UpscalerConfig, config_from
from pinxit.models.esrgan.layout import LAYOUTS
from pinxit.models.kinds import Kind

if TYPE_CHECKING:
    from torch import nn


def _build(config: UpscalerConfig) -> nn.Module:
    from pinxit.models.esrgan.network import Upscaler

    return Upscaler(config)


KIND = Kind(
    name="esrgan",
    title="Upscaler (ESRGAN)",
    hint="It makes finished pictures larger; it is no model by itself.",
    layouts=LAYOUTS,
    config_from=config_from,
    build=_build,
    aliases=("upscaler",),
)
