"""Tiny autoencoders (madebyollin's TAESD): 64 channels all through, plain convolutions, no norms.

```
picture [B,3,H,W] -> conv, block | halve, 3 blocks | halve, 3 blocks | halve, 3 blocks | conv -> latent [B,z,H/8,W/8]
latent -> clamp, conv | 3 blocks, double, conv | (twice more) | block, conv -> picture
```
Latents are those of the U-Net, scaled already. Inside, pictures lie in 0..1; at its doors they lie in -1..1, as those
of every other autoencoder.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.taesd.config import TinyConfig
from pinxit.nn import Conv2d, enlarge


class Block(nn.Module):
    """Three convolutions with a residual path. [B,C,H,W] -> [B,C,H,W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        conv = [Conv2d(channels, channels, 3, padding=1) for _ in range(3)]
        self.conv = nn.Sequential(conv[0], nn.ReLU(), conv[1], nn.ReLU(), conv[2])

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.conv(x))


class Clamp(nn.Module):
    """Latents pressed smoothly into -3..3."""

    def forward(self, x: Tensor) -> Tensor:
        return 3.0 * torch.tanh(x / 3.0)


class Double(nn.Module):
    """The place of the doubling, which happens together with the convolution after it."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def encoder_layers(config: TinyConfig) -> list[nn.Module]:
    """Picture in 0..1 to latent."""
    wide = config.channels
    layers: list[nn.Module] = []
    for level, blocks in enumerate(config.encoder):
        if level == 0:
            layers.append(Conv2d(3, wide, 3, padding=1))
        else:
            layers.append(Conv2d(wide, wide, 3, stride=2, padding=1, bias=False))
        layers += [Block(wide) for _ in range(blocks)]
    return [*layers, Conv2d(wide, config.latent.channels, 3, padding=1)]


def decoder_layers(config: TinyConfig) -> list[nn.Module]:
    """Latent to picture in 0..1."""
    wide = config.channels
    layers: list[nn.Module] = [Clamp(), Conv2d(config.latent.channels, wide, 3, padding=1), nn.ReLU()]
    for level, blocks in enumerate(config.decoder):
        layers += [Block(wide) for _ in range(blocks)]
        if level + 1 < len(config.decoder):
            layers += [Double(), Conv2d(wide, wide, 3, padding=1, bias=False)]
    return [*layers, Conv2d(wide, 3, 3, padding=1)]


class TinyAutoencoder(nn.Module):
    """Both halves, or the one that the file has."""

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = nn.Sequential(*encoder_layers(config)) if config.encoder else None
        self.decoder = nn.ModuleList(decoder_layers(config)) if config.decoder else None

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The latents of pictures [B,3,H,W] in -1..1, and their log-variance: -30, since they do not vary.

        Raises ValueError where the file has no encoder.
        """
        if self.encoder is None:
            raise ValueError("this tiny autoencoder has no encoder")
        weight = next(self.encoder.parameters())
        mean = self.encoder((x.to(weight.dtype) + 1) / 2)
        return mean, torch.full_like(mean, -30.0)

    def decode(self, z: Tensor) -> Tensor:
        """Pictures, nominally in -1..1 and not clamped, of latents [B,z,h,w]. Raises ValueError without a decoder."""
        if self.decoder is None:
            raise ValueError("this tiny autoencoder has no decoder")
        h = z.to(next(self.decoder.parameters()).dtype)
        double = False
        for layer in self.decoder:
            if double and isinstance(layer, Conv2d):
                h = enlarge(h, (2 * h.shape[2], 2 * h.shape[3]), layer)
            else:
                h = layer(h)
            double = isinstance(layer, Double)
        return 2 * h - 1
