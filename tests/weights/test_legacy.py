"""Pickled weights are read in a locked-up child; nothing in them runs, and what they are is what torch wrote."""

from __future__ import annotations

import argparse
import pickle
import pickletools
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pinxit.schema.errors import BadModelFile
from pinxit.weights import legacy
from pinxit.weights.blobs import Files, Source
from pinxit.weights.legacy import is_legacy, read_legacy
from tests import pickles

TENSORS: dict[str, torch.Tensor] = {
    "a.weight": torch.randn(3, 4),
    "turned": torch.randn(2, 5).T,
    "half": torch.randn(4).half(),
    "brain": torch.randn(4).bfloat16(),
    "eight": torch.randn(4).to(torch.float8_e4m3fn),
    "whole": torch.arange(5),
    "flags": torch.tensor([True, False]),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "view": torch.arange(20.0)[5:9],
    "every other": torch.arange(20.0)[::2],
    "parameter": torch.nn.Parameter(torch.ones(2)),
}


def saved(path: Path, value: object, *, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def holds(source: Source, tensors: dict[str, torch.Tensor]) -> None:
    assert set(source.blobs) == set(tensors)
    with Files() as files:
        for name, tensor in tensors.items():
            blob = source.blobs[name]
            runs = list(blob.pieces(files, blob.dtype))
            mine = np.concatenate(runs).view("u1") if runs else np.zeros(0, "u1")
            wanted = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
            assert blob.shape == tuple(tensor.shape), name
            assert np.array_equal(mine, wanted), name


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_are_read(tmp_path: Path, zipped: bool) -> None:
    content = {
        "state_dict": TENSORS,
        "epoch": 3,
        "pytorch-lightning_version": "1.4.2",
        "optimizer_states": [{"state": {0: {"exp_avg": torch.randn(3)}}}],
        "hyper_parameters": argparse.Namespace(rate=1),
        "score": np.float32(3.0),
    }
    path = saved(tmp_path / "m.ckpt", content, zipped=zipped)
    assert is_legacy(path)
    source = read_legacy(path)
    holds(source, TENSORS)
    assert source.header.metadata == {"legacy.epoch": "3", "legacy.pytorch-lightning_version": "1.4.2"}
    assert source.notes == ("left out beside the weights: optimizer_states, hyper_parameters, score",)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"params_ema": {"conv.weight": torch.ones(1)}, "params": {"conv.weight": torch.zeros(1)}}, {"conv.weight"}),
        ({"model": {"state_dict": {"x": torch.ones(1)}}}, {"x"}),
        (
            {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.ones(2)}, "name": "cat"},
            {"string_to_param.*"},
        ),
        (
            {768: ({"linear.weight": torch.ones(2)}, {"linear.weight": torch.ones(3)})},
            {"768.0.linear.weight", "768.1.linear.weight"},
        ),
        (OrderedDict(a=torch.ones(1)), {"a"}),
        (torch.ones(3), {"tensor"}),
        ([torch.ones(1), {"b": torch.ones(2)}], {"0", "1.b"}),
    ],
)
def test_every_wrapping_that_people_have(tmp_path: Path, content: object, names: set[str]) -> None:
    assert set(read_legacy(saved(tmp_path / "m.pt", content)).blobs) == names


def test_shared_numbers_are_read_twice(tmp_path: Path) -> None:
    tensor = torch.randn(4)
    holds(read_legacy(saved(tmp_path / "m.bin", {"a": tensor, "b": tensor})), {"a": tensor, "b": tensor})


@pytest.mark.parametrize("case", pickles.EVIL)
def test_evil_pickles_are_refused(tmp_path: Path, case: str) -> None:
    write, expected = pickles.EVIL[case]
    path = tmp_path / "evil.ckpt"
    write(path)
    with pytest.raises(BadModelFile) as caught:
        read_legacy(path)
    assert expected in caught.value.message
    assert caught.value.message.startswith("evil.ckpt cannot be converted: ")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 600
    assert not pickles.TRACE.exists()


def test_a_pickle_under_a_false_name(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.safetensors", {"a": torch.ones(1)})
    with pytest.raises(BadModelFile, match=r"is a Python pickle under a false name.* rename it to .ckpt"):
        read_legacy(path)


def test_the_reader_is_ended_in_time(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.ckpt", {"a": torch.ones(1)})
    with pytest.raises(BadModelFile, match="needed too much time or memory and was ended"):
        read_legacy(path, seconds=0.0)


def row(**changes: Any) -> list[Any]:
    usual: dict[str, Any] = {"name": "a", "dtype": "F32", "shape": [2], "start": 0, "end": 8, "strides": None}
    return list((usual | changes).values())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"tensors": [row(start=-8, end=0)]}, "lies outside the file"),
        ({"tensors": [row(start=8, end=1 << 40)]}, "lies outside the file"),
        ({"tensors": [row(end=4)]}, "is described wrongly"),
        ({"tensors": [row(shape=[2.5])]}, "is described wrongly"),
        ({"tensors": [row(dtype="F4")]}, "is described wrongly"),
        ({"tensors": [row(strides=[1 << 50])]}, "is described wrongly"),
        ({"tensors": [row(name="../a")]}, "holds a path or control characters"),
        ({"tensors": [row(), row()]}, "holds 'a' twice"),
        ({"tensors": [3]}, "gave no answer"),
        ({"tensors": []}, "holds no tensors"),
        ({}, "holds no tensors"),
    ],
)
def test_the_child_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: dict[str, object], expected: str
) -> None:
    path = saved(tmp_path / "m.ckpt", {"a": torch.ones(2)})

    def ask(path: Path, seconds: float) -> dict[str, object]:
        return answer

    monkeypatch.setattr(legacy, "_ask", ask)
    with pytest.raises(BadModelFile, match=expected):
        read_legacy(path)


