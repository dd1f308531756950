"""The parameterised layers, under one roof: torch's own, by the names that the networks use.

Convolutions and linear layers hold a packed copy of their weight where `pinxit.nn.speed.accelerate` asked for one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.nn.folded import FoldedWeight
from pinxit.nn.packed import PackedWeight

LayerNorm = nn.LayerNorm
RMSNorm = nn.RMSNorm


class _Packable(nn.Module):
    """What packed layers share: whoever loads, moves, copies or saves them finds the plain weight in its place."""

    packed: PackedWeight | None = None

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


class Linear(_Packable, nn.Linear):
    """A linear map of the last axis. [..., C] -> [..., out]."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's name for it
        if self.packed is not None:
            found = self.packed.linear(input, self)
            if found is not None:
                return found
            self.packed.give_back(self)
        return super().forward(input)


def unpack(network: nn.Module) -> None:
    """Give every layer its plain weight back: to be called before anything reads or changes weights themselves.

    They are packed again when the network computes. Loading, moving, copying and `state_dict` do this by themselves.
    """
    for module in network.modules():
        if isinstance(module, Conv2d | Linear) and module.packed is not None:
            module.packed.give_back(module)
            if isinstance(module, Conv2d) and module.folded is not None:
                module.folded.forget()


def enlarge(x: Tensor, size: Sequence[int], conv: Conv2d) -> Tensor:
    """Enlarge `x` [B,C,H,W] to `size` by nearest neighbour, then convolve; doubling is folded into packed weights."""
    doubles = tuple(size) == (2 * x.shape[2], 2 * x.shape[3])
    if doubles and conv.folded is not None and conv.packed is not None and conv.packed.applies(x, conv):
        if conv.weight.numel() == 0:
            unpack(conv)
        return conv.folded.doubled(x, conv)
    return conv(F.interpolate(x, size=list(size), mode="nearest"))


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu & He 2018), with the 32 groups of most Stable Diffusion networks."""

    def __init__(self, channels: int, *, groups: int = 32, eps: float = 1e-5) -> None:
        super().__init__(groups, channels, eps=eps)


class Embedding(nn.Embedding):
    """A table of vectors; drawn with deviation 0.02 where memory is real, as CLIP's are."""

    def __init__(self, count: int, width: int) -> None:
        # Handing the table in skips torch's own drawing of it, which on the meta device loads its whole compiler.
        table = torch.empty(count, width)
        super().__init__(count, width, _weight=table if table.is_meta else table.normal_(std=0.02))


class GEGLU(nn.Module):
    """Gated feed-forward input, `a * gelu(b)` of a projection's halves (Shazeer 2020). [..., C] -> [..., inner]."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)
