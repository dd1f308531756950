"""The JSON of a ControlNet's folder, so that other tools can read what we save."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pinxit.models.common.diffusers_json import unet_json
from pinxit.models.controlnet.config import ControlNetConfig

OF_A_UNET = {"center_input_sample", "out_channels", "sample_size", "up_block_types"}
"""Keys that a whole U-Net has, and those that belong to its way up."""


def folder_files(config: ControlNetConfig) -> Mapping[str, object]:
    """config.json."""
    unet = config.unet
    levels = len(unet.channel_mult)
    whole = unet_json(replace(unet, transformer_depth_output=(1,) * levels), sample_size=64)
    kept = {key: value for key, value in whole.items() if key not in OF_A_UNET and "reverse" not in key}
    own: dict[str, object] = {
        "_class_name": "ControlNetModel",
        "conditioning_channels": config.hint_channels[0],
        "conditioning_embedding_out_channels": list(config.hint_channels[1::2]),
        "controlnet_conditioning_channel_order": "rgb",
        "global_pool_conditions": False,
    }
    return {"config.json": {**kept, **own}}
