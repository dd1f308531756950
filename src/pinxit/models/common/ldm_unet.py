"""The U-Net of latent diffusion (Rombach et al. 2022), with every switch that SD 1.x, 2.x, SDXL and its refiner use.

```
x [B,Cin,H,W]                                                    t [B] -> time_embed -> (+ label_emb(y)) = emb
 |
 input_blocks.0           3x3 convolution                                            --.
 input_blocks.k           level 0: (ResBlock [+ SpatialTransformer]) x n, Downsample  --|-- each output is kept
 ...                      level 1 ...                                                 --|   as a skip
 middle_block             ResBlock, SpatialTransformer, ResBlock                        |
 output_blocks.k          the levels backwards: concat skip, ResBlock [+ SpatialTransformer] [+ Upsample]
 out                      GroupNorm, SiLU, 3x3 convolution -> [B,Cout,H,W]
```
Module names are those of the reference repositories, so a single-file checkpoint loads by dropping its prefix.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from pinxit.models.common.configs import UNetConfig
from pinxit.models.common.transformer import SpatialTransformer
from pinxit.nn import Conv2d, Embedding, GroupNorm, Linear, enlarge, sinusoidal
from pinxit.sampling.shortcuts import Merging, Shortcut


class ResBlock(nn.Module):
    """Two 3x3 convolutions around an added embedding, with a residual path. [B,C,H,W] -> [B,out,H,W]."""

    def __init__(self, channels: int, emb_width: int, out_channels: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(GroupNorm(channels), nn.SiLU(), Conv2d(channels, out_channels, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), Linear(emb_width, out_channels))
        self.out_layers = nn.Sequential(
            GroupNorm(out_channels), nn.SiLU(), nn.Dropout(dropout), Conv2d(out_channels, out_channels, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if channels == out_channels else Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        norm, _, conv = cast("tuple[GroupNorm, nn.Module, Conv2d]", self.in_layers)
        h = conv(norm.silu(x)) + self.emb_layers(emb)[:, :, None, None]
        norm, _, dropout, conv = cast("tuple[GroupNorm, nn.Module, nn.Module, Conv2d]", self.out_layers)
        return self.skip_connection(x) + conv(dropout(norm.silu(h)))


class Downsample(nn.Module):
    """Halve height and width with a strided 3x3 convolution; odd sizes round up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """Enlarge to the next skip's size (nearest neighbour; twice, or one less for odd sizes), then convolve."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        return enlarge(x, size, self.conv)


class UNet(nn.Module):
    """Predict noise, velocity or flow from a noisy latent.

    The input height and width may be any positive size: odd ones are enlarged back to the skip's size.
    """

    exact_parts = ("time_embed", "label_emb", "emb_layers", "skip_connection", "input_blocks.0", "out")

    def __init__(self, config: UNetConfig, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        width = config.model_channels
        emb = 4 * width
        self.time_embed = TimeEmbed(width, config.guidance_dim)
        self.label_emb = label_embedding(config)
        self.dropout = dropout
        self.input_blocks, skips = input_blocks(config, dropout=dropout)
        self.middle_block = middle_block(config, skips[-1], dropout=dropout)
        self._add_output_blocks(skips, emb)
        self.out = nn.Sequential(GroupNorm(width), nn.SiLU(), Conv2d(width, config.out_channels, 3, padding=1))

    def _add_output_blocks(self, skips: list[int], emb: int) -> None:
        config = self.config
        channels = skips[-1]
        waiting = list(skips)
        blocks: list[nn.Module] = []
        for level in reversed(range(len(config.channel_mult))):
            depths = config.output_depths(level)
            for index, depth in enumerate(depths):
                out = config.widths[level]
                block: list[nn.Module] = [ResBlock(channels + waiting.pop(), emb, out, dropout=self.dropout)]
                channels = out
                if depth:
                    block.append(_transformer(config, channels, level, depth))
                if level and index == len(depths) - 1:
                    block.append(Upsample(channels))
                blocks.append(nn.ModuleList(block))
        self.output_blocks = nn.ModuleList(blocks)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor,
        y: Tensor | None = None,
        *,
        guidance: Tensor | None = None,
        shortcut: Shortcut | None = None,
    ) -> Tensor:
        """Predict from `x` [B,Cin,H,W], timesteps `t` [B] (fractions allowed), text `context` [B,S,context_dim].

        `y` is the added embedding's input, [B,adm_in_channels], or class numbers [B], where the model has one.
        `guidance` is the scale [B] that a distilled model is told; 1 where it is left out. A `shortcut` may have a
        memory, in which everything within the outermost blocks stays for later calls, and merge tokens.
        """
        dtype = cast(Conv2d, self.out[2]).weight.dtype
        memory, merging = (None, None) if shortcut is None else (shortcut.memory, shortcut.merging)
        ratios = merged_sizes(self.config, x.shape[-2:], merging)
        walk = Walk(emb=embedding(self, self.config, t, y, guidance), context=context, ratios=ratios)
        outer = 0 if memory is None else memory.caching.branch + 1
        inner = len(self.output_blocks) - outer
        down, up = list(self.input_blocks), list(self.output_blocks)
        h = walk.down(down[:outer], x.to(dtype))

        def inside() -> Tensor:
            return walk.up(up[:inner], walk.through(self.middle_block, walk.down(down[outer:], h)))

        deep = inside() if memory is None else memory.rest(walk.added, inside)
        return self.out(walk.up(up[inner:], deep))


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """One call's way down and up the blocks: what each is told, and the skips between them.

    `ratios` are the shares of tokens that self-attention merges, by height and width of the features.
    """

    emb: Tensor
    context: Tensor
    ratios: Mapping[tuple[int, int], float]
    skips: list[Tensor] = field(default_factory=lambda: [])  # a call of list[Tensor] cannot be compiled

    def through(self, block: nn.Module, h: Tensor, size: Sequence[int] | None = None) -> Tensor:
        return run(block, h, self.emb, self.context, size=size, ratios=self.ratios)

    def down(self, blocks: Iterable[nn.Module], h: Tensor) -> Tensor:
        """Keep each block's output as a skip."""
        for block in blocks:
            h = self.through(block, h)
            self.skips.append(h)
        return h

    def up(self, blocks: Iterable[nn.Module], h: Tensor) -> Tensor:
        """Take the skips back, the last one first."""
        for block in blocks:
            h = torch.cat([h, self.skips.pop()], dim=1)
            h = self.through(block, h, self.skips[-1].shape[-2:] if self.skips else None)
        return h

    @property
    def added(self) -> Tensor:
        """What the blocks so far have added to the first skip; the skip itself where nothing was added to it."""
        first, last = self.skips[0], self.skips[-1]
        return last if len(self.skips) == 1 or first.shape != last.shape else last - first


