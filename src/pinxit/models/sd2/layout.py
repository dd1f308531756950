"""The files of Stable Diffusion 2.x: one file in the LDM layout, or a diffusers folder."""

from __future__ import annotations

from pinxit.models.common.layouts import (
    CLIP_HF,
    CLIP_OPEN,
    FOLDER_DROPS,
    SINGLE_DROPS,
    UNET_AVERAGE,
    UNET_FOLDER,
    UNET_SINGLE,
    VAE_FOLDER,
    VAE_SINGLE,
    text_folder,
)
from pinxit.weights.layout import Drop, Layout, Part, Place, ShapeFact, SizeFact

FACTS = (
    ShapeFact("unet", "middle_block.1.proj_in.weight", None, (2,), "axes of the attention's projection"),
    ShapeFact("unet", "input_blocks.0.0.weight", 1, (4, 5, 9), "input channels"),
    ShapeFact("unet", "out.2.weight", 0, (4,), "output channels"),
    SizeFact("unet", "added", (0,), "size embeddings"),
    SizeFact("unet", "projected", (0,), "projected class embeddings"),
    SizeFact("unet", "classes", (0,), "class embeddings"),
)

SINGLE_FILE = Layout(
    name="sd2",
    family="sd2",
    parts=(
        Part(component="unet", places=UNET_SINGLE, required=True),
        Part(component="vae", places=VAE_SINGLE),
        Part(
            component="text_encoder",
            places=(
                Place(prefix="cond_stage_model.model.", table=CLIP_OPEN),
                Place(prefix="conditioner.embedders.0.model.", table=CLIP_OPEN),
                Place(prefix="cond_stage_model.transformer.", table=CLIP_HF),
            ),
        ),
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
