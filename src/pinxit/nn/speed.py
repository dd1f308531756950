"""The door to everything that makes a network faster and leaves what it computes as it is, but for rounding."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any

from torch import nn

from pinxit.nn.folded import FoldedWeight, folds
from pinxit.nn.fusing import fuse_layers
from pinxit.nn.kernels.attention import CURRENT, AttentionKernel
from pinxit.nn.kernels.fused import FusedKernels
from pinxit.nn.kernels.winograd import WinogradKernel
from pinxit.nn.layers import GEGLU, Conv2d, Linear, unpack
from pinxit.nn.norm import GroupNorm
from pinxit.nn.packed import PackedWeight
from pinxit.nn.rounded import Int8
from pinxit.nn.waiting import Waiting

Tokens = tuple[Token[AttentionKernel | None], ...]
_ENTERED: ContextVar[Tokens] = ContextVar("networks that are computing", default=())


def accelerate(
    network: nn.Module,
    *,
    pack: bool = False,
    kernel: AttentionKernel | None = None,
    fused: FusedKernels | None = None,
    winograd: WinogradKernel | None = None,
    int8: Int8 | None = None,
    waiting: Waiting | None = None,
    fuse: bool = False,
) -> nn.Module:
    """Have `network` hold its weights packed and convolve with them as `winograd` does, attend with `kernel` while its
    `forward` runs, and normalise and gate with `fused`. Returns the network.

    Its state_dict stays as it is; `pinxit.nn.layers.unpack` makes its parameters so. All act without gradients on the
    CPU only. With `int8`, made for this network, most of its layers compute in 8 bits: that is no longer exact, and
    their plain weights are gone. `waiting` weights of this network are packed when they are first needed.

    With `fuse`, on any device and with plain weights only, layers that read the same input become one.
    """
    unpack(network)
    for module in network.modules():
        if isinstance(module, Conv2d | Linear):
            module.packed = PackedWeight(alone=True, winograd=winograd) if pack else None
        if isinstance(module, Conv2d):
            module.folded = FoldedWeight() if pack and folds(module) else None
        if isinstance(module, GroupNorm | GEGLU):
            module.fused = fused
    if fuse and not pack:
        fuse_layers(network)
    if int8 is not None:
        int8.settle()
    if waiting is not None:
        waiting.settle()
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