class TimeEmbed(nn.Sequential):
    """What makes the embedded timestep, [B,width], the vector [B,4*width] that every ResBlock adds.

    Distilled models add the guidance that they are told, embedded `guidance_dim` wide.
    """

    def __init__(self, width: int, guidance_dim: int | None = None) -> None:
        super().__init__(Linear(width, 4 * width), nn.SiLU(), Linear(4 * width, 4 * width))
        if guidance_dim is not None:
            self.cond_proj = Linear(guidance_dim, width, bias=False)

    def forward(self, time: Tensor, guidance: Tensor | None = None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] - a sequence takes one input, this one two
        if guidance is not None:
            time = time + self.cond_proj(guidance)
        return self[2](self[1](self[0](time)))


def guidance_embedding(scale: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of 1000 (scale - 1) at frequencies from 1 down to 1/10000: [B] -> [B,width], float32.

    The guidance of distilled models (Luo et al. 2023, section 4.2).
    """
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=scale.device)
    angles = 1000.0 * (scale.float()[:, None] - 1.0) * torch.exp(-math.log(10000.0) / (half - 1) * steps)
    return nn.functional.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, width - 2 * half))


def label_embedding(config: UNetConfig) -> nn.Module | None:
    """The embedding of a class number, or of a vector beside the text; None where the model has neither."""
    emb = 4 * config.model_channels
    if config.num_classes is not None:
        return Embedding(config.num_classes, emb)
    if config.adm_in_channels is None:
        return None
    return nn.Sequential(nn.Sequential(Linear(config.adm_in_channels, emb), nn.SiLU(), Linear(emb, emb)))


def _transformer(config: UNetConfig, channels: int, level: int | None, depth: int) -> SpatialTransformer:
    """A transformer of `level`, or of the middle for None."""
    heads = config.num_heads if config.num_heads is not None else channels // (config.head_width or 64)
    flags = config.disable_self_attention
    return SpatialTransformer(
        channels,
        heads=heads,
        depth=depth,
        context=config.context_dim,
        linear=config.linear_projections,
        cross_only=level is not None and flags is not None and flags[level],
    )


def input_blocks(config: UNetConfig, *, dropout: float = 0.0) -> tuple[nn.ModuleList, list[int]]:
    """The way down, and the channel count of every skip, first to last."""
    channels = config.model_channels
    emb = 4 * channels
    blocks: list[nn.Module] = [nn.ModuleList([Conv2d(config.in_channels, channels, 3, padding=1)])]
    skips = [channels]
    for level, out in enumerate(config.widths):
        for depth in config.depths(level):
            block: list[nn.Module] = [ResBlock(channels, emb, out, dropout=dropout)]
            channels = out
            if depth:
                block.append(_transformer(config, channels, level, depth))
            blocks.append(nn.ModuleList(block))
            skips.append(channels)
        if level + 1 < len(config.channel_mult):
            blocks.append(nn.ModuleList([Downsample(channels)]))
            skips.append(channels)
    return nn.ModuleList(blocks), skips


def middle_block(config: UNetConfig, channels: int, *, dropout: float = 0.0) -> nn.ModuleList:
    """The blocks at the smallest size: two residual ones around an attention, or what a pruned model has left."""
    emb = 4 * config.model_channels
    blocks: list[nn.Module] = [ResBlock(channels, emb, channels, dropout=dropout) for _ in range(config.middle_blocks)]
    if depth := config.transformer_depth_middle:
        blocks.insert(1, _transformer(config, channels, None, depth))
    return nn.ModuleList(blocks)


class Conditioned(Protocol):
    """What `embedding` reads: the two embeddings that a U-Net and its ControlNets share."""

    time_embed: TimeEmbed
    label_emb: nn.Module | None


def embedding(
    network: Conditioned, config: UNetConfig, t: Tensor, y: Tensor | None, guidance: Tensor | None = None
) -> Tensor:
    """The vector [B,4*C] of timesteps `t` [B], and of `y`, [B,adm_in_channels] or class numbers [B], where it is taken.

    Raises ValueError where the network takes `y` and there is none.
    """
    dtype = cast(Linear, network.time_embed[0]).weight.dtype
    told = None
    if config.guidance_dim is not None:
        told = guidance_embedding(torch.ones_like(t) if guidance is None else guidance, config.guidance_dim).to(dtype)
    emb = network.time_embed(sinusoidal(t, config.model_channels).to(dtype), told)
    if network.label_emb is None:
        return emb
    if y is None:
        raise ValueError("this U-Net is conditioned on a vector or class: pass y")
    return emb + network.label_emb(y if config.num_classes is not None else y.to(dtype))


def run(
    block: nn.Module,
    h: Tensor,
    emb: Tensor,
    context: Tensor,
    *,
    size: Sequence[int] | None = None,
    ratios: Mapping[tuple[int, int], float] | None = None,
) -> Tensor:
    """Pass `h` through one block's layers, giving each what it takes: `size` is for Upsample, `ratios` are Walk's."""
    for layer in block.children():
        if isinstance(layer, ResBlock):
            h = layer(h, emb)
        elif isinstance(layer, SpatialTransformer):
            h = layer(h, context, ratio=ratios.get((h.shape[2], h.shape[3]), 0.0)) if ratios else layer(h, context)
        elif isinstance(layer, Upsample):
            h = layer(h, size if size is not None else [2 * n for n in h.shape[-2:]])
        else:
            h = layer(h)
    return h


def merged_sizes(config: UNetConfig, size: Sequence[int], merging: Merging | None) -> dict[tuple[int, int], float]:
    """The heights and widths of features whose tokens are merged in a latent of `size`, each with its share."""
    if merging is None:
        return {}
    levels = len(config.channel_mult)
    sizes = list(zip(*(latent_sizes(side, levels) for side in size), strict=True))
    return {sizes[level]: merging.ratio for level in config.self_attending[: merging.levels]}


def latent_sizes(size: int, levels: int) -> list[int]:
    """Height (or width) of a latent at each level of the U-Net, the first one first."""
    return list(accumulate(range(levels - 1), lambda n, _: (n + 1) // 2, initial=size))
