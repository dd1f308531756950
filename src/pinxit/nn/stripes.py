"""Pictures a few rows at a time: what a 3x3 convolution makes of them is the same, and memory holds less at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

BYTES = 4 * 2**20
"""What a stripe takes at most: small enough for a processor's last cache, large enough to keep its cores busy."""
Prepare = Callable[[Tensor, Tensor], None]


class Stripe(NamedTuple):
    """Rows `top` to `end` of a picture. `x` [1,C,rows+2,W] holds them with a row more above and below."""

    top: int
    end: int
    x: Tensor


def stripes(x: Tensor, prepare: Prepare, *, channels: int) -> Iterator[Stripe]:
    """Cut one picture [1,C,H,W] into stripes of equal height, each row prepared once: `prepare(rows, into)`.

    Outside the picture there are zeros, as a convolution pads; `x` of the last stripe may have more of them than it
    needs, so that every stripe has one shape, for which weights are packed once. Their height goes by the width and
    the most `channels` that a row takes before or after the convolution. The rows of a stripe are prepared before it
    is handed out, so what is made of it may take their place.
    """
    _, own, height, width = x.shape
    rows = rows_of(height, width * max(own, channels) * x.element_size())
    shape = (1, own, rows + 2, width)
    held = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    held[:, :, :1].zero_()
    known = 0
    for top in range(0, height, rows):
        if top:
            held[:, :, :2] = held[:, :, rows:].clone()
        until = min(top + rows + 1, height)
        start = known - top + 1
        prepare(x[:, :, known:until], held[:, :, start : start + until - known])
        held[:, :, start + until - known :].zero_()
        known = until
        yield Stripe(top, min(top + rows, height), held)


def rows_of(height: int, row_bytes: int) -> int:
    """The height of each of the fewest equal stripes that stay below `BYTES`."""
    most = max(1, BYTES // max(row_bytes, 1))
    return -(-height // -(-height // most))
