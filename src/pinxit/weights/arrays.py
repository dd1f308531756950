"""Read single tensors as NumPy arrays, without torch: for the few facts that only a value can tell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinxit.schema.errors import BadModelFile
from pinxit.weights.header import Header
from pinxit.weights.numbers import CODE_TYPES, decoded, itemsize

MAX_BYTES = 256 * 2**20


def read_array(header: Header, name: str) -> NDArray[Any]:
    """The tensor `name` in its shape; bfloat16 and the two 8-bit float types come as float32.

    Raises BadModelFile when there is no such tensor, when it is larger than 256 MB, or when the file changed.
    """
    info = header.tensors.get(name)
    if info is None:
        raise BadModelFile(f"{header.path.name} holds no tensor {name!a}.")
    size = info.end - info.start
    if size > MAX_BYTES:
        raise BadModelFile(f"The tensor {name!a} has {size:,} bytes, too many to look at.")
    if info.dtype not in CODE_TYPES or size != math.prod(info.shape) * itemsize(info.dtype):
        raise BadModelFile(f"The {info.dtype} numbers of the tensor {name!a} cannot be read as they lie.")
    try:
        with info.path.open("rb") as stream:
            stream.seek(info.start)
            raw = stream.read(size)
    except OSError as error:
        raise BadModelFile(f"{info.path.name} cannot be read: {error.strerror}.") from error
    if len(raw) != size:
        raise BadModelFile(f"{info.path.name} changed while it was read.", hint="Wait until it is written.")
    return decoded(np.frombuffer(raw, dtype=CODE_TYPES[info.dtype]), info.dtype).reshape(info.shape)
