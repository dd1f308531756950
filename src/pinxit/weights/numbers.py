"""The number types of a weights file in NumPy, without torch: their codes as they are stored, and what they stand for.

A *code* is a number as the file holds it. NumPy has no bfloat16 and no 8-bit floats, so those codes are whole numbers
here, and a table or a shift turns them into float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinxit.schema.errors import BadInput, BadModelFile
from pinxit.weights.header import DTYPE_BYTES

Codes = NDArray[Any]

CODE_TYPES: Mapping[str, str] = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "F8_E4M3": "u1",
    "F8_E5M2": "u1",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "u1",
}
"""How NumPy holds the codes of each type."""

FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
"""The types that a cast may change; everything else stays what it is."""

SHORT_NAMES: Mapping[str, str] = {"f32": "F32", "f16": "F16", "bf16": "BF16"}
"""What people call the types that we write on request."""


def named_dtype(name: str | None) -> str | None:
    """The file's name of a type given as `f16`, `fp16`, `float16` and the like. Raises BadInput for another."""
    if name is None:
        return None
    key = name.lower().replace("bfloat", "bf").replace("float", "f").replace("fp", "f")
    key = {"half": "f16", "full": "f32"}.get(key, key)
    if key not in SHORT_NAMES:
        raise BadInput(f"There is no number type {name[:40]!r} to write.", hint=f"Known: {', '.join(SHORT_NAMES)}.")
    return SHORT_NAMES[key]


def decoded(codes: Codes, dtype: str) -> Codes:
    """The numbers that `codes` stand for: bfloat16 and 8-bit floats as float32, every other type as it is."""
    if dtype == "BF16":
        return (codes.astype("<u4") << 16).view("<f4")
    if dtype in ("F8_E4M3", "F8_E5M2"):
        return _float8_values(dtype)[codes]
    return codes.astype("?") if dtype == "BOOL" else codes


def encoded(values: Codes, dtype: str) -> Codes:
    """The codes of floats in `dtype` (F64, F32, F16 or BF16), rounded to the nearest, ties to even."""
    if dtype == "BF16":
        bits = np.ascontiguousarray(values, "<f4").view("<u4")
        rounded = ((bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16).astype("<u2")
        return np.where(np.isnan(values), np.uint16(0x7FC0), rounded).astype("<u2")
    with np.errstate(over="ignore"):
        return values.astype(CODE_TYPES[dtype])


def cast(codes: Codes, source: str, target: str) -> Codes:
    """`codes` of the type `source` as codes of `target`. Raises BadModelFile where one of them is no float."""
    if source == target:
        return codes
    if source not in FLOATS or target not in FLOATS:
        raise BadModelFile(f"Numbers of the type {source} cannot become {target}.", hint="The file mixes types.")
    return encoded(decoded(codes, source), target)


def are_finite(codes: Codes, dtype: str) -> bool:
    """Whether no code stands for NaN or infinity."""
    if dtype == "BF16":
        return not bool(np.any((codes & 0x7F80) == 0x7F80))
    if dtype in ("F8_E4M3", "F8_E5M2"):
        return bool(np.isfinite(_float8_values(dtype)[codes]).all())
    return dtype not in FLOATS or bool(np.isfinite(codes).all())


def itemsize(dtype: str) -> int:
    """Bytes of one number."""
    return DTYPE_BYTES[dtype]


@cache
def _float8_values(dtype: str) -> NDArray[np.float32]:
    """All 256 values: sign, then 4 + 3 bits (bias 7, no infinity) or 5 + 2 bits (bias 15)."""
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
    table = values.astype(np.float32)
    table.setflags(write=False)
    return table
