"""The door to everything that makes a network faster and leaves what it computes as it is, but for rounding."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any

from torch import nn

from pinxit.nn.kernels.attention import CURRENT, AttentionKernel
from pinxit.nn.layers import Conv2d, Linear
from pinxit.nn.packed import PackedWeight

Tokens = tuple[Token[AttentionKernel | None], ...]
_ENTERED: ContextVar[Tokens] = ContextVar("networks that are computing", default=())


def accelerate(network: nn.Module, *, pack: bool = False, kernel: AttentionKernel | None = None) -> nn.Module:
    """Have `network` keep packed weights, and attend with `kernel` while its `forward` runs. Returns the network.

    Its parameters and its state_dict stay as they are. Both act without gradients on the CPU only.
    """
    for module in network.modules():
        if isinstance(module, Conv2d | Linear):
            module.packed = PackedWeight() if pack else None
    if kernel is not None:
        _put_in_force(network, kernel)
    return network


def repack(network: nn.Module) -> None:
    """Forget packed weights: to be called after weights were changed in place."""
    for module in network.modules():
        if isinstance(module, Conv2d | Linear) and module.packed is not None:
            module.packed.forget()


def _put_in_force(network: nn.Module, kernel: AttentionKernel) -> None:
    def enter(_module: nn.Module, _given: tuple[Any, ...]) -> None:
        _ENTERED.set((*_ENTERED.get(), CURRENT.set(kernel)))

    def leave(_module: nn.Module, _given: tuple[Any, ...], _found: Any) -> None:
        *before, token = _ENTERED.get()
        CURRENT.reset(token)
        _ENTERED.set(tuple(before))

    network.register_forward_pre_hook(enter)
    network.register_forward_hook(leave, always_call=True)
