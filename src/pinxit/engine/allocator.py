"""The C library's memory: given back to the system when networks come and go."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any


def release() -> None:
    """Give back what is free inside the process. Costs milliseconds; where the C library has no such call, nothing.

    glibc keeps freed blocks of up to 32 MB for later, and those between tensors that stay are kept for good: without
    this a loaded model takes up to half as much again, and each switch of models leaves some behind.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    """glibc's `malloc_trim`, or None in front of another library."""
    if sys.platform != "linux":
        return None
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None
