"""3x3 convolutions in float32 with a kernel of our own, which multiplies 4 times where others do 9 times."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.nn.kernels.build import compiled

SOURCE = Path(__file__).with_name("winograd.cpp")
BUILDS = (({"avx512f"}, ("-mavx512f",)), ({"avx2", "fma"}, ("-mavx2", "-mfma")))
"""What a build needs the processor to have, as Linux calls it, and its flags; the best first."""
BLOCK = 32
"""So many output channels of a weight lie together; channels come in multiples of it."""
TILES = 32
"""A picture of fewer tiles of 2x2 pixels is convolved as usual, which then takes less time."""
_TRIALS = ((32, 64, 17, 19), (96, 32, 16, 16), (352, 32, 3, 140))
"""Sizes of the comparison with torch: channels before and after, height, width."""
_ALLOWED = 1e-5

Run = Callable[..., int]


class WinogradKernel:
    """The compiled kernel, for the convolutions that `takes` says."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __deepcopy__(self, memo: dict[int, object]) -> WinogradKernel:
        return self

    def takes(self, x: Tensor, layer: nn.Conv2d, padding: Collection[int]) -> bool:
        """Whether it convolves `x` [B,C,H,W] as `layer` does with this padding, and faster."""
        settings = (layer.kernel_size, layer.stride, layer.dilation, layer.groups)
        if settings != ((3, 3), (1, 1), (1, 1), 1) or tuple(padding) not in {(0, 1), (1, 1)}:
            return False
        _, channels, height, width = x.shape
        rows = height - 2 + 2 * next(iter(padding))
        whole = channels % BLOCK == layer.out_channels % BLOCK == 0 and channels == layer.in_channels
        return x.dtype == torch.float32 and whole and -(-rows // 2) * -(-width // 2) >= TILES

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None, *, above: int) -> Tensor:
        """The convolution of `x` [B,C,H,W] with a weight in blocks. Raises MemoryError.

        A column of zeros is to the left and right, and `above`, 0 or 1, rows of them above and below. The result is in
        channels-last order.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        batch, channels, height, width = x.shape
        out_channels = weight.shape[0] * BLOCK
        shape = (batch, out_channels, height - 2 + 2 * above, width)
        out = torch.empty(shape, dtype=torch.float32, memory_format=torch.channels_last)
        sizes = (ctypes.c_int64 * 6)(batch, channels, height, width, out_channels, above)
        added = None if bias is None else bias.detach().contiguous()
        pointers = (weight.data_ptr(), None if added is None else added.data_ptr(), out.data_ptr())
        if self._run(x.data_ptr(), sizes, *pointers, torch.get_num_threads()):
            raise MemoryError("There is no memory left for a convolution.")
        return out


def in_blocks(weight: Tensor) -> Tensor:
    """A weight [out,in,3,3] as the kernel reads it: [out/32,in,9,32]."""
    count, channels = weight.shape[:2]
    return weight.reshape(count // BLOCK, BLOCK, channels, 9).permute(0, 2, 3, 1).contiguous()


def in_order(weight: Tensor) -> Tensor:
    """The same weight as it was."""
    blocks, channels = weight.shape[:2]
    return weight.permute(0, 3, 1, 2).contiguous().view(blocks * BLOCK, channels, 3, 3)


def load_winograd(folder: Path, processor: Collection[str]) -> WinogradKernel | None:
    """The kernel, compiled into `folder` at first; None where the processor (its flags), a compiler or its results
    are not what it takes.
    """
    flags = next((flags for needs, flags in BUILDS if set(processor) >= needs), None)
    return None if flags is None else _load(folder, flags)


@cache
def _load(folder: Path, flags: tuple[str, ...]) -> WinogradKernel | None:
    run: Any = getattr(compiled(SOURCE, folder, flags), "pinxit_winograd", None)
    if run is None:
        return None
    pointer = ctypes.c_void_p
    run.argtypes = [*[pointer] * 5, ctypes.c_int]
    run.restype = ctypes.c_int
    kernel = WinogradKernel(run)
    return kernel if _right(kernel) else None


@torch.inference_mode()
def _right(kernel: WinogradKernel) -> bool:
    """Whether the kernel gives torch's numbers."""
    for channels, count, height, width in _TRIALS:
        x = torch.sin(torch.arange(2 * channels * height * width, dtype=torch.float32)).view(2, channels, height, width)
        weight = torch.cos(torch.arange(count * channels * 9, dtype=torch.float32) * 0.7).view(count, channels, 3, 3)
        for above, bias in ((1, None), (0, torch.linspace(-1, 1, count))):
            found = kernel(x, in_blocks(weight), bias, above=above)
            wanted = F.conv2d(x, weight, bias, padding=(above, 1))
            if not (found - wanted).norm() <= _ALLOWED * wanted.norm():
                return False
    return True
