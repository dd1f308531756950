"""Group normalisation with SiLU behind it, and the gate of GEGLU, each with a kernel of our own that reads once."""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.nn.kernels.build import compiled

SOURCE = Path(__file__).with_name("fused.cpp")
NEEDS = frozenset({"avx512f", "avx512bw", "avx512vl", "fma"})
"""What the processor must have, as Linux calls it."""
FLAGS = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mfma")
DTYPES = (torch.float32, torch.bfloat16)
_TRIALS = ((64, 32, 9, 7), (12, 4, 1, 1), (40, 1, 130, 11))
"""Sizes of the comparison with torch: channels, groups, height, width."""
_ALLOWED = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


class Factors(NamedTuple):
    """What normalises one picture: what each channel is multiplied by, and what is added then. Float32, [C] each."""

    scale: Tensor
    shift: Tensor


class FusedKernels:
    """The compiled kernels. They take what `applies` says, and give nothing back to gradients."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def __deepcopy__(self, memo: dict[int, object]) -> FusedKernels:
        return self

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return _nothing, ()

    def applies(self, x: Tensor) -> bool:
        """Whether these numbers are of the kind that the kernels take, and nothing is to be differentiated."""
        return (
            x.dtype in DTYPES
            and x.numel() > 0
            and x.device.type == "cpu"
            and not torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
        )

    def factors(self, x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Factors | None:
        """What normalises `x` [1,C,H,W], which is in channels-last order, in groups of channels. None without room."""
        channels = x.shape[1]
        scale, shift = torch.empty(2, channels, dtype=torch.float32)
        sizes = (ctypes.c_int64 * 3)(x.numel() // channels, channels, groups)
        given = [None if t is None else t.detach().float().contiguous() for t in (weight, bias)]
        pointers = [None if t is None else t.data_ptr() for t in given]
        failed = self._library.pinxit_norm_factors(
            x.data_ptr(), _half(x), sizes, eps, *pointers, scale.data_ptr(), shift.data_ptr(), torch.get_num_threads()
        )
        return None if failed else Factors(scale, shift)

    def activated(self, x: Tensor, factors: Factors, into: Tensor) -> None:
        """The SiLU of normalised rows `x` [1,C,H,W], `into` others of their shape and dtype, both channels-last."""
        channels = x.shape[1]
        pointers = (factors.scale.data_ptr(), factors.shift.data_ptr())
        self._library.pinxit_normed_silu(
            x.data_ptr(),
            into.data_ptr(),
            _half(x),
            x.numel() // channels,
            channels,
            *pointers,
            torch.get_num_threads(),
        )

    def geglu(self, x: Tensor) -> Tensor:
        """The first half of each row [..., 2*inner] times the gelu of the second. `x` is contiguous."""
        *outer, both = x.shape
        out = torch.empty((*outer, both // 2), dtype=x.dtype)
        rows = x.numel() // both
        self._library.pinxit_geglu(x.data_ptr(), out.data_ptr(), _half(x), rows, both // 2, torch.get_num_threads())
        return out


def load_fused(folder: Path, processor: Collection[str]) -> FusedKernels | None:
    """The kernels, compiled into `folder` at first; None where the processor (its flags), a compiler or their results
    are not what it takes.
    """
    return _load(folder) if set(processor) >= NEEDS else None


@cache
def _load(folder: Path) -> FusedKernels | None:
    library: Any = compiled(SOURCE, folder, FLAGS)
    if library is None:
        return None
    pointer, number, whole = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
    library.pinxit_norm_factors.argtypes = [pointer, whole, pointer, ctypes.c_float, *[pointer] * 4, whole]
    library.pinxit_norm_factors.restype = whole
    library.pinxit_normed_silu.argtypes = [*[pointer] * 2, whole, *[number] * 2, *[pointer] * 2, whole]
    library.pinxit_normed_silu.restype = None
    library.pinxit_geglu.argtypes = [*[pointer] * 2, whole, *[number] * 2, whole]
    library.pinxit_geglu.restype = None
    kernels = FusedKernels(library)
    return kernels if _right(kernels) else None


def _nothing() -> None:
    """What stands for the kernels in a pickle: they are loaded on each machine."""


def _half(x: Tensor) -> int:
    return int(x.dtype == torch.bfloat16)


@torch.inference_mode()
def _right(kernels: FusedKernels) -> bool:
    """Whether the kernels give torch's numbers."""
    for dtype in DTYPES:
        for channels, groups, height, width in _TRIALS:
            numbers = torch.arange(channels * height * width, dtype=torch.float32)
            x = (2 + torch.sin(numbers) * 3).to(dtype).view(1, height, width, channels).permute(0, 3, 1, 2)
            weight, bias = torch.linspace(-1, 2, channels), torch.linspace(1, -1, channels)
            factors, found = kernels.factors(x, groups, weight, bias, 1e-6), torch.empty_like(x)
            if factors is None:
                return False
            kernels.activated(x, factors, found)
            wanted = F.silu(F.group_norm(x.float(), groups, weight, bias, 1e-6))
            value, gate = (x.permute(0, 2, 3, 1).float()).chunk(2, dim=-1)
            gated = kernels.geglu(x.permute(0, 2, 3, 1))
            pairs = ((found, wanted), (gated, value * F.gelu(gate)))
            if not all((a.float() - b).norm() <= _ALLOWED[dtype] * b.norm() for a, b in pairs):
                return False
    return True
