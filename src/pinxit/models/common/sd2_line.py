"""What Stable Diffusion 2 and its relatives (x4 upscaler, unCLIP) share: OpenCLIP-H's text, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from pinxit.models.common.configs import ClipTextConfig
from pinxit.models.common.layouts import (
    CLIP_BARE,
    CLIP_HF,
    CLIP_OPEN,
    FOLDER_DROPS,
    SINGLE_DROPS,
    VAE_FOLDER,
    VAE_SINGLE,
    text_folder,
)
from pinxit.models.common.ldm_family import LdmConfig, clip_tokenizer
from pinxit.models.common.measured import clip_config
from pinxit.models.common.unet_layouts import UNET_AVERAGE, UNET_FOLDER, UNET_SINGLE
from pinxit.models.contract import Networks, Words
from pinxit.prompts.chunks import Tokenizer
from pinxit.sampling.denoiser import Conditioning
from pinxit.weights.identify import Match
from pinxit.weights.layout import Drop, Layout, Part, Place, ShapeFact, SizeFact

HEAD_WIDTH = 64
PAD_ID = 0
TEXT = "text_encoder"
TEXT_LAYER = 23
"""The hidden state that conditions the U-Net: the last but one of 24 layers, the last where a folder keeps only 23."""

TEXT_SINGLE = (
    Place(prefix="cond_stage_model.model.", table=CLIP_OPEN),
    Place(prefix="conditioner.embedders.0.model.", table=CLIP_OPEN),
    Place(prefix="cond_stage_model.transformer.", table=CLIP_HF),
    Place(prefix="cond_stage_model.transformer.", table=CLIP_BARE),
)
LINEAR = SizeFact("unet", "linear", (1,), "linear projections of the attention")
LATENT_OUT = ShapeFact("unet", "out.2.weight", 0, (4,), "output channels")
NO_SIZES = SizeFact("unet", "added", (0,), "size embeddings")
NO_PROJECTION = SizeFact("unet", "projected", (0,), "projected class embeddings")
NO_CLASSES = SizeFact("unet", "classes", (0,), "class embeddings")
LEFT_OUT: Mapping[str, tuple[str, ...]] = {
    TEXT: (f"text_model.encoder.layers.{TEXT_LAYER}.*", "text_projection.weight")
}
"""What a folder does without: nothing of it conditions the U-Net."""


def line_layouts(family: str, facts: tuple[ShapeFact | SizeFact, ...], drop: Drop) -> tuple[Layout, Layout]:
    """The single file and the folder of a family that has a U-Net, a VAE and OpenCLIP's text; `drop` is its own."""
    single = Layout(
        name=family,
        family=family,
        parts=(
            Part(component="unet", places=UNET_SINGLE, required=True),
            Part(component="vae", places=VAE_SINGLE),
            Part(component=TEXT, places=TEXT_SINGLE),
            Part(component="unet_average", places=UNET_AVERAGE, like="unet"),
        ),
        drops=(*SINGLE_DROPS, drop),
        facts=facts,
    )
    folder = Layout(
        name=f"{family}-diffusers",
        family=family,
        parts=(
            Part(component="unet", places=UNET_FOLDER, required=True),
            Part(component="vae", places=VAE_FOLDER),
            Part(component=TEXT, places=text_folder()),
        ),
        drops=FOLDER_DROPS,
        facts=facts,
        folder=True,
    )
    return single, folder


def text_config(match: Match) -> ClipTextConfig | None:
    """The text encoder's configuration; None where the file has none."""
    return clip_config(match, activation="gelu", pad_id=PAD_ID)


def shortened(text: ClipTextConfig | None) -> ClipTextConfig | None:
    """The text encoder as a folder keeps it: up to the layer that conditions the U-Net, and without the projection."""
    return None if text is None else replace(text, layers=min(text.layers, TEXT_LAYER), projection=None)


def tokenizers(config: LdmConfig, match: Match) -> Mapping[str, Tokenizer]:
    """OpenCLIP's way with CLIP's vocabulary: short prompts are filled up with zeros."""
    if config.text_encoder is None:
        return {}
    return {TEXT: clip_tokenizer(match, folder="tokenizer", padding="zero")}


def encode(config: LdmConfig, networks: Networks, words: Words) -> Conditioning:
    """The state after layer 23 (the last but one of 24, the last where only 23 are kept), after the final norm."""
    from pinxit.models.common.clip import ClipText
    from pinxit.models.common.text import encode_words

    layers = config.text_encoder.layers if config.text_encoder else TEXT_LAYER
    text = cast(ClipText, networks[TEXT])
    tokens, _ = encode_words(text, words, TEXT, skip=max(1, layers - TEXT_LAYER + 1), normalise=True)
    return Conditioning(tokens=tokens)