PROBE = """
import sys
sys.path.insert(0, sys.argv[1])
import os, socket, subprocess
from pinxit.weights.unpickle.child import lock_up
lock_up()
def refused(what):
    try:
        what()
    except (PermissionError, OSError, MemoryError):
        return True
    return False
print(all([
    refused(lambda: open("/etc/passwd")),
    refused(lambda: open("probe", "w")),
    refused(lambda: socket.socket()),
    refused(lambda: subprocess.run(["true"])),
    refused(lambda: os.system("true")),
    refused(lambda: os.fork()),
    refused(lambda: bytearray(1 << 31)),
    refused(lambda: __import__("wave")),
    refused(lambda: eval("1")),
]), flush=True)
os._exit(0)
"""


def test_the_childs_cage_holds(tmp_path: Path) -> None:
    root = str(Path(legacy.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROBE, root], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "True\n", done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_child_imports_the_standard_library_alone() -> None:
    root = str(Path(legacy.__file__).parents[2])
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules); import pinxit.weights.unpickle.child;"
        "print({name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script, root], capture_output=True, text=True, check=False)
    assert done.stdout == "{'pinxit'}\n", done.stderr


def test_every_operation_of_pickles_is_known_or_refused_by_name() -> None:
    from pinxit.weights.unpickle.machine import KNOWN_OPERATIONS

    codes = {operation.code.encode("latin-1") for operation in pickletools.opcodes}
    assert codes - KNOWN_OPERATIONS == {b".", b"\x82", b"\x83", b"\x84", b"\x97", b"\x98"}


def test_the_machine_agrees_with_pythons_own(tmp_path: Path) -> None:
    import io

    from pinxit.weights.unpickle.machine import Machine

    value = {
        "numbers": [0, 1, -1, 255, 256, 70_000, -(2**40), 2**70, 1.5, float("inf")],
        "texts": ["", "a", "ünïcode 中文", "x" * 300],
        "bytes": [b"", b"abc", b"y" * 300],
        "rest": (None, True, False, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, {"k": {1: 2}}),
        "sets": {1, 2},
        "frozen": frozenset((3,)),
    }
    for protocol in range(2, 6):
        stream = io.BytesIO(pickle.dumps(value, protocol))
        assert (
            Machine(
                stream, calls=dict(pickles.SAFE_CALLS), tolerated=lambda name: False, persistent=lambda key: key
            ).load()
            == value
        )
    plain = {name: value[name] for name in ("texts", "rest")} | {"numbers": [1, -5, 2**70, 1.5]}
    for protocol in (0, 1):
        stream = io.BytesIO(pickle.dumps(plain, protocol))
        assert Machine(stream, calls={}, tolerated=lambda name: False, persistent=lambda key: key).load() == plain


def test_broken_files_of_every_kind(tmp_path: Path) -> None:
    for zipped in (True, False):
        whole = saved(tmp_path / "m.ckpt", {"a": torch.randn(50)}, zipped=zipped).read_bytes()
        for cut in (5, 60, len(whole) // 3, len(whole) // 2, len(whole) - 4):
            (tmp_path / "cut.ckpt").write_bytes(whole[:cut])
            with pytest.raises(BadModelFile, match=r"cut.ckpt cannot be converted"):
                read_legacy(tmp_path / "cut.ckpt")


def rewritten(path: Path, change: Callable[[str, bytes], bytes]) -> None:
    """The zip at `path` with its records changed."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            archive.writestr(name, change(name, data))


def test_other_byte_order_and_lost_storages(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.ckpt", {"a": torch.randn(5)})
    rewritten(path, lambda name, data: b"big" if name.endswith("byteorder") else data)
    with pytest.raises(BadModelFile, match="big-endian"):
        read_legacy(path)
    saved(path, {"a": torch.randn(5)})
    rewritten(path, lambda name, data: data[:8] if name.endswith("data/0") else data)
    with pytest.raises(BadModelFile, match="lie outside their storage"):
        read_legacy(path)


def test_what_is_no_pickle_is_left_to_others(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", 2) + b"{}")
    assert not is_legacy(path)
    (tmp_path / "page.ckpt").write_bytes(b"<!DOCTYPE html><html>")
    assert not is_legacy(tmp_path / "page.ckpt")
    (tmp_path / "text.ckpt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert is_legacy(tmp_path / "text.ckpt")
