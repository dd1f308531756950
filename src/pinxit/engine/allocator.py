"""The C library's memory: given back to the system when networks come and go."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

from pinxit.schema.errors import OutOfMemory

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""glibc's numbers for `mallopt`: the free bytes at the heap's end that are given back, and the size from which a block
gets pages of its own.
"""
_USED_UP = ("allocate memory", "out of memory", "could not create a memory")
"""What torch says on the processor and on a GPU, and what its library of kernels says."""
LARGE = 2**18
"""Blocks from this size get pages of their own: most weights, and what a network computes on the way."""


def release() -> None:
    """Give back what is free inside the process. Costs milliseconds; where the C library has no such call, nothing.

    glibc keeps what lies freed between tensors that stay: without this a loaded model takes up to half as much again,
    and each switch of models leaves some behind.
    """
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


def return_early() -> None:
    """Have large blocks go back to the system as soon as they are freed, in this whole process from now on.

    glibc would begin so, and stop after the first of them, because fresh pages cost time; networks compute so long on
    each block that it cannot be measured, and sorting weights would leave a third of them behind as holes.
    """
    if (library := _glibc()) is not None:
        library.mallopt(_MMAP_THRESHOLD, LARGE)
        library.mallopt(_TRIM_THRESHOLD, 2 * LARGE)


def ran_out(error: BaseException) -> bool:
    """Whether an error of Python's, torch's or a library's of its says that memory is used up."""
    if isinstance(error, MemoryError | OutOfMemory):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _USED_UP)


@cache
def _glibc() -> Any:
    """The C library, if it is glibc, which alone has both calls."""
    if sys.platform != "linux":
        return None
    try:
        library = ctypes.CDLL(None)
        return library if library.malloc_trim and library.mallopt else None
    except (AttributeError, OSError):
        return None
