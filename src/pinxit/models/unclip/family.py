"""Stable Diffusion 2.1 unCLIP: told an image embedding beside the text, or nothing in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pinxit.models.common.conditioned import conditioned_network
from pinxit.models.common.ldm_family import build_part, facts_of
from pinxit.models.common.sd2_line import LEFT_OUT, TEXT, encode, tokenizers
from pinxit.models.contract import Defaults, Facts, Family, LatentSpec, Writing
from pinxit.models.unclip.config import IMAGE, NORMALIZER, UnclipConfig, config_from
from pinxit.models.unclip.folder import folder_files
from pinxit.models.unclip.layout import LAYOUTS

if TYPE_CHECKING:
    from torch import nn

LATENT = LatentSpec(channels=4, downscale=8, scale=0.18215)
DEFAULTS = Defaults(width=768, height=768, steps=20, sampler="dpmpp_2m", schedule=None, guidance=7.0)


def facts(config: UnclipConfig) -> Facts:
    """From text alone the model paints without an image embedding, as a quarter of its training did."""
    found = facts_of(config, latent=LATENT, defaults=DEFAULTS, text=TEXT)
    parts = {IMAGE: config.image_encoder, NORMALIZER: config.normalizer}
    there = tuple(name for name, part in parts.items() if part is not None)
    return replace(found, components=(*found.components, *there))


def build(config: UnclipConfig, component: str) -> nn.Module:
    """The network of one component, without weights."""
    if component == IMAGE and config.image_encoder is not None:
        from pinxit.models.common.clip_vision import ClipVision

        return ClipVision(config.image_encoder)
    if component == NORMALIZER and config.normalizer is not None:
        from pinxit.models.unclip.network import ImageNormalizer

        return ImageNormalizer(config.normalizer)
    return build_part(config, component)


FAMILY = Family(
    name="unclip",
    title="Stable Diffusion 2.1 unCLIP",
    layouts=LAYOUTS,
    config_from=config_from,
    facts=facts,
    build=build,
    tokenizers=tokenizers,
    encoders=(TEXT,),
    encode=encode,
    network=conditioned_network,
    writing=Writing(files=lambda config: folder_files(config, LATENT), left_out=LEFT_OUT),
)
