"""The files of Stable Diffusion XL and of its refiner: one file in the SGM layout, or a diffusers folder."""

from __future__ import annotations

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
from pinxit.models.common.unet_layouts import UNET_AVERAGE, UNET_FOLDER, UNET_SINGLE
from pinxit.models.common.widths import OWN_TEXT_WIDTHS
from pinxit.weights.layout import Drop, Layout, Part, Place, ShapeFact, SizeFact

CLIP_L, CLIP_G = "text_encoder", "text_encoder_2"
REFINER_LEVELS = 4
"""Levels of the refiner's U-Net; those of the base and of its pruned relatives have three."""

_COMMON = (
    ShapeFact("unet", "input_blocks.0.0.weight", 1, (4, 8, 9), "input channels"),
    ShapeFact("unet", "out.2.weight", 0, (4,), "output channels"),
    SizeFact("unet", "added", (1,), "size embeddings"),
    SizeFact("unet", "projected", (0,), "projected class embeddings"),
    SizeFact("unet", "classes", (0,), "class embeddings"),
    SizeFact("unet", "outer", (0,), "attention at the largest size"),
    SizeFact("unet", "context", (), "text width", refused=OWN_TEXT_WIDTHS),
)
BASE_FACTS = (*_COMMON, SizeFact("unet", "blocks", (3,), "levels"))
REFINER_FACTS = (*_COMMON, SizeFact("unet", "blocks", (REFINER_LEVELS,), "levels"))
_DROPS = (
    *SINGLE_DROPS,
    Drop("edm_mean", "marker: read for the latents' mean"),
    Drop("edm_std", "marker: read for the latents' spread"),
    Drop("edm_vpred.sigma_*", "marker: read for the noise levels"),
)

BASE_FILE = Layout(
    name="sdxl",
    family="sdxl",
    parts=(
        Part(component="unet", places=UNET_SINGLE, required=True),
        Part(component="vae", places=VAE_SINGLE),
        Part(
            component=CLIP_L,
            places=(
                Place(prefix="conditioner.embedders.0.transformer.", table=CLIP_HF),
                Place(prefix="conditioner.embedders.0.transformer.", table=CLIP_BARE),
            ),
        ),
        Part(
            component=CLIP_G,
            places=(
                Place(prefix="conditioner.embedders.1.model.", table=CLIP_OPEN),
                Place(prefix="conditioner.embedders.1.transformer.", table=CLIP_HF),
            ),
        ),
        Part(component="unet_average", places=UNET_AVERAGE, like="unet"),
    ),
    drops=_DROPS,
    facts=BASE_FACTS,
)

REFINER_FILE = Layout(
    name="sdxl-refiner",
    family="sdxl",
    parts=(
        Part(component="unet", places=UNET_SINGLE, required=True),
        Part(component="vae", places=VAE_SINGLE),
        Part(component=CLIP_G, places=(Place(prefix="conditioner.embedders.0.model.", table=CLIP_OPEN),)),
        Part(component="unet_average", places=UNET_AVERAGE, like="unet"),
    ),
    drops=_DROPS,
    facts=REFINER_FACTS,
)

FOLDER = Layout(
    name="sdxl-diffusers",
    family="sdxl",
    parts=(
        Part(component="unet", places=UNET_FOLDER, required=True),
        Part(component="vae", places=VAE_FOLDER),
        Part(component=CLIP_L, places=text_folder(CLIP_L)),
        Part(component=CLIP_G, places=text_folder(CLIP_G)),
    ),
    drops=FOLDER_DROPS,
    facts=(*_COMMON, SizeFact("unet", "blocks", (3, REFINER_LEVELS), "levels")),
    folder=True,
)

LAYOUTS = (BASE_FILE, REFINER_FILE, FOLDER)
