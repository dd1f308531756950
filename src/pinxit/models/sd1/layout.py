"""The files of Stable Diffusion 1.x: one file in the LDM layout, or a diffusers folder."""

from __future__ import annotations

from pinxit.models.common.layouts import (
    CLIP_BARE,
    CLIP_HF,
    FOLDER_DROPS,
    SINGLE_DROPS,
    VAE_FOLDER,
    VAE_SINGLE,
    text_folder,
)
from pinxit.models.common.unet_layouts import UNET_AVERAGE, UNET_FOLDER, UNET_SINGLE
from pinxit.models.common.vision import VISION_OPEN, vision_folder
from pinxit.weights.layout import Drop, Layout, Part, Place, ShapeFact, SizeFact

FACTS = (
    SizeFact("unet", "linear", (0,), "linear projections of the attention"),
    ShapeFact("unet", "input_blocks.0.0.weight", 1, (4, 8, 9), "input channels"),
    ShapeFact("unet", "out.2.weight", 0, (4,), "output channels"),
    SizeFact("unet", "added", (0,), "size embeddings"),
    SizeFact("unet", "projected", (0,), "projected class embeddings"),
    SizeFact("unet", "classes", (0,), "class embeddings"),
)
TEXT_HALF = ("positional_embedding", "text_projection", "token_embedding.weight", "ln_final.*", "transformer.*")

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
                Place(prefix="conditioner.embedders.0.transformer.", table=CLIP_HF),
            ),
        ),
        Part(component="image_encoder", places=(Place(prefix="cond_stage_model.model.visual.", table=VISION_OPEN),)),
        Part(component="unet_average", places=UNET_AVERAGE, like="unet"),
    ),
    drops=(
        *SINGLE_DROPS,
        *(Drop(f"cond_stage_model.model.{name}", "text half of the image encoder's CLIP") for name in TEXT_HALF),
        Drop("cond_stage_model.mean", "how pictures are prepared: the same for every CLIP"),
        Drop("cond_stage_model.std", "how pictures are prepared: the same for every CLIP"),
    ),
    facts=FACTS,
)

FOLDER = Layout(
    name="sd1-diffusers",
    family="sd1",
    parts=(
        Part(component="unet", places=UNET_FOLDER, required=True),
        Part(component="vae", places=VAE_FOLDER),
        Part(component="text_encoder", places=text_folder()),
        Part(component="image_encoder", places=vision_folder()),
    ),
    drops=FOLDER_DROPS,
    facts=FACTS,
    folder=True,
)

LAYOUTS = (SINGLE_FILE, FOLDER)
