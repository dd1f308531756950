"""A ControlNet's configuration: the U-Net that it copies, and the layers that read its hint."""

from __future__ import annotations

from dataclasses import dataclass

from pinxit.models.common.configs import UNetConfig
from pinxit.models.common.measured import unet_config
from pinxit.models.kinds import About
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import Match, PartMatch

BASES = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
"""Families by the width of their text."""
SIZED = 2816
"""Width of the added embedding's input in SDXL, which names it where a small ControlNet attends to no text."""
UNION = "task_embedding"
"""Tensors of this name are in ControlNets that follow several sorts of hint at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlNetConfig:
    """One ControlNet. `hint_channels` are the channels that enter each of the hint's convolutions, the picture's first.

    Every second of the convolutions between the first and the last halves the picture.
    """

    about: About
    unet: UNetConfig
    hint_channels: tuple[int, ...]


def config_from(match: Match) -> ControlNetConfig:
    """The configuration of a ControlNet. Raises BadModelFile where its sizes contradict each other."""
    part = match.part("controlnet")
    text = _text_width(part)
    base = BASES.get(text, "")
    if not text and part.sizes.get("added") and part.dim("label_emb.0.0.weight", 1) == SIZED:
        base = "sdxl"
    settings = {"num_heads": 8} if base == "sd1" else {"head_width": 64}
    unet = unet_config(match, component="controlnet", **settings)
    hints, zeros = part.sizes["hints"], part.sizes["zeros"]
    if not isinstance(hints, int) or hints < 2:
        raise BadModelFile("The ControlNet has no layers that read its hint.", hint="Download the file again.")
    skips = sum(unet.num_res_blocks) + len(unet.num_res_blocks)
    if zeros != skips:
        raise BadModelFile(f"The ControlNet answers to {zeros} skips; its way down has {skips}.")
    last = 2 * hints - 2
    if part.dim(f"input_hint_block.{last}.weight", 0) != unet.model_channels:
        raise BadModelFile(f"The hint of the ControlNet ends with other channels than its {unet.model_channels}.")
    union = any(UNION in name for name in match.unexpected)
    told = f"a text {text} wide" if text else "no attention to text"
    copied = f"the way down of a U-Net, with a hint of {part.dim('input_hint_block.0.weight', 1)} channels"
    return ControlNetConfig(
        about=About(
            bases=(base,) if base else (),
            variant="union" if union else "",
            evidence=(copied, told),
        ),
        unet=unet,
        hint_channels=tuple(part.dim(f"input_hint_block.{2 * k}.weight", 1) for k in range(hints)),
    )


def _text_width(part: PartMatch) -> int:
    """Width of the text that the ControlNet attends to; 0 where it has no attention."""
    for name, shape in part.shapes.items():
        if name.endswith(".attn2.to_k.weight") and len(shape) == 2:
            return shape[1]
    return 0
