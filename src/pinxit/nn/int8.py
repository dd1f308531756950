"""Convolutions and linear maps in 8-bit whole numbers: twice as fast as bfloat16, and off by a part in a hundred.

A weight is rounded once, each output channel by its own largest number; what it is applied to is rounded at every call,
each picture of a batch by its own range. So what comes out depends on nothing that was computed before or beside it:
sums of whole numbers are exact in any order, on any number of threads and however the weight is packed.

The one file that touches `torch.ops.onednn`, which torch keeps for itself and may change: `why_not` compares every
operation with the public ones before its first use.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.nn.kernels.quantise import LEAST, Quantise, quantise_plainly
from pinxit.nn.packed import DTYPES, Lend, Shape
from pinxit.nn.pages import own_pages
from pinxit.schema.errors import ModelError

LARGEST = 127
PART = 2**18
"""How many weights are rounded at once: what that needs stays in the processor's cache."""
Layer: TypeAlias = nn.Conv2d | nn.Linear
_ops: Any = torch.ops.onednn


class Whole(NamedTuple):
    """A weight [out, ...] in whole numbers from -127 to 127, and what one is worth in each output channel [out]."""

    values: Tensor
    scales: Tensor


class _Kept(NamedTuple):
    """A weight, packed for inputs of `shape`, or plain where that is None; `zeros` say that its own zero is 0."""

    weight: Whole
    zeros: Tensor
    shape: Shape | None


class Int8Weight:
    """One layer's weight in 8 bits, in the place where others hold a `PackedWeight`.

    The plain weight is let go for good, and an empty one stands in its place: what was rounded away cannot be given
    back. A new plain weight assigned to the layer is rounded in its turn at the next call; with `wait_for` the first
    one is not even read before that. A convolution's is packed for the input's size at first, and for another one when
    that comes twice in a row.
    """

    __slots__ = ("_kept", "_last", "_lend", "_quantise")

    def __init__(self, quantise: Quantise, weight: Whole | None = None) -> None:
        self._quantise = quantise
        self._kept = None if weight is None else _plain(weight)
        self._last: Shape | None = None
        self._lend: Lend | None = None

    def wait_for(self, lend: Lend) -> None:
        """Have the layer's weight, in whose place an empty one stands, lent when it is needed."""
        self._lend = lend

    def give_back(self, layer: Layer) -> None:
        """Raises ModelError: whoever asks for the plain weight must load the model anew."""
        if self._kept is not None or layer.weight.numel() == 0:
            raise _lost()

    def applies(self, x: Tensor, layer: nn.Conv2d) -> bool:  # noqa: ARG002  a PackedWeight looks at both
        """Whether `conv2d` will answer: always."""
        return True

    def conv2d(self, x: Tensor, layer: nn.Conv2d, padding: Shape | None = None) -> Tensor:
        """The convolution of `x` [B,C,H,W]; `padding` stands for the layer's own. Raises ModelError for gradients."""
        _check(x)
        x = x.contiguous(memory_format=torch.channels_last)
        around = [int(side) for side in padding or layer.padding]
        settings = (list(layer.stride), around, list(layer.dilation), layer.groups)
        shape = (1, *x.shape[1:])

        def pack(weight: Whole) -> Tensor:
            return _ops.qconv_prepack(weight.values, weight.scales, 1.0, 1, *settings, list(shape))

        return self._each(x, layer, self._weight(layer, shape, pack), _ops.qconv_pointwise, settings)

    def linear(self, x: Tensor, layer: nn.Linear) -> Tensor:
        """The linear map of `x` [..., C]. Raises ModelError for gradients."""
        _check(x)
        if x.ndim == 1:
            return self.linear(x[None], layer)[0]
        kept = self._weight(layer, (), lambda weight: _ops.qlinear_prepack(weight.values, None))
        return self._each(x.contiguous(), layer, kept, _ops.qlinear_pointwise, ())

    def whole(self, layer: nn.Conv2d) -> Whole:
        """The weight as the layer computes with it, in its usual order; not kept where it can be had again."""
        waiting = self._waiting(layer)
        if waiting is not None:
            return waiting
        kept = self._newest(layer)
        return kept.weight._replace(values=_unpacked(kept.weight.values))

    def _each(self, x: Tensor, layer: Layer, kept: _Kept, run: Any, settings: tuple[Any, ...]) -> Tensor:
        """`run` on every picture of the batch, each rounded by its own range."""
        bias = None if layer.bias is None else layer.bias.float()
        found: list[Tensor] = []
        for picture in x.split(1) if len(x) > 1 else (x,):
            rounded = self._quantise(picture)
            given = (rounded.values, rounded.step, rounded.zero, *kept.weight, kept.zeros, bias)
            found.append(run(*given, *settings, 1.0, 0, x.dtype, "none", [], ""))
        return found[0] if len(found) == 1 else torch.cat(found)

    def _weight(self, layer: Layer, shape: Shape, pack: Callable[[Whole], Tensor]) -> _Kept:
        kept, last = self._newest(layer), self._last
        self._last = shape
        if kept.shape != shape and (kept.shape is None or last == shape):
            values, scales = kept.weight
            with own_pages():
                packed = pack(Whole(_unpacked(values), scales))
            kept = self._kept = _Kept(Whole(packed, scales), kept.zeros, shape)
        return kept

    def _newest(self, layer: Layer) -> _Kept:
        """What is kept, or the plain weight of the layer in its place, where there is one again."""
        plain, kept = layer.weight.detach(), self._kept
        if plain.numel():
            kept = self._kept = _plain(to_whole(plain))
            layer.weight = nn.Parameter(plain.new_empty(0), requires_grad=False)
        elif (waiting := self._waiting(layer)) is not None:
            kept = self._kept = _plain(waiting)
        if kept is None:
            raise _lost()
        return kept

    def _waiting(self, layer: Layer) -> Whole | None:
        """The weight as it waits in the file, where it still does."""
        if self._kept is not None or self._lend is None or layer.weight.numel():
            return None
        with self._lend() as lent:
            return to_whole(lent)


