"""Autoencoders by themselves (Rombach et al. 2022): pictures to latents and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pinxit.models.common.diffusers_json import vae_json
from pinxit.models.kinds import Kind
from pinxit.models.vae.config import VaeFile, config_from
from pinxit.models.vae.layout import LAYOUTS

if TYPE_CHECKING:
    from torch import nn


def _build(config: VaeFile) -> nn.Module:
    from pinxit.models.common.vae import AutoencoderKL

    return AutoencoderKL(config.network)


def _files(config: VaeFile) -> Mapping[str, object]:
    """The folder's config.json. The side of the pictures is a note there; nothing depends on it."""
    latent = config.latent
    return {"config.json": vae_json(config.network, sample_size=512, scale=latent.scale, shift=latent.shift)}


KIND = Kind(
    name="vae",
    title="VAE",
    hint="It replaces the VAE of a model; it is no model by itself.",
    layouts=LAYOUTS,
    config_from=config_from,
    build=_build,
    files=_files,
)
