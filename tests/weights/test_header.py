"""Every file that is not a healthy safetensors file is refused, quickly, with a sentence that says what it is."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.schema.errors import BadModelFile, Missing
from pinxit.weights.header import Limits, read_header, unchanged
from tests.weights.files import described, raw_file, sparse_file

GOOD = {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}


def entry(**changes: Any) -> dict[str, Any]:
    return {"a": {**GOOD["a"], **changes}}


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"state_dict": {}}))
    return buffer.getvalue()


def two(start: int, end: int) -> dict[str, Any]:
    return {**GOOD, "b": {"dtype": "F32", "shape": [(end - start) // 4], "data_offsets": [start, end]}}


FOREIGN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is empty"),
    "seven bytes": (b"1234567", "not in the safetensors format"),
    "eight zero bytes": (bytes(8), "not in the safetensors format"),
    "zeros": (bytes(4096), "not in the safetensors format"),
    "random": (bytes(range(7, 256)) * 9, "not in the safetensors format"),
    "zip": (zipped(), "legacy .ckpt or .pt pickle"),
    "pickle protocol 2": (pickle.dumps({"state_dict": [1, 2, 3]}, protocol=2), "a Python pickle"),
    "pickle protocol 4": (pickle.dumps({"a": 1}, protocol=4), "a Python pickle"),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(64), "a GGUF file"),
    "web page": (b"<!DOCTYPE html><html><body>Please log in</body></html>", "a web page"),
    "web page after a blank": (b"\n\n  <html>denied</html>", "a web page"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a web page"),
    "json": (b'{"error": "Unauthorized", "status": 401}', "JSON text"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "a git-lfs pointer"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(64), "a PNG picture"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(64), "a JPEG picture"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(64), "a gzip archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(64), "a 7z archive"),
    "tar": (bytes(257) + b"ustar\x0000" + bytes(300), "a tar archive"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "an HDF5 file"),
    "numpy": (b"\x93NUMPY\x01\0" + bytes(64), "a NumPy array"),
    "program": (b"\x7fELF" + bytes(64), "a program"),
    "header beyond the file": (struct.pack("<Q", 5000) + b'{"a":{}}', "cut off: the header alone needs 5,008 bytes"),
    "absurd header length": (struct.pack("<Q", 2**63) + b'{"a":{}}', "not in the safetensors format"),
}

DEEP = b'{"a":' + b"[" * 200_000
CASES: dict[str, tuple[object, bytes, str]] = {
    "not utf-8": (b'{"\xff":1}', b"", "not UTF-8"),
    "not json": (b'{"a":', b"", "not valid JSON"),
    "deeply nested": (DEEP, b"", "not valid JSON"),
    "5,000 digits": (
        b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}',
        b"",
        "not valid JSON",
    ),
    "infinity": (b'{"a":{"dtype":"F32","shape":[Infinity],"data_offsets":[0,4]}}', b"", "where a number belongs"),
    "duplicate tensor": (
        b"{" + b'"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},' * 2 + b'"b":0}',
        b"",
        "gives 'a' twice",
    ),
    "duplicate field": (
        b'{"a":{"dtype":"F32","dtype":"F16","shape":[],"data_offsets":[0,4]}}',
        b"",
        "gives 'dtype' twice",
    ),
    "metadata of numbers": ({"__metadata__": {"steps": 3}, **GOOD}, bytes(16), "metadata is not an object of texts"),
    "metadata a list": ({"__metadata__": ["x"], **GOOD}, bytes(16), "metadata is not an object of texts"),
    "entry a number": ({"a": 3}, b"", "does not describe a tensor"),
    "entry without shape": ({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, bytes(4), "must have exactly dtype"),
    "entry with more": (entry(extra=1), bytes(16), "must have exactly dtype"),
    "unknown dtype": (entry(dtype="F4"), bytes(16), "unknown type 'F4'"),
    "dtype a list": (entry(dtype=["F32"]), bytes(16), "unknown type"),
    "negative size": (entry(shape=[-2, -2]), bytes(16), "not a list of at most 8 sizes"),
    "size a float": (entry(shape=[2.0, 2]), bytes(16), "not a list of at most 8 sizes"),
    "size true": (entry(shape=[True, 4]), bytes(16), "not a list of at most 8 sizes"),
    "size beyond 63 bits": (entry(shape=[2**63, 0]), bytes(16), "not a list of at most 8 sizes"),
    "nine axes": (entry(shape=[1] * 8 + [4]), bytes(16), "not a list of at most 8 sizes"),
    "shape a text": (entry(shape="22"), bytes(16), "not a list of at most 8 sizes"),
    "three offsets": (entry(data_offsets=[0, 8, 16]), bytes(16), "not a range of bytes"),
    "offsets reversed": (entry(data_offsets=[16, 0]), bytes(16), "not a range of bytes"),
    "offsets negative": (entry(data_offsets=[-16, 0]), bytes(16), "not a range of bytes"),
    "shape and bytes differ": (entry(shape=[2, 3]), bytes(16), "needs 24 bytes but is given 16"),
    "product wraps 64 bits": (entry(shape=[2**32, 2**32]), bytes(16), "bytes but is given 16"),
    "data cut off": (GOOD, bytes(15), "cut off: 'a' ends at byte"),
    "data missing": (GOOD, b"", "cut off: 'a' ends at byte"),
    "trailing bytes": (GOOD, bytes(17), "1 bytes at its end belong to no tensor"),
    "zip at its end": (GOOD, bytes(16) + zipped(), "at its end belong to no tensor"),
    "overlap": (two(8, 16), bytes(16), "'b' overlaps another tensor"),
    "same range": (two(0, 16), bytes(16), "overlaps another tensor"),
    "hole": (two(20, 28), bytes(28), "'b' leaves a hole before it"),
    "hole at the start": (entry(data_offsets=[4, 20]), bytes(20), "'a' leaves a hole before it"),
    "parent folder": ({"../../x": GOOD["a"]}, bytes(16), "holds a path or control characters"),
    "parent folder inside": ({"unet/../../x": GOOD["a"]}, bytes(16), "holds a path or control characters"),
    "windows parent": ({"..\\x": GOOD["a"]}, bytes(16), "holds a path or control characters"),
    "absolute path": ({"/etc/passwd": GOOD["a"]}, bytes(16), "holds a path or control characters"),
    "line break": ({"a\nb": GOOD["a"]}, bytes(16), "holds a path or control characters"),
    "escape sequence": ({"\x1b[31mred": GOOD["a"]}, bytes(16), "holds a path or control characters"),
    "zero byte": ({"a\x00b": GOOD["a"]}, bytes(16), "holds a path or control characters"),
    "right-to-left override": ({"a\u202eb": GOOD["a"]}, bytes(16), "holds a path or control characters"),
    "lone surrogate": (b'{"\\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}', b"", "control characters"),
    "empty name": ({"": GOOD["a"]}, bytes(16), "name has 0 characters"),
    "long name": ({"a" * 513: GOOD["a"]}, bytes(16), "name has 513 characters"),
    "20,001 tensors": (
        described({f"t{n}": (0,) for n in range(20_001)}),
        b"",
        "it names 20,001 tensors; at most 20,000 are read",
    ),
    "100,000 numbers": ({f"t{n}": 0 for n in range(100_000)}, b"", "at most 20,000 are read"),
    "three million objects": (b'{"a":[' + b"{}," * 3_000_000 + b"{}]}", b"", "more than 20,000 tensors"),
}


def refused(path: Path, expected: str) -> BadModelFile:
    began = time.process_time()
    with pytest.raises(BadModelFile) as caught:
        read_header(path)
    assert time.process_time() - began < 10
    assert expected in caught.value.message
    assert caught.value.message.startswith("evil.safetensors is not a usable model file: ")
    assert caught.value.hint
    assert len(caught.value.message) < 600
    assert caught.value.message.isprintable()
    return caught.value


@pytest.mark.parametrize("case", FOREIGN)
def test_other_formats_are_named(tmp_path: Path, case: str) -> None:
    data, expected = FOREIGN[case]
    path = tmp_path / "evil.safetensors"
    path.write_bytes(data)
    refused(path, expected)


@pytest.mark.parametrize("case", CASES)
def test_malformed_headers_are_refused(tmp_path: Path, case: str) -> None:
    header, data, expected = CASES[case]
    refused(raw_file(tmp_path / "evil.safetensors", header, data), expected)


def test_pickles_are_sent_to_conversion(tmp_path: Path) -> None:
    (tmp_path / "evil.safetensors").write_bytes(zipped())
    assert "Convert it to safetensors first" in refused(tmp_path / "evil.safetensors", "zip archive").hint


def test_a_gigabyte_of_header_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "evil.safetensors"
    path.write_bytes(struct.pack("<Q", 2**30) + b"{")
    os.truncate(path, 2**30 + 8)
    refused(path, "its header claims 1,073,741,824 bytes; at most 16,777,216 are read")


def test_missing_files_folders_and_devices(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="There is no file"):
        read_header(tmp_path / "none.safetensors")
    with pytest.raises(Missing, match="There is no file"):
        read_header(raw_file(tmp_path / "a", GOOD) / "below")
    with pytest.raises(BadModelFile, match="a folder or a device"):
        read_header(tmp_path)
    with pytest.raises(BadModelFile, match="a folder or a device"):
        read_header(Path("/dev/zero"))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(BadModelFile, match="a folder or a device"):
        read_header(pipe)
    with pytest.raises(BadModelFile, match="cannot be opened"):
        read_header(Path("a\x00b"))
    with pytest.raises(BadModelFile, match="cannot be opened"):
        read_header(tmp_path / ("n" * 300))


def test_a_healthy_file(tmp_path: Path) -> None:
    shapes = {"a.weight": (2, 3), "ünïcode": (), "empty": (0, 4), "steps": (1,)}
    path = sparse_file(
        tmp_path / "m.safetensors", shapes, dtypes={"a.weight": "BF16", "steps": "I64"}, metadata={"k": "v"}
    )
    header = read_header(path)
    assert header.shapes == shapes
    assert header.metadata == {"k": "v"}
    assert header.tensors["a.weight"].dtype == "BF16"
    assert header.tensors["a.weight"].end - header.tensors["a.weight"].start == 12
    assert header.tensors["steps"].end == path.stat().st_size
    assert unchanged(header)
    path.write_bytes(path.read_bytes() + b"x")
    assert not unchanged(header)
    path.unlink()
    assert not unchanged(header)


def test_padding_order_and_limits(tmp_path: Path) -> None:
    swapped = {"late": GOOD["a"] | {"data_offsets": [16, 32]}, "early": GOOD["a"]}
    path = raw_file(tmp_path / "m.safetensors", json.dumps(swapped) + "     ", bytes(32))
    assert set(read_header(path).tensors) == {"late", "early"}
    with pytest.raises(BadModelFile, match="at most 1 are read"):
        read_header(path, limits=Limits(tensors=1))
    with pytest.raises(BadModelFile, match="its header claims"):
        read_header(path, limits=Limits(header_bytes=10))
    with pytest.raises(BadModelFile, match="1 to 4 are allowed"):
        read_header(path, limits=Limits(name_length=4))
    many = sparse_file(tmp_path / "many.safetensors", {f"t{n}": (1,) for n in range(300)}, dtype="U8")
    assert len(read_header(many, limits=Limits(tensors=300)).tensors) == 300
    with pytest.raises(BadModelFile, match="it names 300 tensors; at most 299 are read"):
        read_header(many, limits=Limits(tensors=299))


@settings(max_examples=100)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    read_or_refuse(tmp_path_factory, lambda path: path.write_bytes(data))


@settings(max_examples=200)
@given(st.data())
def test_flipped_and_cut_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    header = json.dumps({"__metadata__": {"format": "pt"}, **two(16, 32)}).encode()
    whole = bytearray(struct.pack("<Q", len(header)) + header + bytes(32))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.integers(0, len(whole)))
    read_or_refuse(tmp_path_factory, lambda path: path.write_bytes(bytes(whole[:cut] if cut % 3 else whole)))


def read_or_refuse(tmp_path_factory: pytest.TempPathFactory, write: Callable[[Path], object]) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    write(path)
    try:
        header = read_header(path)
    except BadModelFile:
        return
    assert max((info.end for info in header.tensors.values()), default=0) <= path.stat().st_size
