"""Stable Diffusion 1.x (Rombach et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from pinxit.models.common.conditioned import conditioned_network
from pinxit.models.common.folder import markers
from pinxit.models.common.ldm_family import build_part, clip_tokenizer, facts_of
from pinxit.models.contract import Defaults, Facts, Family, LatentSpec, Networks, Words, Writing
from pinxit.models.sd1.config import IMAGE, Sd1Config, config_from
from pinxit.models.sd1.folder import folder_files
from pinxit.models.sd1.layout import LAYOUTS
from pinxit.prompts.chunks import Tokenizer
from pinxit.sampling.denoiser import Conditioning
from pinxit.weights.identify import Match

if TYPE_CHECKING:
    from torch import nn

TEXT = "text_encoder"
LATENT = LatentSpec(channels=4, downscale=8, scale=0.18215)
DEFAULTS = Defaults(width=512, height=512, steps=20, sampler="dpmpp_2m", schedule=None, guidance=7.0)


def facts(config: Sd1Config) -> Facts:
    """The latent's sizes are the VAE's: z channels, and two pixels per level but the first."""
    needs = {
        "inpainting": "an inpainting model needs a picture and a mask",
        "instruct": "it edits a given picture",
        "variations": "it varies a given picture, and reads no text",
    }
    found = facts_of(
        config,
        latent=LATENT,
        defaults=DEFAULTS,
        text=TEXT,
        can_paint=needs.get(config.variant, ""),
        distilled=config.distilled,
    )
    if config.image_encoder is None:
        return found
    absent = tuple(name for name in found.absent if name != TEXT)
    return replace(found, components=(*found.components, IMAGE), absent=absent)


def build(config: Sd1Config, component: str) -> nn.Module:
    """The network of one component, without weights."""
    if component == IMAGE and config.image_encoder is not None:
        from pinxit.models.common.clip_vision import ClipVision

        return ClipVision(config.image_encoder)
    return build_part(config, component)


def _tokenizers(config: Sd1Config, match: Match) -> Mapping[str, Tokenizer]:
    if config.text_encoder is None:
        return {}
    return {TEXT: clip_tokenizer(match, folder="tokenizer", padding="eos")}


def _encode(config: Sd1Config, networks: Networks, words: Words) -> Conditioning:
    """The last state after the final norm; with clip-skip an earlier one, normed as well."""
    from pinxit.models.common.clip import ClipText
    from pinxit.models.common.text import encode_words

    del config
    tokens, _ = encode_words(cast(ClipText, networks[TEXT]), words, TEXT, skip=1, normalise=True)
    return Conditioning(tokens=tokens)


FAMILY = Family(
    name="sd1",
    title="Stable Diffusion 1.x",
    layouts=LAYOUTS,
    config_from=config_from,
    facts=facts,
    build=build,
    tokenizers=_tokenizers,
    encoders=(TEXT,),
    encode=_encode,
    network=conditioned_network,
    writing=Writing(
        files=lambda config: folder_files(config, LATENT), markers=lambda config: markers(config.prediction)
    ),
)
