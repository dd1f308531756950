"""The files of Stable Diffusion's x4 upscaler: one file in the LDM layout, or a diffusers folder."""

from __future__ import annotations

from pinxit.models.common.layouts import (
    FOLDER_DROPS,
    SINGLE_DROPS,
    UNET_AVERAGE,
    UNET_FOLDER,
    UNET_SINGLE,
    VAE_FOLDER,
    VAE_SINGLE,
    text_folder,
)
from pinxit.models.common.sd2_line import LATENT_OUT, LINEAR, NO_PROJECTION, NO_SIZES, TEXT_SINGLE
from pinxit.weights.layout import Drop, Layout, Part, ShapeFact, SizeFact

FACTS = (
    LINEAR,
    ShapeFact("unet", "input_blocks.0.0.weight", 1, (7,), "input channels"),
    LATENT_OUT,
    SizeFact("unet", "classes", (1,), "class embeddings"),
    NO_SIZES,
    NO_PROJECTION,
)

SINGLE_FILE = Layout(
    name="upscale4",
    family="upscale4",
    parts=(
        Part(component="unet", places=UNET_SINGLE, required=True),
        Part(component="vae", places=VAE_SINGLE),
        Part(component="text_encoder", places=TEXT_SINGLE),
        Part(component="unet_average", places=UNET_AVERAGE, like="unet"),
    ),
    drops=(*SINGLE_DROPS, Drop("low_scale_model.*", "noise schedule of the small picture: computed")),
    facts=FACTS,
)

FOLDER = Layout(
    name="upscale4-diffusers",
    family="upscale4",
    parts=(
        Part(component="unet", places=UNET_FOLDER, required=True),
        Part(component="vae", places=VAE_FOLDER),
        Part(component="text_encoder", places=text_folder()),
    ),
    drops=FOLDER_DROPS,
    facts=FACTS,
    folder=True,
)

LAYOUTS = (SINGLE_FILE, FOLDER)
