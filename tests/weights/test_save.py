from __future__ import annotations

import hashlib
import json
import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from pinxit.schema.errors import BadInput, BadModelFile, OutOfSpace
from pinxit.weights import files
from pinxit.weights.dtypes import FILE_DTYPES
from pinxit.weights.folder import read_model
from pinxit.weights.identify import identify
from pinxit.weights.layout import Layout
from pinxit.weights.load import load_into
from pinxit.weights.save import save_model, save_tensors
from tests.weights.tiny import FOLDER, LAYOUTS, OWN, SINGLE, Net, on_meta

CONFIGS: dict[str, object] = {
    "model_index.json": {"_class_name": "Tiny", "net": ["diffusers", "Net"]},
    "net/config.json": {"width": 4},
    "tokenizer/merges.txt": "#version: 0.2\na b\n",
}


def returns(path: Path, layout: Layout) -> None:
    """The file or folder at `path` is recognised as `layout` and holds the network's numbers."""
    match = identify(read_model(path), LAYOUTS)
    assert match.layout is layout
    network = on_meta()
    load_into(network, match, "net")
    state = Net.filled()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("layout", [SINGLE, OWN])
def test_single_files_come_back(tmp_path: Path, layout: Layout) -> None:
    path = tmp_path / "deep" / "m.safetensors"
    assert save_model({"net": Net.filled()}, layout, path, metadata={"title": "Ünï"}) == (path,)
    returns(path, layout)
    assert read_model(path).metadata == {"format": "pt", "title": "Ünï"}
    assert load_file(path).keys() == read_model(path).tensors.keys()
    assert all(info.start % 4 == 0 for info in read_model(path).tensors.values())
    assert [entry.name for entry in path.parent.iterdir()] == ["m.safetensors"]


def test_equal_networks_give_equal_bytes(tmp_path: Path) -> None:
    state = Net.filled()
    backwards = dict(reversed(state.items()))
    for name, tensors in (("a", state), ("b", backwards)):
        save_model({"net": tensors}, SINGLE, tmp_path / f"{name}.safetensors", metadata={"x": "1"})
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}
    assert len(digests) == 1


def test_folders_come_back(tmp_path: Path) -> None:
    written = save_model({"net": Net.filled()}, FOLDER, tmp_path / "m", configs=CONFIGS)
    names = [str(path.relative_to(tmp_path / "m")) for path in written]
    assert names == ["model_index.json", "net/config.json", "net/model.safetensors", "tokenizer/merges.txt"]
    returns(tmp_path / "m", FOLDER)
    assert (tmp_path / "m" / "tokenizer" / "merges.txt").read_text() == "#version: 0.2\na b\n"
    assert "layers.1.turn" in load_file(tmp_path / "m" / "net" / "model.safetensors")
    with pytest.raises(BadInput, match="exists already"):
        save_model({"net": Net.filled()}, FOLDER, tmp_path / "m", configs=CONFIGS)
    (tmp_path / "m" / "stale").write_text("old")
    save_model({"net": Net.filled()}, FOLDER, tmp_path / "m", configs=CONFIGS, overwrite=True)
    assert not (tmp_path / "m" / "stale").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("folder", [True, False])
def test_shards_come_back(tmp_path: Path, folder: bool) -> None:
    if folder:
        save_model({"net": Net.filled()}, FOLDER, tmp_path / "m", configs=CONFIGS, max_shard_bytes=400)
        index = tmp_path / "m" / "net" / "model.safetensors.index.json"
        returns(tmp_path / "m", FOLDER)
    else:
        save_model({"net": Net.filled()}, SINGLE, tmp_path / "m.safetensors", max_shard_bytes=400)
        index = tmp_path / "m.safetensors.index.json"
        returns(index, SINGLE)
    listed = json.loads(index.read_text())
    shards = sorted(set(listed["weight_map"].values()))
    assert len(shards) == 4
    assert shards[0].endswith("-00001-of-00004.safetensors")
    total = 0
    for shard in shards:
        size = sum(tensor.nbytes for tensor in load_file(index.parent / shard).values())
        assert size <= 400
        total += size
    assert listed["metadata"]["total_size"] == total == 4 * sum(tensor.numel() for tensor in Net.filled().values())


