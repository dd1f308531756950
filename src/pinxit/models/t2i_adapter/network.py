"""T2I-Adapters (Mou et al. 2023, figure 3): a picture to features that a U-Net adds on its way down.

```
picture [B,C,sH,sW] -> squares of s pixels as channels -> conv_in -> body.0, body.1 -> features of level 0
                                                          (halve)    body.2, body.3 -> features of level 1 ...
```
The light form (its colour adapter) has no `conv_in`; each level is a group of narrow blocks between two 1x1
convolutions.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.t2i_adapter.config import AdapterConfig
from pinxit.nn import Conv2d


def _halved(x: Tensor) -> Tensor:
    """The mean of every 2x2 square; an odd last row or column counts alone, as in the U-Net's own downsampling."""
    return F.avg_pool2d(x, 2, ceil_mode=True)


class Block(nn.Module):
    """Two convolutions with a residual path, after a 1x1 convolution where the channels change."""

    def __init__(self, channels: int, out_channels: int, *, kernel: int, halve: bool = False) -> None:
        super().__init__()
        self.halve = halve
        self.in_conv = Conv2d(channels, out_channels, 1) if channels != out_channels else nn.Identity()
        self.block1 = Conv2d(out_channels, out_channels, 3, padding=1)
        self.block2 = Conv2d(out_channels, out_channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.in_conv(_halved(x) if self.halve else x)
        return x + self.block2(F.relu(self.block1(x)))


class Group(nn.Module):
    """The narrow blocks of one level of the light form."""

    def __init__(self, channels: int, inner: int, out_channels: int, *, blocks: int, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.in_conv = Conv2d(channels, inner, 1)
        self.body = nn.Sequential(*(Block(inner, inner, kernel=3) for _ in range(blocks)))
        self.out_conv = Conv2d(inner, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_conv(self.body(self.in_conv(_halved(x) if self.halve else x)))


class T2IAdapter(nn.Module):
    """Features of a picture, one tensor per level."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        read = config.in_channels * config.unshuffle**2
        if config.inner is None:
            self.conv_in: nn.Module = Conv2d(read, config.channels[0], 3, padding=1)
            self.body = nn.ModuleList(self._blocks())
            self.each = config.blocks
        else:
            self.conv_in = nn.Identity()
            widths = pairwise((read, *config.channels))
            self.body = nn.ModuleList(
                Group(before, inner, after, blocks=config.blocks, halve=halve)
                for (before, after), inner, halve in zip(widths, config.inner, config.halves, strict=True)
            )
            self.each = 1

    def _blocks(self) -> list[Block]:
        config = self.config
        blocks: list[Block] = []
        before = config.channels[0]
        for width, halve in zip(config.channels, config.halves, strict=True):
            for number in range(config.blocks):
                blocks.append(Block(before, width, kernel=config.kernel, halve=halve and number == 0))
                before = width
        return blocks

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        """One tensor per level from `picture` [B,C,sH,sW] in 0..1; its sides are multiples of the squares'."""
        weight = next(self.body.parameters())
        h = self.conv_in(F.pixel_unshuffle(picture.to(weight.dtype), self.config.unshuffle))
        features: list[Tensor] = []
        for number, block in enumerate(self.body, start=1):
            h = block(h)
            if number % self.each == 0:
                features.append(h)
        return tuple(features)
