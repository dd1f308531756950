"""The door to everything that makes a network faster and leaves what it computes as it is, but for rounding."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any

from torch import nn

from pinxit.nn.folded import FoldedWeight, folds
from pinxit.nn.kernels.attention import CURRENT, AttentionKernel
from pinxit.nn.layers import Conv2d, Linear, unpack
from pinxit.nn.packed import PackedWeight

Tokens = tuple[Token[AttentionKernel | None], ...]
_ENTERED: ContextVar[Tokens] = ContextVar("networks that are computing", default=())


def accelerate(network: nn.Module, *, pack: bool = False, kernel: AttentionKernel | None = None) -> nn.Module:
    """Have `network` hold its weights packed, and attend with `kernel` while its `forward` runs. Returns the network.

    Its state_dict stays as it is; `pinxit.nn.layers.unpack` makes its parameters so. Both act without gradients on the
    CPU only.
    """
    unpack(network)
    for module in network.modules():
        if isinstance(module, Conv2d | Linear):
            module.packed = PackedWeight(alone=True) if pack else None
        if isinstance(module, Conv2d):
            module.folded = FoldedWeight() if pack and folds(module) else None
    if kernel is not None:
        _put_in_force(network, kernel)
    return network


def _put_in_force(network: nn.Module, kernel: AttentionKernel) -> None:
    def enter(_module: nn.Module, _given: tuple[Any, ...]) -> None:
        _ENTERED.set((*_ENTERED.get(), CURRENT.set(kernel)))

    def leave(_module: nn.Module, _given: tuple[Any, ...], _found: Any) -> None:
        *before, token = _ENTERED.get()
        CURRENT.reset(token)
        _ENTERED.set(tuple(before))

    network.register_forward_pre_hook(enter)
    network.register_forward_hook(leave, always_call=True)
