"""The weight rule of the golden tiny models: every tensor is a function of its name and shape."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pinxit.models.common.configs import UNetConfig

TOLERANCE = 1e-5


def det_weight(key: str, shape: Sequence[int]) -> Tensor:
    values = np.random.RandomState(zlib.crc32(key.encode("utf-8"))).standard_normal(tuple(shape))
    if len(shape) >= 2:
        values = values / np.sqrt(np.prod(shape[1:]))
    elif len(shape) == 1:
        values = 1 + 0.1 * values if key.endswith("weight") else 0.05 * values
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def filled(network: nn.Module, keys: Mapping[str, Sequence[int]]) -> nn.Module:
    """Give `network` the golden weights; every key must be there, and no other."""
    network.load_state_dict({key: det_weight(key, shape) for key, shape in keys.items()}, strict=True, assign=True)
    return network.eval()


def cases(arrays: Mapping[str, np.ndarray]) -> list[str]:
    return sorted({name.split("/")[0] for name in arrays})


def unet_config(ldm: Mapping[str, Any]) -> UNetConfig:
    """Our configuration for one in the spelling of the original repositories."""
    mult = tuple(ldm["channel_mult"])
    depth = ldm.get("transformer_depth", 1)
    depths = depth if isinstance(depth, list) else [depth] * len(mult)
    levels = tuple(
        d if 2**level in ldm["attention_resolutions"] else 0 for level, d in zip(range(len(mult)), depths, strict=True)
    )
    context = ldm["context_dim"]
    classes = ldm.get("num_classes")
    return UNetConfig(
        in_channels=ldm["in_channels"],
        out_channels=ldm["out_channels"],
        model_channels=ldm["model_channels"],
        channel_mult=mult,
        num_res_blocks=(ldm["num_res_blocks"],) * len(mult),
        transformer_depth=levels,
        transformer_depth_middle=depths[-1],
        transformer_depth_output=levels,
        context_dim=context[0] if isinstance(context, list) else context,
        num_heads=ldm.get("num_heads"),
        head_width=ldm.get("num_head_channels"),
        linear_projections=ldm.get("use_linear_in_transformer", False),
        adm_in_channels=ldm.get("adm_in_channels"),
        num_classes=classes if isinstance(classes, int) else None,
        disable_self_attention=tuple(ldm["disable_self_attentions"]) if "disable_self_attentions" in ldm else None,
    )
