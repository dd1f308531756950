"""Number types without torch, held to torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pinxit.schema.errors import BadInput, BadModelFile
from pinxit.weights.dtypes import TORCH_DTYPES
from pinxit.weights.numbers import CODE_TYPES, FLOATS, are_finite, cast, decoded, named_dtype

VALUES = torch.cat(
    [
        torch.randn(4000, generator=torch.Generator().manual_seed(0)) * torch.logspace(-9, 4, 4000),
        torch.tensor([0.0, -0.0, 1.0, -1.0, 65504.0, 6e-8, 1e-38, 3.0039062, 1.00390625]),
    ]
)


def codes_of(tensor: torch.Tensor, dtype: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    return tensor.to(TORCH_DTYPES[dtype]).view(torch.uint8).numpy().view(CODE_TYPES[dtype])


@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("target", ["F64", "F32", "F16", "BF16"])
def test_casts_are_torchs(source: str, target: str) -> None:
    mine = cast(codes_of(VALUES, source), source, target)
    theirs = VALUES.to(TORCH_DTYPES[source]).to(TORCH_DTYPES[target])
    back = torch.from_numpy(mine.copy()).view(torch.uint8).view(TORCH_DTYPES[target])
    if source == "F64" and target == "BF16":  # by way of float32, as two roundings
        theirs = VALUES.double().float().bfloat16()
    assert torch.equal(back.nan_to_num(7.0), theirs.nan_to_num(7.0))


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2"])
def test_all_8_bit_floats(dtype: str) -> None:
    codes = np.arange(256, dtype=np.uint8)
    theirs = torch.arange(256, dtype=torch.uint8).view(TORCH_DTYPES[dtype]).float().numpy()
    np.testing.assert_array_equal(decoded(codes, dtype), theirs)


@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_and_infinity_are_seen(dtype: str) -> None:
    assert are_finite(codes_of(VALUES[:50], dtype), dtype)
    assert not are_finite(codes_of(torch.tensor([1.0, float("nan")]), dtype), dtype)
    if dtype != "F8_E4M3":
        assert not are_finite(codes_of(torch.tensor([1.0, float("-inf")]), dtype), dtype)


def test_nan_stays_nan() -> None:
    assert np.isnan(decoded(cast(np.array([np.nan], "<f4"), "F32", "BF16"), "BF16")[0])
    assert are_finite(np.array([1, 2]), "I64")


def test_names_of_types() -> None:
    assert [named_dtype(name) for name in ("f16", "FP16", "float16", "half")] == ["F16"] * 4
    assert [named_dtype(name) for name in ("bf16", "bfloat16", "f32", "fp32", None)] == [
        "BF16",
        "BF16",
        "F32",
        "F32",
        None,
    ]
    with pytest.raises(BadInput, match=r"no number type 'q8'.* Known: f32, f16, bf16"):
        named_dtype("q8")
    with pytest.raises(BadModelFile, match="type I64 cannot become F16"):
        cast(np.zeros(1, "<i8"), "I64", "F16")
