"""The files of Stable Diffusion 2.x: one file in the LDM layout, or a diffusers folder."""

from __future__ import annotations

from pinxit.models.common.sd2_line import LATENT_OUT, LINEAR, NO_CLASSES, NO_PROJECTION, NO_SIZES, line_layouts
from pinxit.weights.layout import Drop, ShapeFact

FACTS = (
    LINEAR,
    ShapeFact("unet", "input_blocks.0.0.weight", 1, (4, 5, 9), "input channels"),
    LATENT_OUT,
    NO_SIZES,
    NO_PROJECTION,
    NO_CLASSES,
)

LAYOUTS = line_layouts("sd2", FACTS, Drop("depth_model.*", "belongs to the depth annotator"))
SINGLE_FILE, FOLDER = LAYOUTS
