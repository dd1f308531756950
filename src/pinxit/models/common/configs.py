"""The shape facts of the shared networks: what a checkpoint's tensors say, and nothing else. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class UNetConfig:
    """A latent-diffusion U-Net. Tuples have one entry per level, the largest size first.

    Exactly one of `num_heads` and `head_width` is set. `adm_in_channels` is the width of the added embedding's input
    (sizes and pooled text), `num_classes` the number of integer classes in its place.
    """

    in_channels: int
    out_channels: int
    model_channels: int
    channel_mult: tuple[int, ...]
    num_res_blocks: tuple[int, ...]
    transformer_depth: tuple[int, ...]
    transformer_depth_middle: int
    transformer_depth_output: tuple[int, ...]
    context_dim: int
    num_heads: int | None = None
    head_width: int | None = None
    linear_projections: bool = False
    adm_in_channels: int | None = None
    num_classes: int | None = None
    disable_self_attention: tuple[bool, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeConfig:
    """A KL autoencoder of `2 ** (len(channel_mult) - 1)` pixels per latent position."""

    in_channels: int = 3
    out_channels: int = 3
    z_channels: int = 4
    channels: int = 128
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    double_z: bool = True
    mid_attention: bool = True
    norm_groups: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipTextConfig:
    """A CLIP text transformer. `projection` is the width of the pooled projection, None where there is none."""

    vocab_size: int = 49408
    width: int = 768
    intermediate: int = 3072
    layers: int = 12
    heads: int = 12
    positions: int = 77
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
    projection: int | None = None
    bos_id: int = 49406
    eos_id: int = 49407
    pad_id: int = 49407
