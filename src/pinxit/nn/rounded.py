"""Which layers of a network compute in 8 bits, and how they come to their weights."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn

from pinxit.nn.folded import AT_ONCE, KINDS, FoldedWeight, folded, folds
from pinxit.nn.int8 import Int8Weight, Whole, to_whole
from pinxit.nn.kernels.quantise import Quantise, quantise_plainly
from pinxit.nn.layers import Conv2d, Linear

NARROWEST = 16
"""Layers with fewer channels going in or out stay as they are: they gain nothing, and errors show most there."""


class Int8:
    """One network in 8 bits: its layers that are to be, and their weights as far as they were rounded while being read.

    `exact_parts` of the network, where it has them, name the modules that stay as they are. `take` belongs into the
    hands of what reads the weights, the whole then into those of `pinxit.nn.speed.accelerate`. `dtype` is what the
    layers give back; activations are rounded by `quantise`.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype, quantise: Quantise = quantise_plainly) -> None:
        exact: Iterable[str] = getattr(network, "exact_parts", ())
        self._dtype, self._quantise = dtype, quantise
        self._taken: dict[str, Whole] = {}
        self._layers = {
            name: module
            for name, module in network.named_modules()
            if isinstance(module, Conv2d | Linear)
            and _wide(module)
            and not any(f".{part}." in f".{name}." for part in exact)
        }

    def take(self, name: str, weight: Tensor) -> bool:
        """Round the tensor `name` and keep it, if it is a weight in 8 bits; whether it is."""
        layer, _, kind = name.rpartition(".")
        if kind != "weight" or layer not in self._layers:
            return False
        self._taken[layer] = to_whole(weight)
        return True

    def settle(self) -> None:
        """Give every layer its weight: what was taken, or else its plain one in 8 bits, which is let go; none yet where
        that is empty, because it waits.
        """
        for name, layer in self._layers.items():
            weight = self._taken.pop(name, None)
            if weight is None and layer.weight.numel():
                weight = to_whole(layer.weight.detach())
            layer.weight = nn.Parameter(torch.empty(0, dtype=self._dtype), requires_grad=False)
            layer.packed = slot = Int8Weight(self._quantise, weight)
            if isinstance(layer, Conv2d):
                layer.folded = FoldedWeight(partial(_folded, slot, self._quantise)) if folds(layer) else None


def _folded(slot: Int8Weight, quantise: Quantise, layer: nn.Conv2d) -> tuple[nn.Conv2d, Int8Weight]:
    """The layer folded and rounded anew, a few channels at a time. Its own weight stays, for other sizes."""
    count, kinds = layer.out_channels, len(KINDS)
    values = torch.empty((kinds, count, layer.in_channels, 2, 2), dtype=torch.int8)
    scales = torch.empty((kinds, count))
    whole = slot.whole(layer)
    with torch.device("meta"):
        some = nn.Conv2d(layer.in_channels, AT_ONCE, 3, padding=1, bias=False)
        conv = nn.Conv2d(layer.in_channels, kinds * count, 2, padding=1)
    for first in range(0, count, AT_ONCE):
        rows = slice(first, first + AT_ONCE)
        some.weight = nn.Parameter(whole.values[rows] * whole.scales[rows, None, None, None], requires_grad=False)
        some.out_channels = len(some.weight)
        part = to_whole(folded(some, some.weight.detach()).weight)
        values[:, rows] = part.values.unflatten(0, (kinds, -1))
        scales[:, rows] = part.scales.unflatten(0, (kinds, -1))
    conv.weight = nn.Parameter(torch.empty(0, dtype=layer.weight.dtype), requires_grad=False)
    conv.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().repeat(kinds), requires_grad=False)
    return conv, Int8Weight(quantise, Whole(values.flatten(0, 1), scales.flatten()))


def _wide(layer: Conv2d | Linear) -> bool:
    if isinstance(layer, Linear):
        return min(layer.in_features, layer.out_features) >= NARROWEST
    plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str) and layer.groups == 1
    return plain and min(layer.in_channels, layer.out_channels) >= NARROWEST
