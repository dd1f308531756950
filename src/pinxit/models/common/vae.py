"""The KL autoencoder of latent diffusion (Rombach et al. 2022, 3.1; Esser et al. 2021): pictures to latents and back.

```
picture [B,3,H,W] in -1..1 -> encoder -> quant_conv -> mean, logvar [B,z,H/f,W/f]      f = 2^(levels-1)
latent  [B,z,h,w]          -> post_quant_conv -> decoder -> picture [B,3,f*h,f*w]

encoder   conv_in, down.{level}.block.{i} (+ downsample), mid (block, attention, block), norm_out, conv_out
decoder   conv_in, mid, up.{level}.block.{i} (+ upsample) from the last level to the first, norm_out, conv_out
```
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.common.configs import VaeConfig
from pinxit.nn import Conv2d, GroupNorm, attention, enlarge, normed_conv, residual_conv


class ResnetBlock(nn.Module):
    """Two normalised 3x3 convolutions with a residual path. [B,C,H,W] -> [B,out,H,W]."""

    def __init__(self, channels: int, out_channels: int, *, groups: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(channels, groups=groups, eps=1e-6)
        self.conv1 = Conv2d(channels, out_channels, 3, padding=1)
        self.norm2 = GroupNorm(out_channels, groups=groups, eps=1e-6)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1)
        self.nin_shortcut = nn.Identity() if channels == out_channels else Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = normed_conv(x, self.norm1, self.conv1)
        return residual_conv(x, self.nin_shortcut, h, self.norm2, self.conv2)


class AttnBlock(nn.Module):
    """One-head self-attention over all positions, residual."""

    def __init__(self, channels: int, *, groups: int) -> None:
        super().__init__()
        self.norm = GroupNorm(channels, groups=groups, eps=1e-6)
        self.q = Conv2d(channels, channels, 1)
        self.k = Conv2d(channels, channels, 1)
        self.v = Conv2d(channels, channels, 1)
        self.proj_out = Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2).transpose(1, 2) for layer in (self.q, self.k, self.v))
        h = attention(q, k, v, heads=1).transpose(1, 2).unflatten(2, x.shape[-2:])
        return x + self.proj_out(h)


class Downsample(nn.Module):
    """Halve the picture; padded on the right and bottom only, as the original is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double the picture by nearest neighbour, then convolve."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return enlarge(x, (2 * x.shape[2], 2 * x.shape[3]), self.conv)


class Middle(nn.Module):
    """The blocks at the smallest size."""

    def __init__(self, channels: int, *, attend: bool, groups: int) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, groups=groups)
        self.attn_1 = AttnBlock(channels, groups=groups) if attend else nn.Identity()
        self.block_2 = ResnetBlock(channels, channels, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Level(nn.Module):
    """Residual blocks at one size, then the resampler that leads to the next (none at the end)."""

    def __init__(self, channels: int, out_channels: int, *, blocks: int, groups: int, then: nn.Module | None) -> None:
        super().__init__()
        widths = [channels, *[out_channels] * blocks]
        self.block = nn.ModuleList(ResnetBlock(a, b, groups=groups) for a, b in pairwise(widths))
        self.then = None if then is None else ("downsample" if isinstance(then, Downsample) else "upsample")
        if self.then is not None:
            self.add_module(self.then, then)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers():
            x = layer(x)
        return x

    def layers(self) -> Iterator[nn.Module]:
        """The parts, in order: whoever calls them one by one need not keep the level's input while it computes."""
        yield from self.block
        if self.then:
            yield self.resampler

    @property
    def resampler(self) -> nn.Module:
        """What leads to the next level. Raises AttributeError at the last one, which has none."""
        return self.get_submodule(self.then or "resampler")


class Encoder(nn.Module):
    """Picture to moments [B, 2*z, H/f, W/f], before `quant_conv`."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        widths, groups = [config.channels * mult for mult in config.channel_mult], config.norm_groups
        self.conv_in = Conv2d(config.in_channels, config.channels, 3, padding=1)
        self.down = nn.ModuleList(
            Level(
                before,
                width,
                blocks=config.num_res_blocks,
                groups=groups,
                then=Downsample(width) if level + 1 < len(widths) else None,
            )
            for level, (before, width) in enumerate(zip([config.channels, *widths], widths, strict=False))
        )
        self.mid = Middle(widths[-1], attend=config.mid_attention, groups=groups)
        self.norm_out = GroupNorm(widths[-1], groups=groups, eps=1e-6)
        self.conv_out = Conv2d(widths[-1], (2 if config.double_z else 1) * config.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        for level in cast("Iterable[Level]", self.down):
            for layer in level.layers():
                h = layer(h)
        return normed_conv(self.mid(h), self.norm_out, self.conv_out)


class Decoder(nn.Module):
    """Latent (after `post_quant_conv`) to picture."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        widths, groups = [config.channels * mult for mult in config.channel_mult], config.norm_groups
        self.conv_in = Conv2d(config.z_channels, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1], attend=config.mid_attention, groups=groups)
        self.up = nn.ModuleList(
            Level(
                before,
                width,
                blocks=config.num_res_blocks + 1,
                groups=groups,
                then=Upsample(width) if level else None,
            )
            for level, (before, width) in enumerate(zip([*widths[1:], widths[-1]], widths, strict=True))
        )
        self.norm_out = GroupNorm(widths[0], groups=groups, eps=1e-6)
        self.conv_out = Conv2d(widths[0], config.out_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid(self.conv_in(z))
        for level in cast("Iterable[Level]", reversed(self.up)):
            for layer in level.layers():
                h = layer(h)
        return normed_conv(h, self.norm_out, self.conv_out)


class AutoencoderKL(nn.Module):
    """Both halves. Latents are unscaled here: the family's LatentSpec scales them for the U-Net."""

    exact_parts = ("conv_in", "conv_out", "nin_shortcut", "quant_conv", "post_quant_conv")

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.config = config
        moments = (2 if config.double_z else 1) * config.z_channels
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        # Identity counts as a convolution here, so that whoever trains one, and reads its weights, need not ask.
        self.quant_conv = Conv2d(moments, moments, 1) if config.quant else cast(Conv2d, nn.Identity())
        channels = config.z_channels
        self.post_quant_conv = Conv2d(channels, channels, 1) if config.quant else cast(Conv2d, nn.Identity())

    @property
    def downscale(self) -> int:
        """Pixels per latent position, along each side."""
        return 2 ** (len(self.config.channel_mult) - 1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, each [B,z,H/f,W/f], of pictures [B,3,H,W] in -1..1; H and W multiples of f."""
        x = x.to(self.encoder.conv_in.weight.dtype)
        mean, logvar = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return mean, logvar.clamp(-30.0, 20.0)

    def decode(self, z: Tensor) -> Tensor:
        """Pictures [B,3,f*h,f*w], nominally in -1..1 and not clamped, of latents [B,z,h,w]."""
        return cast(Tensor, self.decoder(self.post_quant_conv(z.to(self.decoder.conv_in.weight.dtype))))
