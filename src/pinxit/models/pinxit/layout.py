"""The files of our own model: a diffusers folder (an SDXL pipeline without its first text encoder), or one file."""

from __future__ import annotations

from pinxit.models.common.layouts import CLIP_HF, UNET_FOLDER, UNET_SINGLE, VAE_FOLDER, VAE_SINGLE, text_folder
from pinxit.weights.layout import Layout, Part, Place, ShapeFact, SizeFact

CONTEXT_WIDTHS = (32, 192, 256, 320)
"""Widths of our text encoders, none of which another family has: tests, the CPU variant, and the full model."""

FACTS = (
    ShapeFact("unet", "middle_block.1.transformer_blocks.0.attn2.to_k.weight", 1, CONTEXT_WIDTHS, "text width"),
    SizeFact("unet", "added", (1,), "size embeddings"),
)

SINGLE_FILE = Layout(
    name="pinxit",
    family="pinxit",
    parts=(
        Part(component="unet", places=UNET_SINGLE, required=True),
        Part(component="vae", places=VAE_SINGLE),
        Part(component="text_encoder_2", places=(Place(prefix="conditioner.embedders.0.transformer.", table=CLIP_HF),)),
    ),
    facts=FACTS,
)

FOLDER = Layout(
    name="pinxit-diffusers",
    family="pinxit",
    parts=(
        Part(component="unet", places=UNET_FOLDER, required=True),
        Part(component="vae", places=VAE_FOLDER),
        Part(component="text_encoder_2", places=text_folder("text_encoder_2")),
    ),
    facts=FACTS,
    folder=True,
)

LAYOUTS = (SINGLE_FILE, FOLDER)
