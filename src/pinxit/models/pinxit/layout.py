"""The files of our own model: a diffusers folder (an SDXL pipeline without its first text encoder), or one file."""

from __future__ import annotations

from pinxit.models.common.layouts import CLIP_HF, VAE_FOLDER, VAE_SINGLE, text_folder
from pinxit.models.common.unet_layouts import UNET_FOLDER, UNET_SINGLE
from pinxit.models.common.widths import OWN_TEXT_WIDTHS
from pinxit.weights.layout import Layout, Part, Place, SizeFact

FACTS = (
    SizeFact("unet", "context", OWN_TEXT_WIDTHS, "text width"),
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
