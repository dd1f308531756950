"""The files of Stable Diffusion's x4 upscaler: one file in the LDM layout, or a diffusers folder."""

from __future__ import annotations

from pinxit.models.common.sd2_line import LATENT_OUT, LINEAR, NO_PROJECTION, NO_SIZES, line_layouts
from pinxit.weights.layout import Drop, ShapeFact, SizeFact

FACTS = (
    LINEAR,
    ShapeFact("unet", "input_blocks.0.0.weight", 1, (7,), "input channels"),
    LATENT_OUT,
    SizeFact("unet", "classes", (1,), "class embeddings"),
    NO_SIZES,
    NO_PROJECTION,
)

LAYOUTS = line_layouts("upscale4", FACTS, Drop("low_scale_model.*", "noise schedule of the small picture: computed"))
SINGLE_FILE, FOLDER = LAYOUTS
