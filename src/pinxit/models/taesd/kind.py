"""Tiny autoencoders: TAESD, TAESDXL, TAESD3 and their like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.models.kinds import Kind
from pinxit.models.taesd.config import TinyConfig, config_from
from pinxit.models.taesd.folder import folder_files
from pinxit.models.taesd.layout import LAYOUTS

if TYPE_CHECKING:
    from torch import nn


def _build(config: TinyConfig) -> nn.Module:
    from pinxit.models.taesd.network import TinyAutoencoder

    return TinyAutoencoder(config)


KIND = Kind(
    name="taesd",
    title="Tiny autoencoder",
    hint="It shows pictures while they are painted, or replaces the VAE of a model; it is no model by itself.",
    layouts=LAYOUTS,
    config_from=config_from,
    build=_build,
    files=folder_files,
    aliases=("tiny-vae",),
)
