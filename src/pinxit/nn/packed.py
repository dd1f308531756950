"""Weights in the processor library's own order, so that it need not sort them on every call.

The one file that touches `torch.ops.mkldnn`, which torch keeps for itself and may change: `available` compares every
operation with the public one before its first use, and without them the layers compute as torch's own do.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.nn.kernels.winograd import WinogradKernel, in_blocks, in_order
from pinxit.nn.pages import own_pages

DTYPES = (torch.float32, torch.bfloat16)
Shape: TypeAlias = tuple[int, ...]
Lend: TypeAlias = Callable[[], AbstractContextManager[Tensor]]
"""Gives a tensor that is there as long as the context lasts."""
Source: TypeAlias = tuple[int, int | None, torch.dtype, Shape, Shape]
_ops: Any = torch.ops.mkldnn


class _Kept(NamedTuple):
    """A packed weight, what it was packed from, the input's shape that it was packed for, and what unpacks it."""

    source: Source
    shape: Shape
    weight: Tensor
    unpack: Callable[[Tensor], Tensor]


class PackedWeight:
    """One layer's packed weight: made at the first call, made anew when the weight or the input's size changes.

    A size must come twice in a row before a convolution's weight is packed for it; until then it is used as it is,
    which gives the same numbers and takes longer. A linear layer's is packed for no size in particular: its order would
    decide the order of summation, and a picture must not depend on those before it. Neither is one for `winograd`,
    which computes the convolutions that it takes.

    With `alone` the plain weight is let go, and an empty one stands in its place until `give_back` unpacks it, so that
    memory holds it once; with `wait_for` it is not even read before the first call. Otherwise a change in place is
    noticed by torch's version counter; tensors made in inference mode have none, so whoever changes those calls
    `give_back` first. Safe in several threads: what is kept is replaced in one step, and never changed.
    """

    __slots__ = ("_alone", "_kept", "_last", "_lend", "_winograd")

    def __init__(self, *, alone: bool = False, winograd: WinogradKernel | None = None) -> None:
        self._alone = alone
        self._winograd = winograd
        self._kept: _Kept | None = None
        self._last: Shape = ()
        self._lend: Lend | None = None

    def wait_for(self, lend: Lend) -> None:
        """Have the layer's weight, in whose place an empty one stands, lent when it is needed."""
        self._lend = lend

    def give_back(self, layer: nn.Conv2d | nn.Linear) -> None:
        """See that the layer holds its plain weight, and pack again at the next call."""
        if layer.weight.numel() == 0:
            with self.plain(layer) as plain:
                layer.weight = nn.Parameter(plain.clone(), requires_grad=layer.weight.requires_grad)
        self._kept, self._last, self._lend = None, (), None

    @contextmanager
    def plain(self, layer: nn.Conv2d | nn.Linear) -> Generator[Tensor]:
        """The plain weight, wherever it is, for as long as the context lasts."""
        kept, lend, weight = self._kept, self._lend, layer.weight.detach()
        if weight.numel() or (kept is None and lend is None):
            yield weight
        elif kept is not None:
            yield kept.unpack(kept.weight)
        elif lend is not None:
            with lend() as lent:
                yield lent

    def __deepcopy__(self, memo: dict[int, object]) -> PackedWeight:
        return PackedWeight(alone=self._alone, winograd=self._winograd)

    def __reduce__(self) -> tuple[Any, tuple[bool]]:
        return _empty, (self._alone,)

    def applies(self, x: Tensor, layer: nn.Conv2d) -> bool:
        """Whether `conv2d` will answer."""
        plain = not isinstance(layer.padding, str) and layer.padding_mode == "zeros"
        return x.ndim == 4 and plain and _applies(x, layer)

    def conv2d(self, x: Tensor, layer: nn.Conv2d, padding: Shape | None = None) -> Tensor | None:
        """The convolution of `x` [B,C,H,W], or None where the packed one does not apply.

        `padding` stands for the layer's own, one for all calls of a layer.
        """
        if isinstance(layer.padding, str) or not self.applies(x, layer):
            return None
        sides, stride, dilation = list(padding or layer.padding), list(layer.stride), list(layer.dilation)
        if self._winograd is not None and self._winograd.takes(x, layer, sides):
            blocks = self._weight(layer, (), in_blocks, in_order)
            return self._winograd(x, blocks, layer.bias, above=sides[0])
        shape = tuple(x.shape)

        def pack(weight: Tensor) -> Tensor:
            return _ops._reorder_convolution_weight(weight, sides, stride, dilation, layer.groups, list(shape))

        settings = (sides, stride, dilation, layer.groups, "none", [], "")
        return _ops._convolution_pointwise(x, self._weight(layer, shape, pack), layer.bias, *settings)

    def linear(self, x: Tensor, layer: nn.Linear) -> Tensor | None:
        """The linear map of `x` [..., C], or None where the packed one does not apply."""
        if x.ndim < 2 or not _applies(x, layer):
            return None
        weight = self._weight(layer, (), _ops._reorder_linear_weight)
        return _ops._linear_pointwise(x.contiguous(), weight, layer.bias, "none", [], "")

    def _weight(
        self,
        layer: nn.Conv2d | nn.Linear,
        shape: Shape,
        pack: Callable[[Tensor], Tensor],
        unpack: Callable[[Tensor], Tensor] = Tensor.to_dense,
    ) -> Tensor:
        plain = layer.weight.detach()
        source, kept, last = source_of(plain), self._kept, self._last
        self._last = shape
        if (
            kept is not None
            and kept.unpack is unpack
            and (kept.source == source or plain.numel() == 0)
            and (kept.shape == shape or last != shape)
        ):
            return kept.weight
        with self.plain(layer) as plain, own_pages():
            kept = _Kept(source, shape, pack(plain), unpack)
        self._kept = kept
        if self._alone and layer.weight.numel():
            layer.weight = nn.Parameter(plain.new_empty(0), requires_grad=layer.weight.requires_grad)
        return kept.weight


