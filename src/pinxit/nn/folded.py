"""Doubling a picture and convolving it, in one: what a 3x3 convolution sees of repeated pixels is a 2x2 one.

An output row 2i looks at the enlarged rows 2i-1, 2i, 2i+1, which are the rows i-1, i, i of the picture; row 2i+1 looks
at i, i, i+1. So each of the four kinds of output pixels is a convolution of the small picture with sums of the weights:
4 products for every 9.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple, Protocol, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.nn.packed import PackedWeight, Shape, Source, source_of
from pinxit.nn.pages import own_pages
from pinxit.nn.stripes import stripes

KINDS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Row and column of an output pixel among the four that come of one pixel."""
AT_ONCE = 64
"""So many output channels are folded at a time."""


class Slot(Protocol):
    """What holds a layer's weight and computes with it."""

    def conv2d(self, x: Tensor, layer: nn.Conv2d, padding: Shape | None = None) -> Tensor | None: ...


Make: TypeAlias = Callable[[nn.Conv2d], tuple[nn.Conv2d, Slot]]
"""Folds a layer: the 2x2 convolution, and what computes it."""


class _Kept(NamedTuple):
    source: Source
    conv: nn.Conv2d
    slot: Slot


class FoldedWeight:
    """One layer's folded weight: made at the first call, made anew when the plain weight changes."""

    __slots__ = ("_kept", "_make")

    def __init__(self, make: Make | None = None) -> None:
        self._make = make or _packed
        self._kept: _Kept | None = None

    def forget(self) -> None:
        """Fold again at the next call."""
        self._kept = None

    def __deepcopy__(self, memo: dict[int, object]) -> FoldedWeight:
        return FoldedWeight()

    def __reduce__(self) -> tuple[type[FoldedWeight], tuple[()]]:
        return FoldedWeight, ()

    def doubled(self, x: Tensor, layer: nn.Conv2d) -> Tensor:
        """What `layer` makes of `x` [B,C,H,W] after every pixel has become four. `folds` says for which layers."""
        source, kept = source_of(layer.weight), self._kept
        if kept is None or kept.source != source:
            with own_pages():
                kept = _Kept(source, *self._make(layer))
            self._kept = kept
        (batch, _, height, width), channels = x.shape, layer.out_channels
        out = torch.empty((batch, channels, 2 * height, 2 * width), dtype=x.dtype, memory_format=torch.channels_last)
        for image, into in zip(x.split(1), out.split(1), strict=True):
            for top, end, rows in stripes(image, _copied, channels=len(KINDS) * channels):
                found = kept.slot.conv2d(rows, kept.conv, (0, 1))
                if found is None:
                    found = F.conv2d(rows, kept.conv.weight, kept.conv.bias, padding=(0, 1))
                doubled = into[:, :, 2 * top : 2 * end]
                for part, (row, column) in zip(found.chunk(len(KINDS), dim=1), KINDS, strict=True):
                    doubled[:, :, row::2, column::2] = part[:, :, row : row + end - top, column : column + width]
        return out


def folds(layer: nn.Conv2d) -> bool:
    """Whether the layer is of the kind that can be folded: 3x3, one pixel of zeros around, every step taken."""
    settings = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return settings == ((3, 3), (1, 1), (1, 1), (1, 1)) and layer.groups == 1 and layer.padding_mode == "zeros"


def folded(layer: nn.Conv2d, weight: Tensor) -> nn.Conv2d:
    """The layer with that `weight` as a 2x2 convolution, whose output, one row and column too large, holds the four
    kinds one after the other.

    Weights are added in float32 and rounded once, a few at a time, so that memory holds little beside them; channels
    lie side by side, so that those of a tap are added at once.
    """
    plain, count = weight.permute(0, 2, 3, 1), layer.out_channels
    weight = plain.new_empty((len(KINDS) * count, 2, 2, layer.in_channels))
    for first in range(0, count, AT_ONCE):
        rows = plain[first : first + AT_ONCE].to(torch.float32, memory_format=torch.contiguous_format)
        for place, (row, column) in enumerate(KINDS):
            start = place * count + first
            weight[start : start + len(rows)] = _pairs(_pairs(rows, row, axis=1), column, axis=2)
    with torch.device("meta"):
        conv = nn.Conv2d(layer.in_channels, len(KINDS) * count, 2, padding=1)
    conv.weight = nn.Parameter(weight.permute(0, 3, 1, 2), requires_grad=False)
    bias = None if layer.bias is None else layer.bias.detach().repeat(len(KINDS))
    conv.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
    return conv


def _packed(layer: nn.Conv2d) -> tuple[nn.Conv2d, Slot]:
    slot: object = getattr(layer, "packed", None)
    held = slot.plain(layer) if isinstance(slot, PackedWeight) else nullcontext(layer.weight.detach())
    with held as plain:
        return folded(layer, plain), PackedWeight(alone=True)


def _copied(rows: Tensor, into: Tensor) -> None:
    into.copy_(rows)


def _pairs(weight: Tensor, odd: int, axis: int) -> Tensor:
    """Three taps as two: the last two together for even outputs, the first two for odd ones."""
    first, middle, last = weight.unbind(axis)
    taps = (first + middle, last) if odd else (first, middle + last)
    return torch.stack(taps, axis)
