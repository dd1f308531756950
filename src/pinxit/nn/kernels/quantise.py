"""Activations as 8-bit numbers, each tensor by its own range: with a kernel of our own, or with torch's operations.

Both give the same numbers to the last bit.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from pinxit.nn.kernels.build import compiled

SOURCE = Path(__file__).with_name("quantise_u8.cpp")
NEEDS = frozenset({"avx512f", "avx512bw", "avx512vl", "fma"})
"""What the processor must have, as Linux calls it."""
FLAGS = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mfma")
STEPS, LEAST = 254, 1e-30
"""Steps between the least and the greatest number, and the smallest step."""
_TRIALS = (1, 15, 16, 1000, 70_001)


class Rounded(NamedTuple):
    """Numbers in 8 bits, 0 to 255: `values` - `zero`, times `step`. A `step` of NaN says that some were not finite."""

    values: Tensor
    step: float
    zero: int


Quantise: TypeAlias = Callable[[Tensor], Rounded]
"""Rounds a dense float32 or bfloat16 tensor; what comes back has its shape and its order in memory."""


def quantise_plainly(x: Tensor) -> Rounded:
    """Round with torch's operations.

    The range from the least to the greatest number, with zero in it, is cut into 254 steps; zero is a whole number of
    them, 1 at least, so that what pads a picture stays zero.
    """
    low, high = (float(bound) for bound in torch.aminmax(x))
    if not math.isfinite(low) or not math.isfinite(high):
        return Rounded(torch.zeros_like(x, dtype=torch.uint8), math.nan, 1)
    low, high = min(low, 0.0), max(high, 0.0)
    step = max((high - low) / STEPS, LEAST)
    zero = min(1 + round(-low / step), 255)
    factor = torch.tensor(1 / step, dtype=torch.float32)
    return Rounded((x.float() * factor).round_().add_(zero).clamp_(0, 255).to(torch.uint8), step, zero)


def load_quantise(folder: Path, processor: Collection[str]) -> Quantise:
    """The kernel, compiled into `folder` at first; torch's operations where the processor (its flags), a compiler or
    its results are not what it takes.
    """
    kernel = _load(folder) if set(processor) >= NEEDS else None
    return kernel or quantise_plainly


@cache
def _load(folder: Path) -> Quantise | None:
    run: Any = getattr(compiled(SOURCE, folder, FLAGS), "pinxit_quantise_u8", None)
    if run is None:
        return None
    pointer = ctypes.c_void_p
    run.argtypes = [pointer, pointer, ctypes.c_int64, ctypes.c_int, pointer, ctypes.c_int]
    run.restype = None

    def quantise(x: Tensor) -> Rounded:
        values, found = torch.empty_like(x, dtype=torch.uint8), (ctypes.c_double * 2)()
        half = int(x.dtype == torch.bfloat16)
        run(x.data_ptr(), values.data_ptr(), x.numel(), half, found, torch.get_num_threads())
        return Rounded(values, found[0], int(found[1]))

    return quantise if _right(quantise) else None


def _right(quantise: Quantise) -> bool:
    """Whether the kernel gives the very numbers that torch's operations give."""
    for count in _TRIALS:
        for dtype in (torch.float32, torch.bfloat16):
            x = (torch.sin(torch.arange(count, dtype=torch.float32)) * 3 + 0.7).to(dtype)
            found, wanted = quantise(x), quantise_plainly(x)
            if found[1:] != wanted[1:] or not torch.equal(found.values, wanted.values):
                return False
    return True
