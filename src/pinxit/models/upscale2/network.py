"""The U-Net of the latent x2 upscaler: adaptive norms instead of added embeddings, no middle, one skip per level.

```
noise level log(sigma)/4 -> timestep_embed -> + mapping_cond(condition) -> mapping = emb, which every norm reads
latent and enlarged latent [B,8,H,W] -> proj_in
 d_blocks.{i}   (halve) then blocks of: residual convolutions [, own attention] [, attention to the text]
 u_blocks.{u}   the levels backwards: concat the level's skip (but for the first), the same blocks, (double)
proj_out -> [B,5,H,W], the last channel a variance
```
Module names are k-diffusion's, so that a file of its loads by dropping `inner_model.`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.upscale2.config import KUNetConfig
from pinxit.nn import Conv2d, LayerNorm, Linear, attention

GROUP = 32
"""Channels that are normalised together."""
TAPS = (1 / 8, 3 / 8, 3 / 8, 1 / 8)
"""The filter of both resamplers, along rows and columns alike."""


class AdaptiveNorm(nn.Module):
    """Group normalisation whose scale and shift are read off the embedding. [B,C,H,W], [B,E] -> [B,C,H,W]."""

    def __init__(self, emb: int, channels: int) -> None:
        super().__init__()
        self.groups = max(1, channels // GROUP)
        self.mapper = Linear(emb, 2 * channels)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        scale, shift = self.mapper(emb)[:, :, None, None].chunk(2, dim=1)
        return F.group_norm(x, self.groups) * (1 + scale) + shift


class ResConvBlock(nn.Module):
    """Two normalised 3x3 convolutions, the inner `middle` channels wide, with a residual path."""

    def __init__(self, emb: int, channels: int, middle: int, out: int) -> None:
        super().__init__()
        self.main = nn.ModuleDict(
            {
                "0": AdaptiveNorm(emb, channels),
                "2": Conv2d(channels, middle, 3, padding=1),
                "4": AdaptiveNorm(emb, middle),
                "6": Conv2d(middle, out, 3, padding=1),
            }
        )
        self.skip = nn.Identity() if channels == out else Conv2d(channels, out, 1, bias=False)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.main["2"](F.gelu(self.main["0"](x, emb)))
        return self.skip(x) + self.main["6"](F.gelu(self.main["4"](h, emb)))


class SelfAttention(nn.Module):
    """Every position looks at every other."""

    def __init__(self, emb: int, channels: int, head_width: int) -> None:
        super().__init__()
        self.heads = channels // head_width
        self.norm_in = AdaptiveNorm(emb, channels)
        self.qkv_proj = Conv2d(channels, 3 * channels, 1)
        self.out_proj = Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        q, k, v = self.qkv_proj(self.norm_in(x, emb)).flatten(2).transpose(1, 2).chunk(3, dim=-1)
        h = attention(q, k, v, self.heads).transpose(1, 2).unflatten(2, x.shape[-2:])
        return x + self.out_proj(h)


class CrossAttention(nn.Module):
    """Every position looks at the text [B,S,context], which is normalised first."""

    def __init__(self, emb: int, channels: int, context: int, head_width: int) -> None:
        super().__init__()
        self.heads = channels // head_width
        self.norm_enc = LayerNorm(context)
        self.norm_dec = AdaptiveNorm(emb, channels)
        self.q_proj = Conv2d(channels, channels, 1)
        self.kv_proj = Linear(context, 2 * channels)
        self.out_proj = Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, emb: Tensor, context: Tensor) -> Tensor:
        q = self.q_proj(self.norm_dec(x, emb)).flatten(2).transpose(1, 2)
        k, v = self.kv_proj(self.norm_enc(context)).chunk(2, dim=-1)
        h = attention(q, k, v, self.heads).transpose(1, 2).unflatten(2, x.shape[-2:])
        return x + self.out_proj(h)


class Resample(nn.Module):
    """Halve or double height and width with the filter, mirrored at the edges. It has no weights."""

    def __init__(self, way: Literal["down", "up"]) -> None:
        super().__init__()
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        row = torch.tensor(TAPS, dtype=x.dtype, device=x.device) * (1 if self.way == "down" else 2)
        kernel = torch.outer(row, row).expand(channels, 1, -1, -1).contiguous()
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        if self.way == "down":
            return F.conv2d(x, kernel, stride=2, groups=channels)
        return F.conv_transpose2d(x, kernel, stride=2, padding=3, groups=channels)


class Ladder(nn.Module):
    """The ways down and up."""

    def __init__(self, config: KUNetConfig) -> None:
        super().__init__()
        self.d_blocks = nn.ModuleList(_down(config, level) for level in range(len(config.widths)))
        self.u_blocks = nn.ModuleList(_up(config, level) for level in reversed(range(len(config.widths))))

    def forward(self, x: Tensor, emb: Tensor, context: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for block in self.d_blocks:
            x = _run(block, x, emb, context)
            skips.append(x)
        skips.pop()
        for number, block in enumerate(self.u_blocks):
            if number:
                skip = skips.pop()
                down, right = (there - here for there, here in zip(skip.shape[-2:], x.shape[-2:], strict=True))
                x = F.pad(x, (0, right, 0, down), mode="replicate") if down or right else x
                x = torch.cat([x, skip], dim=1)
            x = _run(block, x, emb, context)
        return x


def _layers(config: KUNetConfig, level: int, channels: int, out: int) -> list[nn.Module]:
    """One residual block of a level, and its attention."""
    emb = config.mapping
    layers: list[nn.Module] = [ResConvBlock(emb, channels, config.widths[level], out)]
    if config.own[level]:
        layers.append(SelfAttention(emb, out, config.head_width))
    if config.cross[level]:
        layers.append(CrossAttention(emb, out, config.context_dim, config.head_width))
    return layers


def _down(config: KUNetConfig, level: int) -> nn.ModuleList:
    width, before = config.widths[level], config.widths[max(0, level - 1)]
    layers: list[nn.Module] = [Resample("down") if level else nn.Identity()]
    for number in range(config.blocks[level]):
        layers += _layers(config, level, width if number else before, width)
    return nn.ModuleList(layers)


def _up(config: KUNetConfig, level: int) -> nn.ModuleList:
    width, after = config.widths[level], config.widths[max(0, level - 1)]
    count, deepest = config.blocks[level], level + 1 == len(config.widths)
    layers: list[nn.Module] = []
    for number in range(count):
        channels = width if number or deepest else 2 * width
        layers += _layers(config, level, channels, after if number == count - 1 else width)
    layers.append(Resample("up") if level else nn.Identity())
    return nn.ModuleList(layers)


def _run(block: nn.Module, h: Tensor, emb: Tensor, context: Tensor) -> Tensor:
    """Pass `h` through one block's layers, giving each what it takes."""
    for layer in block.children():
        if isinstance(layer, ResConvBlock | SelfAttention):
            h = layer(h, emb)
        elif isinstance(layer, CrossAttention):
            h = layer(h, emb, context)
        else:
            h = layer(h)
    return h


