"""The files of Stable Diffusion 2.x: one file in the LDM layout, or a diffusers folder."""

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
from pinxit.models.common.sd2_line import LATENT_OUT, LINEAR, NO_CLASSES, NO_PROJECTION, NO_SIZES, TEXT_SINGLE
from pinxit.weights.layout import Drop, Layout, Part, ShapeFact

FACTS = (
    LINEAR,
    ShapeFact("unet", "input_blocks.0.0.weight", 1, (4, 5, 9), "input channels"),
    LATENT_OUT,
    NO_SIZES,
    NO_PROJECTION,
    NO_CLASSES,
)

SINGLE_FILE = Layout(
    name="sd2",
    family="sd2",
    parts=(
        Part(component="unet", places=UNET_SINGLE, required=True),
        Part(component="vae", places=VAE_SINGLE),
        Part(component="text_encoder", places=TEXT_SINGLE),
        Part(component="unet_average", places=UNET_AVERAGE, like="unet"),
    ),
    drops=(*SINGLE_DROPS, Drop("depth_model.*", "belongs to the depth annotator")),
    facts=FACTS,
)

FOLDER = Layout(
    name="sd2-diffusers",
    family="sd2",
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
