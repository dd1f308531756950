"""The parameterised layers, under one roof: torch's own, by the names that the networks use.

Convolutions and linear layers hold a packed copy of their weight where `pinxit.nn.speed.accelerate` asked for one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.nn.folded import FoldedWeight
from pinxit.nn.int8 import Int8Weight
from pinxit.nn.kernels.fused import FusedKernels
from pinxit.nn.memo import Memo
from pinxit.nn.packed import PackedWeight, Source, source_of

LayerNorm = nn.LayerNorm
RMSNorm = nn.RMSNorm


class _Packable(nn.Module):
    """What packed layers share: whoever loads, moves, copies or saves them finds the plain weight in its place."""

    packed: PackedWeight | Int8Weight | None = None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        unpack(self)
        return super()._apply(fn, recurse)

    def _save_to_state_dict(self, *given: Any, **named: Any) -> None:
        unpack(self)
        super()._save_to_state_dict(*given, **named)

    def _load_from_state_dict(self, *given: Any, **named: Any) -> None:
        unpack(self)
        super()._load_from_state_dict(*given, **named)

    def __getstate__(self) -> dict[str, object]:
        unpack(self)
        return self.__dict__.copy()


class Conv2d(_Packable, nn.Conv2d):
    """A convolution over pictures. [B,C,H,W] -> [B,out,H',W']."""

    folded: FoldedWeight | None = None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's name for it
        if self.packed is not None:
            found = self.packed.conv2d(input, self)
            if found is not None:
                return found
            self.packed.give_back(self)
        return super().forward(input)

    def between(self, rows: Tensor) -> Tensor:
        """Convolve rows that bring their neighbours above and below: padded on the left and right only.

        For a 3x3 convolution that looks one pixel around: [B,C,H+2,W] -> [B,out,H,W].
        """
        if self.packed is not None:
            found = self.packed.conv2d(rows, self, (0, 1))
            if found is not None:
                return found
            self.packed.give_back(self)
        return F.conv2d(rows, self.weight, self.bias, padding=(0, 1))


class Linear(_Packable, nn.Linear):
    """A linear map of the last axis. [..., C] -> [..., out]."""

    memo: Memo | None = None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's name for it
        if self.packed is not None:
            found = self.packed.linear(input, self)
            if found is not None:
                return found
            self.packed.give_back(self)
        return super().forward(input)

    def once(self, x: Tensor) -> Tensor:
        """The map of `x`, cast to the layer's dtype, that is computed at its first call and kept while `x` lives.

        For what comes again in every step, such as a prompt. Neither `x` nor the result may be changed in place.
        """
        elsewhere = x.device.type != "cpu" or torch.compiler.is_compiling()
        if elsewhere or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
            return self(x.to(self.weight.dtype))
        if self.memo is None:
            self.memo = Memo()
        stamp = partial(_stamp, x, self)
        return self.memo.of(x, stamp, lambda: self(x.to(self.weight.dtype)))


def _stamp(x: Tensor, layer: Linear) -> tuple[Source, ...]:
    """What a result depends on, as far as torch counts changes in place."""
    return source_of(x), source_of(layer.weight)


def unpack(network: nn.Module) -> None:
    """Give every layer its plain weight back: to be called before anything reads or changes weights themselves.

    They are packed again when the network computes. Loading, moving, copying and `state_dict` do this by themselves.
    """
    for module in network.modules():
        if isinstance(module, Conv2d | Linear) and module.packed is not None:
            module.packed.give_back(module)
            if isinstance(module, Conv2d) and module.folded is not None:
                module.folded.forget()
        if isinstance(module, Linear) and module.memo is not None:
            module.memo.forget()


def enlarge(x: Tensor, size: Sequence[int], conv: Conv2d) -> Tensor:
    """Enlarge `x` [B,C,H,W] to `size` by nearest neighbour, then convolve; doubling is folded into packed weights."""
    doubles = tuple(size) == (2 * x.shape[2], 2 * x.shape[3])
    if doubles and conv.folded is not None and conv.packed is not None and conv.packed.applies(x, conv):
        return conv.folded.doubled(x, conv)
    return conv(F.interpolate(x, size=list(size), mode="nearest"))


class Embedding(nn.Embedding):
    """A table of vectors; drawn with deviation 0.02 where memory is real, as CLIP's are."""

    def __init__(self, count: int, width: int) -> None:
        # Handing the table in skips torch's own drawing of it, which on the meta device loads its whole compiler.
        table = torch.empty(count, width)
        super().__init__(count, width, _weight=table if table.is_meta else table.normal_(std=0.02))


class GEGLU(nn.Module):
    """Gated feed-forward input, `a * gelu(b)` of a projection's halves (Shazeer 2020). [..., C] -> [..., inner]."""

    fused: FusedKernels | None = None

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        both = self.proj(x)
        if self.fused is not None and self.fused.applies(both) and both.is_contiguous():
            return self.fused.geglu(both)
        value, gate = both.chunk(2, dim=-1)
        return value * F.gelu(gate)
