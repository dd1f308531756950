"""Attention in bfloat16 with a kernel of our own: on processors without matrix tiles torch's is three times as slow."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.nn.kernels.build import compiled

SOURCE = Path(__file__).with_name("attention_bf16.cpp")
NEEDS = frozenset({"avx512f", "avx512bw", "avx512vl", "avx512_bf16", "fma"})
"""What the processor must have, as Linux calls it."""
FLAGS = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512bf16", "-mfma")
WIDTHS = range(8, 161)
_TRIALS = ((1, 2, 7, 5, 40), (2, 1, 13, 600, 80), (1, 3, 6, 16, 160), (1, 1, 1, 77, 9))
"""Sizes of the comparison with torch: batch, heads, queries, keys, head width."""
_ALLOWED = 1e-2

Kernel = Callable[..., int]


class AttentionKernel:
    """The compiled kernel, for every call that it is made for."""

    def __init__(self, run: Kernel) -> None:
        self._run = run

    def __call__(self, q_BLC: Tensor, k_BSC: Tensor, v_BSC: Tensor, heads: int) -> Tensor | None:
        """Attention as in `pinxit.nn.attention`, or None where this kernel does not apply."""
        tensors = (q_BLC, k_BSC, v_BSC)
        batch, queries, channels = q_BLC.shape
        keys, width = k_BSC.shape[1], channels // heads
        if width not in WIDTHS or min(batch, queries, keys) < 1 or torch.is_grad_enabled():
            return None
        if any(t.dtype != torch.bfloat16 or t.device.type != "cpu" for t in tensors):
            return None
        if k_BSC.shape != (batch, keys, width * heads) or v_BSC.shape != k_BSC.shape or width * heads != channels:
            return None
        q, k, v = (t if t.stride(-1) == 1 else t.contiguous() for t in tensors)
        out = torch.empty((batch, queries, channels), dtype=torch.bfloat16)
        sizes = (ctypes.c_int64 * 5)(batch, heads, queries, keys, width)
        strides = (ctypes.c_int64 * 6)(*(t.stride(axis) for t in (q, k, v) for axis in (0, 1)))
        pointers = (t.data_ptr() for t in (q, k, v, out))
        failed = self._run(*pointers, sizes, strides, width**-0.5, torch.get_num_threads())
        return None if failed else out


CURRENT: ContextVar[AttentionKernel | None] = ContextVar("attention kernel", default=None)
"""The kernel in force, set by `pinxit.nn.speed` while a network computes."""


def load_attention(folder: Path, processor: Collection[str]) -> AttentionKernel | None:
    """The kernel, compiled into `folder` at first; None where the processor (its flags), a compiler or its results
    are not what it takes.
    """
    return _load(folder) if set(processor) >= NEEDS else None


@cache
def _load(folder: Path) -> AttentionKernel | None:
    library = compiled(SOURCE, folder, FLAGS)
    run: Any = getattr(library, "pinxit_attention_bf16", None)
    if run is None:
        return None
    pointer = ctypes.c_void_p
    run.argtypes = [*[pointer] * 4, pointer, pointer, ctypes.c_float, ctypes.c_int]
    run.restype = ctypes.c_int
    kernel = AttentionKernel(run)
    return kernel if _right(kernel) else None


@torch.inference_mode()
def _right(kernel: AttentionKernel) -> bool:
    """Whether the kernel gives torch's numbers."""
    for batch, heads, queries, keys, width in _TRIALS:
        q, k, v = (
            (0.5 + torch.sin(torch.arange(batch * length * heads * width, dtype=torch.float32) * pace)).bfloat16()
            for length, pace in ((queries, 1.0), (keys, 1.7), (keys, 2.3))
        )
        q_BLC, k_BSC, v_BSC = (t.view(batch, -1, heads * width) for t in (q, k, v))
        found = kernel(q_BLC, k_BSC, v_BSC, heads)
        q, k, v = (t.float().unflatten(-1, (heads, width)).transpose(1, 2) for t in (q_BLC, k_BSC, v_BSC))
        wanted = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        if found is None or not bool((found.float() - wanted).norm() <= _ALLOWED * wanted.norm()):
            return False
    return True
