"""The shape facts of the shared networks: what a checkpoint's tensors say, and nothing else. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Depth: TypeAlias = int | tuple[int, ...]
"""Transformer layers in the attention of each of a level's blocks: one number for all of them, or one for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UNetConfig:
    """A latent-diffusion U-Net. Tuples have one entry per level, the largest size first.

    Exactly one of `num_heads` and `head_width` is set. `adm_in_channels` is the width of the added embedding's input
    (sizes and pooled text), `num_classes` the number of integer classes in its place, `guidance_dim` the width of the
    embedded guidance of distilled models. The way up has one block more per level than the way down. In the middle
    stand two residual blocks around an attention; pruned models have one without it, or none.
    """

    in_channels: int
    out_channels: int
    model_channels: int
    channel_mult: tuple[float, ...]
    num_res_blocks: tuple[int, ...]
    transformer_depth: tuple[Depth, ...]
    transformer_depth_middle: int
    transformer_depth_output: tuple[Depth, ...]
    context_dim: int
    num_heads: int | None = None
    head_width: int | None = None
    linear_projections: bool = False
    adm_in_channels: int | None = None
    num_classes: int | None = None
    disable_self_attention: tuple[bool, ...] | None = None
    middle_blocks: int = 2
    guidance_dim: int | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels by level, the largest size first."""
        return tuple(int(mult * self.model_channels) for mult in self.channel_mult)

    @property
    def branches(self) -> int:
        """How many blocks there are on the way down, and on the way up."""
        return len(self.channel_mult) + sum(self.num_res_blocks)

    @property
    def self_attending(self) -> tuple[int, ...]:
        """The levels at which positions attend to each other, the largest size first."""
        crossed = self.disable_self_attention or (False,) * len(self.channel_mult)
        return tuple(
            level
            for level, cross_only in enumerate(crossed)
            if not cross_only and any((*self.depths(level), *self.output_depths(level)))
        )

    def depths(self, level: int) -> tuple[int, ...]:
        """Transformer layers after each residual block of a level, on the way down."""
        return _each(self.transformer_depth[level], self.num_res_blocks[level])

    def output_depths(self, level: int) -> tuple[int, ...]:
        """Transformer layers after each residual block of a level, on the way up."""
        return _each(self.transformer_depth_output[level], self.num_res_blocks[level] + 1)


def _each(depth: Depth, count: int) -> tuple[int, ...]:
    if isinstance(depth, int):
        return (depth,) * count
    if len(depth) != count:
        raise ValueError(f"{depth} gives {len(depth)} depths for {count} blocks")
    return depth


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeConfig:
    """A KL autoencoder of `2 ** (len(channel_mult) - 1)` pixels per latent position.

    `quant` is whether 1x1 convolutions stand between encoder, latent and decoder (SD3's has none).
    """

    in_channels: int = 3
    out_channels: int = 3
    z_channels: int = 4
    channels: int = 128
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    double_z: bool = True
    mid_attention: bool = True
    norm_groups: int = 32
    quant: bool = True


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


@dataclass(frozen=True, slots=True, kw_only=True)
class MmditConfig:
    """A multimodal diffusion transformer (Esser et al. 2024). `positions` is the side of its table of positions.

    `dual` lists the blocks whose pictures attend to themselves once more (SD 3.5 medium); `norm` is whether queries
    and keys are normalised (SD 3.5). Widths: `context` of the token vectors, `pooled` of the pooled text.
    """

    in_channels: int = 16
    out_channels: int = 16
    patch: int = 2
    width: int = 1536
    depth: int = 24
    heads: int = 24
    intermediate: int = 6144
    positions: int = 192
    context: int = 4096
    pooled: int = 2048
    norm: bool = False
    dual: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class T5Config:
    """The encoder of a T5 (Raffel et al. 2020, version 1.1: gated GELU). `inner` is the width of all heads together.

    `buckets` and `distance` say how finely positions are told apart, and from where on they are not.
    """

    vocab_size: int = 32128
    width: int = 4096
    intermediate: int = 10240
    layers: int = 24
    heads: int = 64
    inner: int = 4096
    buckets: int = 32
    distance: int = 128
