"""The files of a ControlNet: the original names, with or without their prefix, or diffusers' folder.

Its tensors are those of a U-Net's way down and middle, the layers that read the hint (`hints` of them), and one 1x1
convolution for each of the U-Net's skips (`zeros`) and for its middle.
"""

from __future__ import annotations

from pinxit.models.common.unet_layouts import UNET_ROWS, Extra, Middle, ldm_unet_sizes, unet_sizes
from pinxit.weights.formula import Scope
from pinxit.weights.layout import Drop, Layout, Part, Place, Row, Table, View

WAY_UP = ("output_blocks.", "out.")
NO_WAY_UP: Scope = {"up_blocks": (), "up_first": (), "up_depth": (), "up_has": ()}

ROWS = (
    *(row for row in UNET_ROWS if not row.ours.text.startswith(WAY_UP)),
    Row("input_hint_block.0", "controlnet_cond_embedding.conv_in"),
    Row("input_hint_block.{2+2*k}", "controlnet_cond_embedding.blocks.{k}", k="hints-2"),
    Row("input_hint_block.{2*hints-2}", "controlnet_cond_embedding.conv_out"),
    Row("zero_convs.{k}.0", "controlnet_down_blocks.{k}", k="zeros"),
    Row("middle_block_out.0", "controlnet_mid_block"),
)


def original_sizes(view: View) -> Scope | None:
    """Sizes of a ControlNet in our spelling."""
    unet = ldm_unet_sizes(view)
    if unet is None or not view.has("zero_convs.0"):
        return None
    hints = 0
    while view.has(f"input_hint_block.{2 * hints}"):
        hints += 1
    return {**unet, **NO_WAY_UP, "hints": hints, "zeros": view.count("zero_convs.#")}


def diffusers_sizes(view: View) -> Scope | None:
    """Sizes of a ControlNet in the folder's spelling."""
    levels = view.count("down_blocks.#")
    if not levels or not view.has("controlnet_down_blocks.0"):
        return None
    down = [
        [
            view.count(f"down_blocks.{i}.attentions.{j}.transformer_blocks.#")
            for j in range(view.count(f"down_blocks.{i}.resnets.#"))
        ]
        for i in range(levels)
    ]
    middle = Middle(
        depth=view.count("mid_block.attentions.0.transformer_blocks.#"), blocks=view.count("mid_block.resnets.#")
    )
    extra = Extra(
        added=view.has("add_embedding.linear_1"),
        projected=view.has("class_embedding.linear_1"),
        classes=view.has("class_embedding.weight"),
    )
    sizes = unet_sizes(down=down, up=[], middle=middle, extra=extra)
    hints = 2 + view.count("controlnet_cond_embedding.blocks.#")
    return {**sizes, **NO_WAY_UP, "hints": hints, "zeros": view.count("controlnet_down_blocks.#")}


DIFFUSERS = Table(name="diffusers ControlNet", rows=ROWS, measure=diffusers_sizes, measure_ours=original_sizes)
ORIGINAL = DIFFUSERS.own("original ControlNet")

DROPS = (
    Drop("model.diffusion_model.*", "the U-Net beside the ControlNet"),
    Drop("diffusion_model.*", "the U-Net beside the ControlNet"),
    Drop("first_stage_model.*", "the VAE beside the ControlNet"),
    Drop("cond_stage_model.*", "the text encoder beside the ControlNet"),
)

SINGLE_FILE = Layout(
    name="controlnet",
    family="controlnet",
    parts=(
        Part(
            component="controlnet",
            places=(Place(prefix="control_model.", table=ORIGINAL), Place(prefix="", table=ORIGINAL)),
            required=True,
        ),
    ),
    drops=DROPS,
)

FOLDER = Layout(
    name="controlnet-diffusers",
    family="controlnet",
    parts=(Part(component="controlnet", places=(Place(prefix="", table=DIFFUSERS),), required=True),),
    folder=True,
)

LAYOUTS = (SINGLE_FILE, FOLDER)
