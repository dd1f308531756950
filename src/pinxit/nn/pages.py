"""Where the C library puts what stays: weights on pages of their own, which leave no holes when they go."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""glibc's numbers for `mallopt`: the free bytes at the heap's end that are given back, and the size from which a block
gets pages of its own.
"""
STAYS, PASSES = 2**18, 2**24
"""That size while weights are made: it is that of most of them. And while a network computes: fresh pages for every
tensor on the way cost a sixth of the time of a small picture, and holes in the heap between large ones much memory.
"""


class _Depth:
    """How many `own_pages` are at work; they nest."""

    count = 0


@contextmanager
def own_pages() -> Generator[None]:
    """Within, large blocks get pages of their own, in this whole process, and go back to the system when freed.

    Sorting weights would else leave a third of them behind as holes in the heap. Another thread that computes
    meanwhile is slower, no more. Where the C library has no such setting, nothing.
    """
    _Depth.count += 1
    _set(STAYS)
    try:
        yield
    finally:
        _Depth.count -= 1
        if _Depth.count == 0:
            _set(PASSES)


def _set(size: int) -> None:
    if (library := glibc()) is not None:
        library.mallopt(_MMAP_THRESHOLD, size)
        library.mallopt(_TRIM_THRESHOLD, 2 * size)


@cache
def glibc() -> Any:
    """The C library, if it is glibc, which alone can be told such things; otherwise None."""
    if sys.platform != "linux":
        return None
    try:
        library = ctypes.CDLL(None)
        return library if library.malloc_trim and library.mallopt else None
    except (AttributeError, OSError):
        return None
