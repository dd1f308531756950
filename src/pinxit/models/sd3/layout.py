"""The files of Stable Diffusion 3 and 3.5: one file, with text encoders or without, or a diffusers folder."""

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
from pinxit.models.common.transformer_layouts import T5, T5_DROPS, TRANSFORMER_FOLDER, TRANSFORMER_SINGLE, t5_folder
from pinxit.weights.layout import Layout, Part, Place, ShapeFact, SizeFact

TRANSFORMER = "transformer"
CLIP_L, CLIP_G, T5_XXL = "text_encoder", "text_encoder_2", "text_encoder_3"

FACTS = (
    ShapeFact(TRANSFORMER, "x_embedder.proj.weight", 1, (16,), "latent channels"),
    SizeFact("vae", "quant", (0,), "convolutions beside the latent"),
)


def _clip(name: str) -> tuple[Place, ...]:
    prefix = f"text_encoders.{name}.transformer."
    return Place(prefix=prefix, table=CLIP_HF), Place(prefix=prefix, table=CLIP_BARE)


SINGLE_FILE = Layout(
    name="sd3",
    family="sd3",
    parts=(
        Part(component=TRANSFORMER, places=TRANSFORMER_SINGLE, required=True),
        Part(component="vae", places=VAE_SINGLE),
        Part(component=CLIP_L, places=_clip("clip_l")),
        Part(component=CLIP_G, places=_clip("clip_g")),
        Part(component=T5_XXL, places=(Place(prefix="text_encoders.t5xxl.transformer.", table=T5),)),
    ),
    drops=(*SINGLE_DROPS, *T5_DROPS),
    facts=FACTS,
)

FOLDER = Layout(
    name="sd3-diffusers",
    family="sd3",
    parts=(
        Part(component=TRANSFORMER, places=TRANSFORMER_FOLDER, required=True),
        Part(component="vae", places=VAE_FOLDER),
        Part(component=CLIP_L, places=text_folder(CLIP_L)),
        Part(component=CLIP_G, places=text_folder(CLIP_G)),
        Part(component=T5_XXL, places=t5_folder(T5_XXL)),
    ),
    drops=(*FOLDER_DROPS, *T5_DROPS),
    facts=FACTS,
    folder=True,
)

LAYOUTS = (SINGLE_FILE, FOLDER)