def _empty(alone: bool) -> PackedWeight:
    return PackedWeight(alone=alone)


def source_of(weight: Tensor) -> Source:
    """What tells a weight from another, and from itself after a change in place where torch counts those."""
    version = None if weight.is_inference() else weight._version
    return weight.data_ptr(), version, weight.dtype, tuple(weight.shape), weight.stride()


def _applies(x: Tensor, layer: nn.Conv2d | nn.Linear) -> bool:
    """Whether nothing is to be differentiated, cast or moved, and there is anything to compute."""
    weight = layer.weight
    return (
        x.dtype == weight.dtype
        and x.numel() > 0
        and not torch.is_grad_enabled()
        and x.device.type == weight.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and available(x.dtype)
    )


@cache
def available(dtype: torch.dtype) -> bool:
    """Whether this torch packs weights of `dtype` and computes the right numbers with them."""
    if dtype not in DTYPES or not torch.backends.mkldnn.is_available():
        return False
    try:
        with torch.inference_mode():
            return _convolves(dtype) and _maps(dtype)
    except (AttributeError, RuntimeError, TypeError):
        return False


def _convolves(dtype: torch.dtype) -> bool:
    x, weight, bias = _example(dtype, (2, 8, 7, 5), (16, 8, 3, 3))
    packed = _ops._reorder_convolution_weight(weight, [1, 1], [2, 2], [1, 1], 1, list(x.shape))
    found = _ops._convolution_pointwise(x, packed, bias, [1, 1], [2, 2], [1, 1], 1, "none", [], "")
    if not torch.equal(packed.to_dense(), weight):
        return False
    return _alike(found, F.conv2d(x.float(), weight.float(), bias.float(), stride=2, padding=1), dtype)


def _maps(dtype: torch.dtype) -> bool:
    x, weight, bias = _example(dtype, (2, 3, 24), (40, 24))
    packed = _ops._reorder_linear_weight(weight)
    found = _ops._linear_pointwise(x, packed, bias, "none", [], "")
    if not torch.equal(packed.to_dense(), weight):
        return False
    return _alike(found, F.linear(x.float(), weight.float(), bias.float()), dtype)


def _example(dtype: torch.dtype, given: Shape, weight: Shape) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers between -1 and 1 in every place, without drawing any."""
    return (
        torch.sin(torch.arange(torch.Size(given).numel(), dtype=torch.float32)).view(given).to(dtype),
        torch.cos(torch.arange(torch.Size(weight).numel(), dtype=torch.float32)).view(weight).to(dtype),
        torch.linspace(-1, 1, weight[0]).to(dtype),
    )


def _alike(found: Tensor, wanted: Tensor, dtype: torch.dtype) -> bool:
    allowed = 1e-5 if dtype == torch.float32 else 1e-2
    same_kind = found.dtype == dtype and found.shape == wanted.shape
    return same_kind and bool((found.float() - wanted).abs().max() <= allowed * wanted.abs().max())
