"""Group normalisation, alone and before SiLU and a convolution, which then goes over the picture in stripes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.nn.folded import folds
from pinxit.nn.kernels.fused import Factors, FusedKernels
from pinxit.nn.layers import Conv2d
from pinxit.nn.stripes import Stripe, stripes

PART = 16
"""Rows of a picture that are summed before float64 takes over."""


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu & He 2018), with the 32 groups of most Stable Diffusion networks. [B,C,...]."""

    fused: FusedKernels | None = None

    def __init__(self, channels: int, *, groups: int = 32, eps: float = 1e-5) -> None:
        super().__init__(groups, channels, eps=eps)

    def silu(self, x: Tensor) -> Tensor:
        """Normalise, then x * sigmoid(x)."""
        if self.fused is None or x.ndim != 4 or not self.fused.applies(x) or not _dense(x):
            return F.silu(self(x))
        out = torch.empty_like(x, memory_format=torch.channels_last)
        for image, into in zip(x.split(1), out.split(1), strict=True):
            self.activated(image, self.factors(image), into)
        return out

    def factors(self, x: Tensor) -> Factors:
        """What normalises the picture `x` [1,C,H,W], and with it any of its rows."""
        if self.fused is not None and self.fused.applies(x) and _dense(x):
            found = self.fused.factors(x, self.num_groups, self.weight, self.bias, self.eps)
            if found is not None:
                return found
        return self._factors_plainly(x)

    def activated(self, rows: Tensor, factors: Factors, into: Tensor) -> None:
        """Normalise some rows of the picture that the factors are of, with SiLU behind it."""
        if self.fused is not None and self.fused.applies(rows) and _dense(rows) and _dense(into):
            self.fused.activated(rows, factors, into)
            return
        scale, shift = (factor.view(1, -1, 1, 1) for factor in factors)
        into.copy_(F.silu(torch.addcmul(shift, rows.to(scale.dtype), scale), inplace=True))

    def _factors_plainly(self, x: Tensor) -> Factors:
        """From the mean and variance of a few rows at a time (Chan et al. 1983, eq. 2.1), whose sums are float64."""
        wide = torch.promote_types(x.dtype, torch.float32)
        parts = x.split(PART, dim=2)
        counts = torch.tensor([[part.numel()] for part in parts], dtype=torch.float64)
        found = [torch.var_mean(part.to(wide).reshape(self.num_groups, -1), dim=1, correction=0) for part in parts]
        variances, means = (torch.stack(values).double() for values in zip(*found, strict=True))
        mean = (counts * means).sum(0) / counts.sum()
        variance = (counts * (variances + (means - mean) ** 2)).sum(0) / counts.sum()
        each = x.shape[1] // self.num_groups
        scale = self.weight * (variance + self.eps).rsqrt().repeat_interleave(each)
        shift = self.bias - mean.repeat_interleave(each) * scale
        return Factors(scale.to(wide), shift.to(wide))


def normed_conv(x: Tensor, norm: GroupNorm, conv: Conv2d) -> Tensor:
    """`conv(silu(norm(x)))` of pictures [B,C,H,W]."""
    if not _striped(x, conv):
        return conv(norm.silu(x))
    batch, _, height, width = x.shape
    out = torch.empty((batch, conv.out_channels, height, width), dtype=x.dtype, memory_format=torch.channels_last)
    for image, into in zip(x.split(1), out.split(1), strict=True):
        for top, end, rows in _normed_stripes(image, norm, conv):
            into[:, :, top:end] = conv.between(rows)[:, :, : end - top]
    return out


def residual_conv(x: Tensor, shortcut: nn.Module, h: Tensor, norm: GroupNorm, conv: Conv2d) -> Tensor:
    """`shortcut(x) + conv(silu(norm(h)))`, for a `conv` that keeps the shape. The result may take the place of `h`."""
    if not _striped(h, conv):
        return shortcut(x) + conv(norm.silu(h))
    for given, image in zip(x.split(1), h.split(1), strict=True):
        for top, end, rows in _normed_stripes(image, norm, conv):
            into = image[:, :, top:end]
            torch.add(shortcut(given[:, :, top:end]), conv.between(rows)[:, :, : end - top], out=into)
    return h


def _normed_stripes(image: Tensor, norm: GroupNorm, conv: Conv2d) -> Iterator[Stripe]:
    factors = norm.factors(image)

    def prepare(rows: Tensor, into: Tensor) -> None:
        norm.activated(rows, factors, into)

    return stripes(image, prepare, channels=conv.out_channels)


def _striped(x: Tensor, conv: Conv2d) -> bool:
    """Whether nothing is to be differentiated, cast or moved, and the convolution looks one pixel around."""
    here = x.device.type == "cpu" and not torch.compiler.is_compiling()
    plain = here and not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
    return plain and x.dtype == conv.weight.dtype and x.numel() > 0 and folds(conv)


def _dense(x: Tensor) -> bool:
    """Whether the pictures lie pixel by pixel, one row after the other."""
    return x.is_contiguous(memory_format=torch.channels_last)
