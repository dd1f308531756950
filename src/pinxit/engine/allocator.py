"""The C library's memory: given back to the system when networks come and go."""

from __future__ import annotations

from pinxit.nn.pages import glibc
from pinxit.schema.errors import OutOfMemory

_USED_UP = ("allocate memory", "out of memory", "could not create a memory")
"""What torch says on the processor and on a GPU, and what its library of kernels says."""


def release() -> None:
    """Give back what is free inside the process. Costs milliseconds; where the C library has no such call, nothing.

    glibc keeps what lies freed between tensors that stay: without this a loaded model takes up to half as much again,
    and each switch of models leaves some behind.
    """
    if (library := glibc()) is not None:
        library.malloc_trim(0)


def ran_out(error: BaseException) -> bool:
    """Whether an error of Python's, torch's or a library's of its says that memory is used up."""
    if isinstance(error, MemoryError | OutOfMemory):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _USED_UP)
