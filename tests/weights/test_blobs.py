"""Tensors as runs of bytes: joined, split, turned and read in pieces, they are what torch makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pinxit.schema.errors import BadModelFile
from pinxit.weights import convert
from pinxit.weights.blobs import Blob, Files, Segment, joined, plain_source, to_ours, to_theirs
from pinxit.weights.folder import read_model
from pinxit.weights.layout import Entry, Op
from pinxit.weights.save import save_tensors

ENTRIES = {
    "join": Entry(ours=("q", "k", "v"), theirs=("qkv",)),
    "split": Entry(ours=("qkv",), theirs=("q", "k", "v")),
    "swap": Entry(ours=("a",), theirs=("b",), op=Op.SWAP),
    "squeeze": Entry(ours=("a",), theirs=("b",), op=Op.SQUEEZE),
    "transpose": Entry(ours=("a",), theirs=("b",), op=Op.TRANSPOSE),
}


def values(blob: Blob, dtype: str = "F32", numbers: int | None = None) -> torch.Tensor:
    with Files() as files:
        runs = list(blob.pieces(files, dtype, numbers=numbers))
    assert all(len(run) == numbers for run in runs[:-1] if numbers)
    return torch.from_numpy(np.concatenate(runs)).reshape(blob.shape)


def written(path: Path, tensors: dict[str, torch.Tensor]) -> dict[str, Blob]:
    save_tensors(tensors, path)
    return dict(plain_source(read_model(path)).blobs)


@pytest.mark.parametrize("name", ENTRIES)
def test_entries_do_to_bytes_what_they_do_to_tensors(tmp_path: Path, name: str) -> None:
    entry = ENTRIES[name]
    shape = (6, 4)
    theirs = {key: torch.randn(shape if len(entry.theirs) == 1 else (2, 4)) for key in entry.theirs}
    blobs = written(tmp_path / "m.safetensors", theirs)
    ours = to_ours(entry, [blobs[key] for key in entry.theirs])
    expected = convert.to_ours(entry, [theirs[key] for key in entry.theirs])
    for mine, wanted in zip(ours, expected, strict=True):
        assert mine.shape == tuple(wanted.shape)
        assert torch.equal(values(mine, numbers=5), wanted)
    back = to_theirs(entry, ours)
    assert all(torch.equal(values(blob), theirs[key]) for blob, key in zip(back, entry.theirs, strict=True))
    assert all(blob.strides is None for blob in back)


def test_pieces_cross_segments_and_types(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 4), "b": torch.randn(5, 4).half(), "e": torch.zeros(0, 4)}
    blobs = written(tmp_path / "m.safetensors", tensors)
    both = joined([blobs["a"], blobs["b"], blobs["e"]])
    assert (both.shape, both.dtype) == ((8, 4), "F32")
    wanted = torch.cat([tensors["a"], tensors["b"].float()])
    for numbers in (1, 7, 12, 100):
        assert torch.equal(values(both, numbers=numbers), wanted)
    assert torch.equal(values(both.split(4)[1]), wanted[2:4])
    assert torch.equal(values(both.swapped()), torch.cat([wanted[4:], wanted[:4]]))
    with Files() as files:
        assert list(blobs["e"].pieces(files, "F32")) == []


def test_strided_tensors_are_gathered(tmp_path: Path) -> None:
    blobs = written(tmp_path / "m.safetensors", {"a": torch.arange(12.0).reshape(3, 4)})
    turned = blobs["a"].transposed()
    assert torch.equal(values(turned, numbers=5), torch.arange(12.0).reshape(3, 4).T)
    assert turned.reshaped((4, 3, 1, 1)).reshaped((4, 3)) == turned
    with pytest.raises(BadModelFile, match=r"does not lie in order.* --layout same"):
        turned.split(2)
    with pytest.raises(BadModelFile, match="does not lie in order"):
        joined([turned, turned])
    segment = Segment(path=tmp_path, start=0, end=2**33, dtype="F32")
    with pytest.raises(BadModelFile, match="too many to gather"):
        values(Blob(name="huge", shape=(2**31,), segments=(segment,), strides=(1,)))


def test_files_that_shrink_or_mix_types(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    blobs = written(path, {"a": torch.zeros(100), "n": torch.arange(3)})
    with pytest.raises(BadModelFile, match="type F32 cannot become I64"):
        values(blobs["a"], "I64")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BadModelFile, match="became shorter while it was read"):
        values(blobs["a"])
    path.unlink()
    with pytest.raises(BadModelFile, match="cannot be read"):
        values(blobs["a"])
