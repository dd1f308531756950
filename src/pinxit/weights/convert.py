"""The tensors of one table entry, from their form to ours and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pinxit.weights.layout import Entry, Op


def to_ours(entry: Entry, theirs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Our tensors of `entry` from those in the file; views where nothing but the shape changes."""
    tensors = _regroup(theirs, len(entry.ours))
    if entry.op is Op.SQUEEZE:
        return tuple(t[:, :, None, None] if t.ndim == 2 else t for t in tensors)
    if entry.op is Op.COLUMN:
        return tuple(t[:, None] if t.ndim == 1 else t for t in tensors)
    return tuple(_turn(entry.op, t) for t in tensors)


def to_theirs(entry: Entry, ours: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The file's tensors of `entry` from ours: the inverse of `to_ours`."""
    tensors = _regroup(ours, len(entry.theirs))
    if entry.op is Op.SQUEEZE:
        return tuple(t[:, :, 0, 0] if t.ndim == 4 else t for t in tensors)
    if entry.op is Op.COLUMN:
        return tuple(t[:, 0] if t.ndim == 2 else t for t in tensors)
    return tuple(_turn(entry.op, t) for t in tensors)


def _regroup(tensors: Sequence[Tensor], count: int) -> tuple[Tensor, ...]:
    if count == len(tensors):
        return tuple(tensors)
    if len(tensors) == 1:
        return tuple(tensors[0].chunk(count))
    return (torch.cat(list(tensors)),)


def _turn(op: Op | None, tensor: Tensor) -> Tensor:
    """The two changes that are their own inverses."""
    if op is Op.SWAP:
        first, second = tensor.chunk(2)
        return torch.cat([second, first])
    if op is Op.TRANSPOSE and tensor.ndim == 2:
        return tensor.t().contiguous()
    return tensor
