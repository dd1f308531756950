"""Stable Diffusion XL and its refiner (Podell et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pinxit.models.common.folder import markers
from pinxit.models.common.ldm_family import build_part, clip_tokenizer, facts_of, sized_network
from pinxit.models.contract import Defaults, Facts, Family, Networks, Words, Writing
from pinxit.models.sdxl.config import SdxlConfig, config_from
from pinxit.models.sdxl.folder import folder_files
from pinxit.models.sdxl.layout import CLIP_G, CLIP_L, LAYOUTS
from pinxit.prompts.chunks import Tokenizer
from pinxit.sampling.denoiser import Conditioning, Network
from pinxit.weights.identify import Match

if TYPE_CHECKING:
    from torch import nn

DEFAULTS = Defaults(width=1024, height=1024, steps=25, sampler="dpmpp_2m", schedule=None, guidance=6.0, spacing="sdxl")


def facts(config: SdxlConfig) -> Facts:
    needs = {"inpainting": "an inpainting model needs a picture and a mask", "instruct": "it edits a given picture"}
    both = {CLIP_L: config.text_encoder, CLIP_G: config.text_encoder_2}
    return facts_of(
        config,
        latent=config.latent,
        defaults=DEFAULTS,
        text={CLIP_G: config.text_encoder_2} if config.is_refiner else both,
        can_paint=needs.get(config.variant, ""),
        distilled=config.distilled,
    )


def _build(config: SdxlConfig, component: str) -> nn.Module:
    """The network of one component, without weights."""
    if component == CLIP_G and config.text_encoder_2 is not None:
        from pinxit.models.common.clip import ClipText

        return ClipText(config.text_encoder_2)
    return build_part(config, component)


def _tokenizers(config: SdxlConfig, match: Match) -> Mapping[str, Tokenizer]:
    found: dict[str, Tokenizer] = {}
    if config.text_encoder is not None and not config.is_refiner:
        found[CLIP_L] = clip_tokenizer(match, folder="tokenizer", padding="eos")
    if config.text_encoder_2 is not None:
        found[CLIP_G] = clip_tokenizer(match, folder="tokenizer_2", padding="zero")
    return found


def _encode(config: SdxlConfig, networks: Networks, words: Words) -> Conditioning:
    from pinxit.models.sdxl.text import encode

    return encode(config, networks, words)


def _network(config: SdxlConfig, unet: nn.Module) -> Network:
    return sized_network(config.unet, unet, size_width=config.size_embedding)


def _metadata(config: SdxlConfig, match: Match) -> Mapping[str, str]:
    """What no marker key says."""
    del match
    return {"modelspec.prediction_type": "edm_vpred"} if config.prediction.kind == "edm_velocity" else {}


FAMILY = Family(
    name="sdxl",
    title="Stable Diffusion XL",
    layouts=LAYOUTS,
    config_from=config_from,
    facts=facts,
    build=_build,
    tokenizers=_tokenizers,
    encoders=(CLIP_L, CLIP_G),
    encode=_encode,
    network=_network,
    writing=Writing(
        files=folder_files,
        metadata=_metadata,
        markers=lambda config: markers(config.prediction),
    ),
    aliases=("xl", "sd-xl"),
)
