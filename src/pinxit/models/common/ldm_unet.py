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

from collections.abc import Sequence
from itertools import accumulate
from typing import cast

import torch
from torch import Tensor, nn

from pinxit.models.common.configs import UNetConfig
from pinxit.models.common.transformer import SpatialTransformer
from pinxit.nn import Conv2d, Embedding, GroupNorm, Linear, enlarge, sinusoidal


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
        h = self.in_layers(x) + self.emb_layers(emb)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


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

    def __init__(self, config: UNetConfig, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        width = config.model_channels
        emb = 4 * width
        self.time_embed = nn.Sequential(Linear(width, emb), nn.SiLU(), Linear(emb, emb))
        if config.num_classes is not None:
            self.label_emb: nn.Module | None = Embedding(config.num_classes, emb)
        elif config.adm_in_channels is not None:
            inner = nn.Sequential(Linear(config.adm_in_channels, emb), nn.SiLU(), Linear(emb, emb))
            self.label_emb = nn.Sequential(inner)
        else:
            self.label_emb = None
        self.dropout = dropout
        skips = self._add_input_blocks(emb)
        self.middle_block = self._middle(skips[-1], emb)
        self._add_output_blocks(skips, emb)
        self.out = nn.Sequential(GroupNorm(width), nn.SiLU(), Conv2d(width, config.out_channels, 3, padding=1))

    def _transformer(self, channels: int, level: int, depth: int) -> SpatialTransformer:
        config = self.config
        heads = config.num_heads if config.num_heads is not None else channels // (config.head_width or 64)
        cross_only = config.disable_self_attention is not None and config.disable_self_attention[level]
        return SpatialTransformer(
            channels,
            heads=heads,
            depth=depth,
            context=config.context_dim,
            linear=config.linear_projections,
            cross_only=cross_only,
        )

    def _add_input_blocks(self, emb: int) -> list[int]:
        """Build `input_blocks`; returns the channel count of every skip, first to last."""
        config = self.config
        channels = config.model_channels
        blocks: list[nn.Module] = [nn.ModuleList([Conv2d(config.in_channels, channels, 3, padding=1)])]
        skips = [channels]
        for level, mult in enumerate(config.channel_mult):
            for _ in range(config.num_res_blocks[level]):
                out = mult * config.model_channels
                block = [ResBlock(channels, emb, out, dropout=self.dropout)]
                channels = out
                if depth := config.transformer_depth[level]:
                    block.append(self._transformer(channels, level, depth))  # pyright: ignore[reportArgumentType] - a mixed list of modules
                blocks.append(nn.ModuleList(block))
                skips.append(channels)
            if level + 1 < len(config.channel_mult):
                blocks.append(nn.ModuleList([Downsample(channels)]))
                skips.append(channels)
        self.input_blocks = nn.ModuleList(blocks)
        return skips

    def _middle(self, channels: int, emb: int) -> nn.ModuleList:
        blocks: list[nn.Module] = [ResBlock(channels, emb, channels, dropout=self.dropout)]
        if depth := self.config.transformer_depth_middle:
            config = self.config
            heads = config.num_heads if config.num_heads is not None else channels // (config.head_width or 64)
            blocks.append(
                SpatialTransformer(
                    channels, heads=heads, depth=depth, context=config.context_dim, linear=config.linear_projections
                )
            )
        blocks.append(ResBlock(channels, emb, channels, dropout=self.dropout))
        return nn.ModuleList(blocks)

    def _add_output_blocks(self, skips: list[int], emb: int) -> None:
        config = self.config
        channels = skips[-1]
        waiting = list(skips)
        blocks: list[nn.Module] = []
        for level in reversed(range(len(config.channel_mult))):
            count = config.num_res_blocks[level] + 1
            for index in range(count):
                out = config.channel_mult[level] * config.model_channels
                block: list[nn.Module] = [ResBlock(channels + waiting.pop(), emb, out, dropout=self.dropout)]
                channels = out
                if depth := config.transformer_depth_output[level]:
                    block.append(self._transformer(channels, level, depth))
                if level and index == count - 1:
                    block.append(Upsample(channels))
                blocks.append(nn.ModuleList(block))
        self.output_blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, t: Tensor, context: Tensor, y: Tensor | None = None) -> Tensor:
        """Predict from `x` [B,Cin,H,W], timesteps `t` [B] (fractions allowed), text `context` [B,S,context_dim].

        `y` is the added embedding's input, [B,adm_in_channels], or class numbers [B], where the model has one.
        """
        dtype = cast(Conv2d, self.out[2]).weight.dtype
        x, context = x.to(dtype), context.to(dtype)
        emb = self.time_embed(sinusoidal(t, self.config.model_channels).to(dtype))
        if self.label_emb is not None:
            if y is None:
                raise ValueError("this U-Net is conditioned on a vector or class: pass y")
            emb = emb + self.label_emb(y if self.config.num_classes is not None else y.to(dtype))
        h, skips = x, []
        for block in self.input_blocks:
            h = _run(block, h, emb, context)
            skips.append(h)
        h = _run(self.middle_block, h, emb, context)
        for block in self.output_blocks:
            h = torch.cat([h, skips.pop()], dim=1)
            h = _run(block, h, emb, context, size=skips[-1].shape[-2:] if skips else None)
        return self.out(h)


def _run(block: nn.Module, h: Tensor, emb: Tensor, context: Tensor, *, size: Sequence[int] | None = None) -> Tensor:
    """Pass `h` through one block's layers, giving each what it takes."""
    for layer in block.children():
        if isinstance(layer, ResBlock):
            h = layer(h, emb)
        elif isinstance(layer, SpatialTransformer):
            h = layer(h, context)
        elif isinstance(layer, Upsample):
            h = layer(h, size if size is not None else [2 * n for n in h.shape[-2:]])
        else:
            h = layer(h)
    return h


def latent_sizes(size: int, levels: int) -> list[int]:
    """Height (or width) of a latent at each level of the U-Net, the first one first."""
    return list(accumulate(range(levels - 1), lambda n, _: (n + 1) // 2, initial=size))
