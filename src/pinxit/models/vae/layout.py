"""The files of a VAE by itself: the original names, with or without their prefix, or a folder's part."""

from __future__ import annotations

from pinxit.models.common.layouts import VAE_DIFFUSERS, VAE_DIFFUSERS_OLD, VAE_LDM
from pinxit.weights.layout import Drop, Layout, Part, Place

DROPS = (
    Drop("loss.*", "network of the training's loss"),
    Drop("first_stage_model.loss.*", "network of the training's loss"),
    Drop("model_ema.*", "average of the training, beside the weights"),
)

SINGLE_FILE = Layout(
    name="vae",
    family="vae",
    parts=(
        Part(
            component="vae",
            places=(
                Place(prefix="", table=VAE_LDM),
                Place(prefix="first_stage_model.", table=VAE_LDM),
                Place(prefix="vae.", table=VAE_LDM),
            ),
            required=True,
        ),
    ),
    drops=DROPS,
)

FOLDER = Layout(
    name="vae-diffusers",
    family="vae",
    parts=(
        Part(
            component="vae",
            places=(Place(prefix="", table=VAE_DIFFUSERS), Place(prefix="", table=VAE_DIFFUSERS_OLD)),
            required=True,
        ),
    ),
    drops=DROPS,
    folder=True,
)

LAYOUTS = (SINGLE_FILE, FOLDER)