@torch.inference_mode()
def to_whole(weight: Tensor) -> Whole:
    """Round a weight [out, ...]: the largest number of each output channel becomes 127. NaN stays, as a scale."""
    values = torch.empty(weight.shape, dtype=torch.int8)
    scales = torch.empty(weight.shape[0])
    rows = max(1, PART // weight[0].numel())
    for first in range(0, weight.shape[0], rows):
        part = weight[first : first + rows].to(torch.float32, copy=True)
        each = part.abs().flatten(1).amax(1).div_(LARGEST).clamp_min_(LEAST)
        part.div_(each.view(-1, *[1] * (part.ndim - 1))).round_().nan_to_num_(0.0)
        values[first : first + rows] = part
        scales[first : first + rows] = each
    return Whole(values, scales)


def _plain(weight: Whole) -> _Kept:
    return _Kept(weight, torch.zeros(weight.scales.shape, dtype=torch.int8), None)


def _unpacked(values: Tensor) -> Tensor:
    """The weight in its usual order."""
    return values.to_dense() if values.is_mkldnn else values


def _lost() -> ModelError:
    return ModelError(
        "The network's weights were rounded to 8 bits, and the exact ones are gone.",
        hint="Load the model again in another precision.",
    )


def _check(x: Tensor) -> None:
    if x.dtype not in DTYPES or x.device.type != "cpu" or (x.requires_grad and torch.is_grad_enabled()):
        raise ModelError(
            f"A network in 8 bits computes from float32 or bfloat16 on the processor, without gradients, "
            f"not from {str(x.dtype).removeprefix('torch.')} on {x.device.type}.",
            hint="Load the model again in another precision.",
        )


@cache
def why_not(dtype: torch.dtype) -> str | None:
    """Why this torch on this processor does not compute in 8 bits and give `dtype` back; None if it does."""
    if dtype not in DTYPES:
        return f"it does not work beside {str(dtype).removeprefix('torch.')}"
    if not torch.backends.mkldnn.is_available():
        return "this torch was built without oneDNN"
    try:
        with torch.inference_mode():
            right = _convolves(dtype) and _maps(dtype)
    except (AttributeError, RuntimeError, TypeError) as error:
        return f"torch {torch.__version__} lacks an operation for it ({str(error).strip().splitlines()[0]})"
    return None if right else "the sums of 8-bit numbers come out wrong on this processor"


def _convolves(dtype: torch.dtype) -> bool:
    with torch.device("meta"):
        layer = nn.Conv2d(32, 16, 3, stride=2, padding=1)
    weight, bias = _fill(layer)
    x = _example((2, 32, 7, 5)).to(dtype)
    wanted = [F.conv2d(seen, weight, bias, stride=2, padding=1) for seen in _seen(x)]
    return _alike(Int8Weight(quantise_plainly).conv2d(x, layer), torch.cat(wanted), dtype)


def _maps(dtype: torch.dtype) -> bool:
    with torch.device("meta"):
        layer = nn.Linear(96, 40)
    weight, bias = _fill(layer)
    x = _example((2, 6, 96)).to(dtype)
    wanted = [F.linear(seen, weight, bias) for seen in _seen(x)]
    return _alike(Int8Weight(quantise_plainly).linear(x, layer), torch.cat(wanted), dtype)


def _example(shape: Shape) -> Tensor:
    """Waves, and last of all ones: the largest sums of products that there can be show whether they overflow."""
    waves = torch.sin(torch.arange(torch.Size(shape).numel(), dtype=torch.float32)).view(shape)
    waves[-1] = 1
    return waves


def _fill(layer: Layer) -> tuple[Tensor, Tensor]:
    """Give the layer a weight and a bias; returns what the weight is once it was rounded, and the bias."""
    weight, bias = _example(tuple(layer.weight.shape)), torch.linspace(-1, 1, layer.weight.shape[0])
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    values, scales = to_whole(weight)
    return values * scales.view(-1, *[1] * (weight.ndim - 1)), bias


def _seen(x: Tensor) -> list[Tensor]:
    """What a layer sees of every picture."""
    rounded = [quantise_plainly(picture) for picture in x.split(1)]
    return [(one.values.float() - one.zero) * one.step for one in rounded]


def _alike(found: Tensor, wanted: Tensor, dtype: torch.dtype) -> bool:
    allowed = 1e-5 if dtype == torch.float32 else 1e-2
    same_kind = found.dtype == dtype and found.shape == wanted.shape
    return same_kind and bool((found.float() - wanted).abs().max() <= allowed * wanted.abs().max())
