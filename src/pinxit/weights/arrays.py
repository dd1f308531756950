"""Read single tensors as NumPy arrays, without torch: for the few facts that only a value can tell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinxit.schema.errors import BadModelFile
from pinxit.weights.header import Header

_PLAIN = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
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
    try:
        with info.path.open("rb") as stream:
            stream.seek(info.start)
            raw = stream.read(size)
    except OSError as error:
        raise BadModelFile(f"{info.path.name} cannot be read: {error.strerror}.") from error
    if len(raw) != size:
        raise BadModelFile(f"{info.path.name} changed while it was read.", hint="Wait until it is written.")
    if info.dtype in _PLAIN:
        return np.frombuffer(raw, dtype=_PLAIN[info.dtype]).reshape(info.shape)
    if info.dtype == "BF16":
        return (np.frombuffer(raw, dtype="<u2").astype("<u4") << 16).view("<f4").reshape(info.shape)
    return _float8(np.frombuffer(raw, dtype="u1"), info.dtype).reshape(info.shape)


def _float8(codes: NDArray[np.uint8], dtype: str) -> NDArray[np.float32]:
    """Both 8-bit floats: sign, then 4 + 3 bits (bias 7, no infinity) or 5 + 2 bits (bias 15)."""
    bits, bias = (3, 7) if dtype == "F8_E4M3" else (2, 15)
    code = np.arange(256)
    sign = np.where(code & 0x80, -1.0, 1.0)
    exponent, fraction = (code & 0x7F) >> bits, (code & ((1 << bits) - 1)) / (1 << bits)
    values = sign * np.where(exponent, (1 + fraction) * 2.0 ** (exponent - bias), fraction * 2.0 ** (1 - bias))
    if dtype == "F8_E4M3":
        values[(code & 0x7F) == 0x7F] = np.nan
    else:
        top = exponent == 31
        values[top] = np.where(fraction[top] == 0, sign[top] * np.inf, np.nan)
    return values.astype(np.float32)[codes]
