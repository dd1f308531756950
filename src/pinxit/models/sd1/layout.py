"""The files of Stable Diffusion 1.x: one file in the LDM layout, or a diffusers folder."""

from __future__ import annotations

from pinxit.models.common.layouts import (
    CLIP_BARE,
    CLIP_HF,
    FOLDER_DROPS,
    SINGLE_DROPS,
    UNET_AVERAGE,
    UNET_FOLDER,
    UNET_SINGLE,
    VAE_FOLDER,
    VAE_SINGLE,
    text_folder,
)
from pinxit.weights.layout import Layout, Part, Place, ShapeFact, SizeFact

FACTS = (
    ShapeFact("unet", "middle_block.1.proj_in.weight", None, (4,), "axes of the attention's projection"),
    ShapeFact("unet", "input_blocks.0.0.weight", 1, (4, 8, 9), "input channels"),
    ShapeFact("unet", "out.2.weight", 0, (4,), "output channels"),
    SizeFact("unet", "added", (0,), "size embeddings"),
    SizeFact("unet", "projected", (0,), "projected class embeddings"),
    SizeFact("unet", "classes", (0,), "class embeddings"),
)

SINGLE_FILE = Layout(
    name="sd1",
    family="sd1",
    parts=(
        Part(component="unet", places=UNET_SINGLE, required=True),
        Part(component="vae", places=VAE_SINGLE),
        Part(
            component="text_encoder",
            places=(
                Place(prefix="cond_stage_model.transformer.", table=CLIP_HF),
                Place(prefix="cond_stage_model.transformer.", table=CLIP_BARE),
            ),
        ),
        Part(component="unet_average", places=UNET_AVERAGE, like="unet"),
    ),
    drops=SINGLE_DROPS,
    facts=FACTS,
)

FOLDER = Layout(
    name="sd1-diffusers",
    family="sd1",
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
