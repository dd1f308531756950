from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pinxit.schema.errors import BadModelFile
from pinxit.weights import arrays
from pinxit.weights.arrays import read_array
from pinxit.weights.dtypes import FILE_DTYPES
from pinxit.weights.header import DTYPE_BYTES, read_header


def test_every_type_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    values = torch.tensor([[0.0, 1.0, -2.0], [0.375, 96.0, 3.0]])
    tensors = {name: values.to(dtype) for dtype, name in FILE_DTYPES.items()}
    save_file(tensors, tmp_path / "m.safetensors")
    header = read_header(tmp_path / "m.safetensors")
    assert set(header.tensors) == set(DTYPE_BYTES)
    for name, tensor in tensors.items():
        array = read_array(header, name)
        assert array.shape == (2, 3)
        np.testing.assert_array_equal(array.astype(np.float64), tensor.double().numpy())


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_all_codes_of_the_8_bit_floats(tmp_path: Path, dtype: torch.dtype) -> None:
    codes = torch.arange(256, dtype=torch.uint8).view(dtype)
    save_file({"x": codes}, tmp_path / "m.safetensors")
    array = read_array(read_header(tmp_path / "m.safetensors"), "x")
    np.testing.assert_array_equal(array, codes.float().numpy())


def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"x": torch.zeros(4)}, path)
    header = read_header(path)
    with pytest.raises(BadModelFile, match="holds no tensor 'y'"):
        read_array(header, "y")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadModelFile, match="changed while it was read"):
        read_array(header, "x")
    path.unlink()
    with pytest.raises(BadModelFile, match="cannot be read"):
        read_array(header, "x")
    monkeypatch.setattr(arrays, "MAX_BYTES", 8)
    with pytest.raises(BadModelFile, match="16 bytes, too many to look at"):
        read_array(header, "x")
