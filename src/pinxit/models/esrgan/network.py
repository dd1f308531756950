"""ESRGAN's generator (Wang et al. 2018, figures 3 and 4): residual-in-residual dense blocks, then doublings.

```
picture [B,3,H,W] (-> squares as channels) -> conv_first -+-> RRDB_trunk.{i} ... -> trunk_conv -+-> h
                                                           '-----------------------------------'
h -> (double, upconv{k}) per doubling -> HRconv -> conv_last -> picture [B,3,scale*H,scale*W]
```
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.esrgan.config import UpscalerConfig
from pinxit.nn import Conv2d, enlarge

SLOPE = 0.2
"""Of the leaky activation, for what is below zero."""
SHARE = 0.2
"""Of a block's output in the residual sum."""


class DenseBlock(nn.Module):
    """Five convolutions, each of which reads the outputs of all before it; residual."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        for number in range(5):
            out = growth if number < 4 else features
            self.add_module(f"conv{number + 1}", Conv2d(features + number * growth, out, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        *inner, last = self.children()
        for conv in inner:
            seen.append(F.leaky_relu(conv(torch.cat(seen, dim=1)), SLOPE))
        return x + SHARE * last(torch.cat(seen, dim=1))


class ResidualBlock(nn.Module):
    """Three dense blocks in a row, residual once more."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.RDB1 = DenseBlock(features, growth)
        self.RDB2 = DenseBlock(features, growth)
        self.RDB3 = DenseBlock(features, growth)

    def forward(self, x: Tensor) -> Tensor:
        return x + SHARE * self.RDB3(self.RDB2(self.RDB1(x)))


class Upscaler(nn.Module):
    """Pictures in 0..1, a whole number of times as large."""

    def __init__(self, config: UpscalerConfig) -> None:
        super().__init__()
        self.config = config
        wide = config.features
        self.conv_first = Conv2d(config.in_channels * config.unshuffle**2, wide, 3, padding=1)
        self.RRDB_trunk = nn.Sequential(*(ResidualBlock(wide, config.growth) for _ in range(config.blocks)))
        self.trunk_conv = Conv2d(wide, wide, 3, padding=1)
        for number in range(config.doubles):
            self.add_module(f"upconv{number + 1}", Conv2d(wide, wide, 3, padding=1))
        self.HRconv = Conv2d(wide, wide, 3, padding=1)
        self.conv_last = Conv2d(wide, config.out_channels, 3, padding=1)

    def forward(self, picture: Tensor) -> Tensor:
        """[B,C,H,W] in 0..1 -> [B,C,scale*H,scale*W], not clamped; H and W are multiples of the squares' side."""
        x = picture.to(self.conv_first.weight.dtype)
        if self.config.unshuffle > 1:
            x = F.pixel_unshuffle(x, self.config.unshuffle)
        first = self.conv_first(x)
        h = first + self.trunk_conv(self.RRDB_trunk(first))
        for number in range(self.config.doubles):
            conv = cast(Conv2d, self.get_submodule(f"upconv{number + 1}"))
            h = F.leaky_relu(enlarge(h, (2 * h.shape[2], 2 * h.shape[3]), conv), SLOPE)
        return self.conv_last(F.leaky_relu(self.HRconv(h), SLOPE))