class FourierFeatures(nn.Module):
    """Cosines, then sines, of 2 pi times the value at random frequencies. [B] -> [B,width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width // 2, 1))

    def forward(self, value: Tensor) -> Tensor:
        angles = 2 * math.pi * value[:, None].to(self.weight.dtype) * self.weight[:, 0]
        return torch.cat([angles.cos(), angles.sin()], dim=-1)


class KUNet(nn.Module):
    """Estimate the large latent (and its variance) from its noisy form and the small one."""

    def __init__(self, config: KUNetConfig) -> None:
        super().__init__()
        self.config = config
        width = config.mapping
        self.timestep_embed = FourierFeatures(width)
        self.mapping_cond = Linear(config.condition, width, bias=False)
        self.mapping = nn.Sequential(Linear(width, width), nn.GELU(), Linear(width, width), nn.GELU())
        self.proj_in = Conv2d(config.in_channels, config.widths[0], 1)
        self.u_net = Ladder(config)
        self.proj_out = Conv2d(config.widths[0], config.out_channels, 1)

    def forward(self, x: Tensor, t: Tensor, context: Tensor, condition: Tensor) -> Tensor:
        """`x` [B,8,H,W], `t` = log(sigma)/4 [B], text `context` [B,S,C], `condition` [B,condition].

        Sides need two positions at the smallest size. Raises ValueError for smaller ones.
        """
        if min(x.shape[-2:]) < 2 ** len(self.config.widths):
            raise ValueError(f"a latent of {list(x.shape[-2:])} is too small to be enlarged by this U-Net")
        dtype = self.proj_in.weight.dtype
        emb = self.timestep_embed(t) + self.mapping_cond(condition.to(dtype))
        h = self.u_net(self.proj_in(x.to(dtype)), self.mapping(emb), context.to(dtype))
        return self.proj_out(h)
