"""GGUF files: our own reader of the header, and blocks decoded by the package."""

from __future__ import annotations

import importlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pinxit.schema.errors import BadModelFile, Missing
from pinxit.weights import gguf as reader
from pinxit.weights.blobs import Files
from pinxit.weights.gguf import BLOCKS, read_gguf, read_gguf_header
from pinxit.weights.numbers import decoded

package: Any = importlib.import_module("gguf")
MATRIX = np.random.RandomState(0).standard_normal((6, 512)).astype("<f4")


def written(path: Path, kinds: dict[str, str], **facts: Any) -> Path:
    """MATRIX in each of `kinds`, as the package writes it."""
    writer = package.GGUFWriter(str(path), "sd1")
    writer.add_string("general.license", "mit")
    for key, sizes in facts.items():
        writer.add_array(f"comfy.gguf.orig_shape.{key}", sizes)
    for name, kind in kinds.items():
        number = package.GGMLQuantizationType[kind]
        writer.add_tensor(name, package.quants.quantize(MATRIX, number), raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_numbers_are_the_packages(tmp_path: Path, kind: str) -> None:
    source = read_gguf(written(tmp_path / "m.gguf", {"a.weight": kind}))
    blob = source.blobs["a.weight"]
    number = package.GGMLQuantizationType[kind]
    wanted = package.quants.dequantize(package.quants.quantize(MATRIX, number), number)
    with Files() as files:
        whole = np.concatenate(list(blob.pieces(files, "F32", numbers=100))).reshape(blob.shape)
        half = np.concatenate([decoded(run, "F32") for run in blob.split(2)[1].pieces(files, "F32")])
    np.testing.assert_array_equal(whole, wanted)
    np.testing.assert_array_equal(half.reshape(3, 512), wanted[3:])
    assert source.header.metadata["general.license"] == "mit"
    assert source.header.shapes == {"a.weight": (6, 512)}


def test_every_block_format_has_the_packages_sizes() -> None:
    for kind, (name, numbers, size) in BLOCKS.items():
        assert package.GGML_QUANT_SIZES[package.GGMLQuantizationType(kind)] == (numbers, size)
        assert package.GGMLQuantizationType(kind).name == name


def test_a_shape_that_was_flattened_comes_back(tmp_path: Path) -> None:
    path = written(tmp_path / "m.gguf", {"conv": "Q8_0"}, conv=[6, 32, 4, 4])
    assert read_gguf(path).header.shapes == {"conv": (6, 32, 4, 4)}
    with pytest.raises(BadModelFile, match="does not fit its numbers"):
        read_gguf(written(path, {"conv": "Q8_0"}, conv=[6, 32, 4]))


def test_the_header_needs_no_extra_and_the_numbers_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = written(tmp_path / "q.gguf", {"a": "Q8_0"})
    plain = written(tmp_path / "f.gguf", {"a": "F16"})

    def absent(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(reader.importlib, "import_module", absent)
    assert read_gguf(plain).header.shapes == {"a": (6, 512)}
    assert read_gguf_header(packed).header.tensors["a"].dtype == "Q8_0"
    with pytest.raises(Missing, match=r"Reading Q8_0 numbers needs the package gguf.* pip install 'pinxit\[gguf\]'"):
        read_gguf(packed)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def file_of(
    *, version: int = 3, tensors: int = 1, pairs: bytes = b"", count: int = 0, rows: bytes = b"", data: int = 64
) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, count) + pairs + rows + bytes(data)


def row(name: str = "a", shape: tuple[int, ...] = (4,), kind: int = 0, offset: int = 0) -> bytes:
    return (
        text(name)
        + struct.pack("<I", len(shape))
        + struct.pack(f"<{len(shape)}Q", *shape)
        + struct.pack("<IQ", kind, offset)
    )


EVIL: dict[str, tuple[bytes, str]] = {
    "magic alone": (b"GGUF", "it is cut off"),
    "old version": (file_of(version=1), "version 1 is not known"),
    "a billion tensors": (file_of(tensors=10**9), "claims 1,000,000,000 tensors"),
    "a billion facts": (file_of(count=10**9), "and 1,000,000,000 facts"),
    "cut in the rows": (file_of(tensors=3, rows=row(), data=0), "it is cut off"),
    "text of 2^60 bytes": (file_of(count=1, pairs=struct.pack("<Q", 2**60)), "holds a text of"),
    "text that is not UTF-8": (file_of(count=1, pairs=struct.pack("<Q", 2) + b"\xff\xfe"), "not UTF-8"),
    "unknown fact": (file_of(count=1, pairs=text("k") + struct.pack("<I", 99)), "unknown type 99"),
    "list of 2^60": (file_of(count=1, pairs=text("k") + struct.pack("<IIQ", 9, 4, 2**60)), "a list of"),
    "lists in lists": (
        file_of(count=1, pairs=text("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 5),
        "unknown type 9",
    ),
    "nine axes": (file_of(rows=row(shape=(1,) * 9)), "has 9 axes"),
    "unknown numbers": (file_of(rows=row(kind=77)), "numbers of the unknown type 77"),
    "beyond the file": (file_of(rows=row(shape=(400,))), "it is cut off: 'a' ends at"),
    "product of 2^126": (file_of(rows=row(shape=(2**63, 2**63))), "claims"),
    "half a block": (file_of(rows=row(shape=(33,), kind=8)), "does not fill whole blocks of Q8_0"),
    "a name twice": (file_of(tensors=2, rows=row() * 2), "names 'a' twice"),
    "overlap": (file_of(tensors=2, rows=row() + row("b", offset=8)), "two of its tensors overlap"),
    "a path": (file_of(rows=row("../a")), "holds a path or control characters"),
    "alignment of nothing": (
        file_of(count=1, pairs=text("general.alignment") + struct.pack("<II", 4, 0), rows=row()),
        "its alignment is no size",
    ),
}


@pytest.mark.parametrize("case", EVIL)
def test_evil_files_are_refused(tmp_path: Path, case: str) -> None:
    data, expected = EVIL[case]
    path = tmp_path / "evil.gguf"
    path.write_bytes(data)
    with pytest.raises(BadModelFile, match=r"evil.gguf is not a usable GGUF file") as caught:
        read_gguf(path)
    assert expected in caught.value.message
    assert caught.value.message.isprintable()
