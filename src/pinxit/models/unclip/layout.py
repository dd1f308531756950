"""The files of Stable Diffusion 2.1 unCLIP: one file in the LDM layout, or a diffusers folder."""

from __future__ import annotations

from dataclasses import replace

from pinxit.models.common.layouts import FOLDER_DROPS, SINGLE_DROPS, VAE_FOLDER, VAE_SINGLE, text_folder
from pinxit.models.common.sd2_line import LATENT_OUT, LINEAR, NO_CLASSES, TEXT_SINGLE
from pinxit.models.common.unet_layouts import (
    UNET_AVERAGE,
    UNET_DIFFUSERS,
    UNET_FOLDER,
    UNET_LDM,
    UNET_SINGLE,
    ldm_unet_sizes,
)
from pinxit.models.common.vision import VISION_OPEN, vision_folder
from pinxit.weights.formula import Scope
from pinxit.weights.layout import WHOLE, Drop, Layout, Leaf, Part, Place, Row, ShapeFact, SizeFact, Table, View


def projected_unet_sizes(view: View) -> Scope | None:
    """Sizes of a U-Net in our spelling whose class embedding is a projected vector, not sizes and pooled text."""
    sizes = ldm_unet_sizes(view)
    return None if sizes is None else {**sizes, "added": 0, "projected": sizes["added"]}


UNET_PROJECTED = replace(UNET_DIFFUSERS, name="diffusers U-Net of unCLIP", measure_ours=projected_unet_sizes)
UNET_PROJECTED_LDM = UNET_PROJECTED.own("LDM U-Net of unCLIP")


PLAIN = tuple(place for place in UNET_SINGLE if place.table in (UNET_LDM, UNET_DIFFUSERS))


def _projected(place: Place) -> Place:
    """The same place with the table of such a U-Net."""
    return replace(place, table=UNET_PROJECTED_LDM if place.table is UNET_LDM else UNET_PROJECTED)


def normalizer_sizes(view: View) -> Scope | None:
    """The normaliser has no axes: it is there or not, in a folder's spelling and in ours."""
    return {} if view.has("mean") and view.has("std") else None


def augmentor_sizes(view: View) -> Scope | None:
    """The same in a single file's spelling."""
    return {} if view.has("data_mean") and view.has("data_std") else None


NORMALIZER_DATA = Table(
    name="statistics of image embeddings",
    rows=(Row("", "", (Leaf("mean", "data_mean", WHOLE), Leaf("std", "data_std", WHOLE))),),
    measure=augmentor_sizes,
    measure_ours=normalizer_sizes,
)
NORMALIZER = NORMALIZER_DATA.own("image normalizer")

FACTS = (
    LINEAR,
    ShapeFact("unet", "input_blocks.0.0.weight", 1, (4,), "input channels"),
    LATENT_OUT,
    SizeFact("unet", "outer", (1,), "attention at the largest size"),
    SizeFact("unet", "projected", (1,), "projected class embeddings"),
    NO_CLASSES,
)
"""SDXL and its refiner are told a vector, too, but have no attention at their largest size."""

SINGLE_FILE = Layout(
    name="unclip",
    family="unclip",
    parts=(
        Part(component="unet", places=tuple(map(_projected, PLAIN)), required=True),
        Part(component="vae", places=VAE_SINGLE),
        Part(component="text_encoder", places=TEXT_SINGLE),
        Part(component="image_encoder", places=(Place(prefix="embedder.model.visual.", table=VISION_OPEN),)),
        Part(component="image_normalizer", places=(Place(prefix="noise_augmentor.", table=NORMALIZER_DATA),)),
        Part(
            component="unet_average",
            places=tuple(_projected(place) for place in UNET_AVERAGE),
            like="unet",
        ),
    ),
    drops=(
        *SINGLE_DROPS,
        Drop("embedder.model.*", "text half of the image encoder's CLIP"),
        Drop("embedder.mean", "how pictures are prepared: the same for every CLIP"),
        Drop("embedder.std", "how pictures are prepared: the same for every CLIP"),
        Drop("noise_augmentor.*", "noise schedule of the augmentation: computed"),
    ),
    facts=FACTS,
)

FOLDER = Layout(
    name="unclip-diffusers",
    family="unclip",
    parts=(
        Part(component="unet", places=tuple(_projected(place) for place in UNET_FOLDER), required=True),
        Part(component="vae", places=VAE_FOLDER),
        Part(component="text_encoder", places=text_folder()),
        Part(component="image_encoder", places=vision_folder()),
        Part(component="image_normalizer", places=(Place(prefix="image_normalizer/", table=NORMALIZER),)),
    ),
    drops=(*FOLDER_DROPS, Drop("prior*", "makes image embeddings of words; not part of painting")),
    facts=FACTS,
    folder=True,
)

LAYOUTS = (SINGLE_FILE, FOLDER)