def test_a_tensor_larger_than_a_shard_stands_alone(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(1), "big": torch.zeros(100), "z": torch.zeros(1)}
    written = save_tensors(tensors, tmp_path / "m.safetensors", max_shard_bytes=50)
    assert [path.name for path in written][-1] == "m.safetensors.index.json"
    assert read_model(written[-1]).shapes == {"a": (1,), "big": (100,), "z": (1,)}
    assert len(written) == 4
    assert (
        save_tensors({"a": torch.zeros(3)}, tmp_path / "n.safetensors", max_shard_bytes=50)[0].name == "n.safetensors"
    )


def test_every_type_is_written(tmp_path: Path) -> None:
    tensors = {str(dtype): torch.tensor([[1, 0], [3, 2]]).to(dtype) for dtype in FILE_DTYPES}
    tensors |= {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3), "strided": torch.arange(6.0).reshape(2, 3).T}
    save_tensors(tensors, tmp_path / "m.safetensors")
    loaded = load_file(tmp_path / "m.safetensors")
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name].float(), tensor.float())
    with pytest.raises(BadInput, match=r"x has the type torch.complex64, which a weights file cannot hold"):
        save_tensors({"x": torch.zeros(1, dtype=torch.complex64)}, tmp_path / "n.safetensors")


def test_floats_are_converted_on_request(tmp_path: Path) -> None:
    save_model({"net": Net.filled()}, SINGLE, tmp_path / "m.safetensors", dtype=torch.float16)
    assert {info.dtype for info in read_model(tmp_path / "m.safetensors").tensors.values()} == {"F16"}


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    state = Net.filled()
    with pytest.raises(BadModelFile, match="The net cannot be written as tiny"):
        save_model({"net": {**state, "new": torch.zeros(1)}}, SINGLE, tmp_path / "m.safetensors")
    with pytest.raises(BadInput, match=r"is a single file; it cannot hold model_index.json"):
        save_model({"net": state}, SINGLE, tmp_path / "m.safetensors", configs=CONFIGS)
    with pytest.raises(BadInput, match=r"m.ckpt must end in .safetensors"):
        save_model({"net": state}, SINGLE, tmp_path / "m.ckpt")
    for name in ("../x.json", "/x.json", "a/../../x", ".hidden", "a\nb", ""):
        with pytest.raises(BadInput, match="is not a plain file name inside the model's folder"):
            save_model({"net": state}, FOLDER, tmp_path / "m", configs={name: {}})
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="cannot be written: File exists"):
        save_model({"net": state}, SINGLE, tmp_path / "file" / "m.safetensors")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_existing_files_are_kept_unless_overwriting(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_text("precious")
    with pytest.raises(BadInput, match=r"exists already. Choose another name, or allow overwriting"):
        save_model({"net": Net.filled()}, SINGLE, path)
    assert path.read_text() == "precious"
    save_model({"net": Net.filled()}, SINGLE, path, overwrite=True)
    returns(path, SINGLE)


@contextmanager
def small_files(limit: int) -> Generator[None]:
    """No file may grow beyond `limit` bytes: the next write fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("layout", [SINGLE, FOLDER])
@pytest.mark.parametrize("limit", [0, 100, 2000])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, layout: Layout, limit: int) -> None:
    target = tmp_path / ("m" if layout.folder else "m.safetensors")
    with small_files(limit), pytest.raises(OutOfSpace, match=r"MB are free. Nothing was written"):
        save_model({"net": Net.filled()}, layout, target)
    assert list(tmp_path.iterdir()) == []


def test_too_little_space_is_seen_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(OutOfSpace, match=r"m.safetensors needs 0.0 MB, and 0.0 MB are free"):
        save_model({"net": Net.filled()}, SINGLE, tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    def broken() -> list[bytes]:
        raise RuntimeError("out of memory")

    good = files.Outgoing(name="a", dtype="F32", shape=(2,), pieces=lambda: [bytes(4), bytes(4)])
    bad = files.Outgoing(name="b", dtype="F32", shape=(2,), pieces=broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        save_tensors([good, bad], tmp_path / "m.safetensors")
    liar = files.Outgoing(name="b", dtype="F32", shape=(2,), pieces=lambda: [bytes(12)])
    with pytest.raises(ValueError, match=r"b was announced with 8 bytes, but has 12"):
        save_tensors([liar], tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.os, "replace", refuse)
    with pytest.raises(BadInput, match="cannot be written: Permission denied"):
        save_model({"net": Net.filled()}, SINGLE, tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []
