"""Stable Diffusion 2.x: OpenCLIP's text encoder, noise or velocity, 512 or 768 pixels."""

from __future__ import annotations

from typing import cast

from pinxit.models.common.ldm_family import build_part, clip_tokenizer, facts_of, plain_network
from pinxit.models.contract import Defaults, Facts, Family, LatentSpec, Networks, Words
from pinxit.models.sd2.config import TEXT_LAYER, Sd2Config, config_from
from pinxit.models.sd2.layout import LAYOUTS
from pinxit.prompts.tokenizer import ClipTokenizer
from pinxit.sampling.denoiser import Conditioning
from pinxit.weights.identify import Match

LATENT = LatentSpec(channels=4, downscale=8, scale=0.18215)


def facts(config: Sd2Config) -> Facts:
    side = 768 if config.prediction.kind == "velocity" else 512
    defaults = Defaults(width=side, height=side, steps=20, sampler="dpmpp_2m", schedule=None, guidance=7.0)
    needs = {
        "inpainting": "an inpainting model needs a picture and a mask",
        "depth": "a depth model needs a picture's depth",
    }
    return facts_of(
        config, latent=LATENT, defaults=defaults, text="text_encoder", can_paint=needs.get(config.variant, "")
    )


def _tokenizer(config: Sd2Config, match: Match) -> ClipTokenizer:
    del config
    return clip_tokenizer(match, folder="tokenizer", padding="zero")


def _encode(config: Sd2Config, networks: Networks, words: Words) -> Conditioning:
    """The state after layer 23 (the last but one of 24, the last where only 23 are kept), after the final norm."""
    from pinxit.models.common.clip import ClipText
    from pinxit.models.common.text import encode_words

    layers = config.text_encoder.layers if config.text_encoder else TEXT_LAYER
    text = cast(ClipText, networks["text_encoder"])
    tokens, _ = encode_words(text, words, skip=max(1, layers - TEXT_LAYER + 1), normalise=True)
    return Conditioning(tokens=tokens)


FAMILY = Family(
    name="sd2",
    title="Stable Diffusion 2.x",
    layouts=LAYOUTS,
    config_from=config_from,
    facts=facts,
    build=build_part,
    tokenizer=_tokenizer,
    encoders=("text_encoder",),
    encode=_encode,
    network=plain_network,
)
