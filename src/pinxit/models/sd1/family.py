"""Stable Diffusion 1.x (Rombach et al. 2022)."""

from __future__ import annotations

from typing import cast

from pinxit.models.common.ldm_family import build_part, clip_tokenizer, facts_of, plain_network
from pinxit.models.contract import Defaults, Facts, Family, LatentSpec, Networks, Words
from pinxit.models.sd1.config import Sd1Config, config_from
from pinxit.models.sd1.layout import LAYOUTS
from pinxit.prompts.tokenizer import ClipTokenizer
from pinxit.sampling.denoiser import Conditioning
from pinxit.weights.identify import Match

LATENT = LatentSpec(channels=4, downscale=8, scale=0.18215)
DEFAULTS = Defaults(width=512, height=512, steps=20, sampler="dpmpp_2m", schedule=None, guidance=7.0)


def facts(config: Sd1Config) -> Facts:
    """The latent's sizes are the VAE's: z channels, and two pixels per level but the first."""
    needs = {"inpainting": "an inpainting model needs a picture and a mask", "instruct": "it edits a given picture"}
    return facts_of(
        config, latent=LATENT, defaults=DEFAULTS, text="text_encoder", can_paint=needs.get(config.variant, "")
    )


def _tokenizer(config: Sd1Config, match: Match) -> ClipTokenizer:
    del config
    return clip_tokenizer(match, folder="tokenizer", padding="eos")


def _encode(config: Sd1Config, networks: Networks, words: Words) -> Conditioning:
    """The last state after the final norm; with clip-skip an earlier one, normed as well."""
    from pinxit.models.common.clip import ClipText
    from pinxit.models.common.text import encode_words

    del config
    tokens, _ = encode_words(cast(ClipText, networks["text_encoder"]), words, skip=1, normalise=True)
    return Conditioning(tokens=tokens)


FAMILY = Family(
    name="sd1",
    title="Stable Diffusion 1.x",
    layouts=LAYOUTS,
    config_from=config_from,
    facts=facts,
    build=build_part,
    tokenizer=_tokenizer,
    encoders=("text_encoder",),
    encode=_encode,
    network=plain_network,
)
