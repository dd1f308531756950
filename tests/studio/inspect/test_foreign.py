from __future__ import annotations

import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pinxit.engine.catalog import Catalog
from pinxit.plugins.manager import build_catalog
from pinxit.schema.errors import BadInput, Missing
from pinxit.studio.inspect import Inspection, inspect_file
from pinxit.studio.inspect.known import FILES
from tests.weights.files import described, manifest, raw_file, sparse_file


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return build_catalog()


class Poison:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def look(path: Path, catalog: Catalog, data: bytes) -> Inspection:
    path.write_bytes(data)
    return inspect_file(path, catalog, hashes=False)


SIMPLE: dict[str, tuple[bytes, str, str]] = {
    "web page": (b"<!DOCTYPE html><html><title>Access\x1b[31m denied</title>", "html-page", "Access [31m denied"),
    "page without title": (b"\n  <html lang=en>", "html-page", "web page"),
    "json": (b'{"error": "Not found"}', "json", '"Not found"'),
    "text": ("Entry not found: 找不到".encode(), "text", "Entry not found"),
    "gguf": (b"GGUF" + struct.pack("<IQQ", 3, 1000, 1), "gguf", "model.safetensors"),
    "short gguf": (b"GGUF\x03\x00", "gguf", "model.safetensors"),
    "onnx": (b"\x08\x07\x12\x07pytorch\x1a\x052.0.0" + bytes(40), "onnx", "ONNX"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(30), "picture", "PNG"),
    "gzip": (b"\x1f\x8b" + bytes(30), "archive", "gzip"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(30), "hdf5", "HDF5"),
    "numpy": (b"\x93NUMPY" + bytes(30), "numpy", "NumPy"),
    "program": (b"\x7fELF" + bytes(30), "program", "program"),
    "database": (b"SQLite format 3\x00" + bytes(30), "database", "SQLite"),
    "pickle": (pickle.dumps({"a": 1}), "pickle", "nothing of it was run"),
    "zeros": (bytes(5000), "damaged", "zeros"),
    "noise": (bytes(range(128, 256)) * 4, "unknown", "not in the safetensors format"),
    "one byte": (b"\xff", "unknown", ""),
}


@pytest.mark.parametrize("name", SIMPLE)
def test_files_that_are_no_models_are_told_apart(name: str, catalog: Catalog, tmp_path: Path) -> None:
    data, kind, evidence = SIMPLE[name]
    found = look(tmp_path / "model.safetensors", catalog, data)
    assert found.kind == kind
    assert evidence in " ".join(found.evidence)
    assert found.advice
    assert found.title.text("zh") != found.title.text("en")
    assert json.loads(json.dumps(found.to_json()))["kind"] == kind


def test_an_empty_file_is_told(catalog: Catalog, tmp_path: Path) -> None:
    found = look(tmp_path / "a.safetensors", catalog, b"")
    assert (found.kind, found.files, found.size) == ("empty", (), 0)


def test_a_pickle_is_neither_run_nor_unpacked(catalog: Catalog, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    poison = pickle.dumps(Poison(trace))
    found = look(tmp_path / "old.ckpt", catalog, poison)
    assert found.kind == "pickle"
    assert found.advice[0].text() == (
        "Convert it; nothing in it is run while that happens: "
        f"pinxit models convert {tmp_path}/old.ckpt {tmp_path}/old.safetensors"
    )
    archive = tmp_path / "new one.ckpt"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("archive/data.pkl", poison)
        packed.writestr("archive/data/0", bytes(64))
    zipped = inspect_file(archive, catalog, hashes=False)
    assert zipped.kind == "pickle"
    assert f"'{archive}'" in zipped.advice[0].text()
    assert not trace.exists()


def test_other_zip_archives_are_told_by_their_names(catalog: Catalog, tmp_path: Path) -> None:
    for name, kind in (("model.zip", "zip"), ("model.pt", "pickle"), ("model.safetensors", "pickle")):
        with zipfile.ZipFile(tmp_path / name, "w") as packed:
            packed.writestr("a.txt", "a")
        assert inspect_file(tmp_path / name, catalog, hashes=False).kind == kind


def test_a_pointer_says_what_it_points_at(catalog: Catalog, tmp_path: Path) -> None:
    digest = next(iter(FILES))
    words = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 4265380512\n"
    found = look(tmp_path / "m.safetensors", catalog, words.encode())
    assert found.kind == "git-lfs-pointer"
    assert f"4,265,380,512 bytes with the SHA-256 {digest}, which is {FILES[digest].title}" in found.evidence[1]
    assert "git lfs pull" in found.advice[0].text()


def test_a_published_pickle_is_known_by_its_hash(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.ckpt"
    path.write_bytes(pickle.dumps({"a": 1}))
    digest = inspect_file(path, catalog).to_json()["hashes"]
    assert isinstance(digest, dict)
    monkeypatch.setattr(
        "pinxit.studio.inspect.licences.FILES", {digest["sha256"]: next(iter(FILES.values()))}, raising=True
    )
    found = inspect_file(path, catalog)
    assert found.known_as == "Stable Diffusion 1.4 (sd-v1-4.ckpt)"
    assert found.licence.commercial == "yes"


def test_a_download_that_stopped_is_told_with_what_it_would_be(catalog: Catalog, tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "m.safetensors", manifest("sd-v1"), dtype="F16")
    whole = path.stat().st_size
    os.truncate(path, whole // 3)
    found = inspect_file(path, catalog, hashes=False)
    assert (found.kind, found.family, found.layout) == ("truncated", "sd1", "single")
    assert found.advice[0].text() == f"Download it again: {whole // 3:,} of {whole:,} bytes are here."
    assert "tensors are complete" in found.evidence[0]
    assert {part.name for part in found.components} == {"unet", "vae", "text_encoder"}


def test_a_header_that_stops_is_told(catalog: Catalog, tmp_path: Path) -> None:
    path = raw_file(tmp_path / "m.safetensors", described({"a": (4,)}), bytes(16))
    os.truncate(path, 20)
    found = inspect_file(path, catalog, hashes=False)
    assert (found.kind, found.family) == ("truncated", None)
    assert "the header alone needs" in found.evidence[0]


def test_damaged_files_are_told(catalog: Catalog, tmp_path: Path) -> None:
    header = described({"a": (4,), "b": (4,)})
    for number, (value, words) in enumerate(
        (
            ({**header, "b": header["a"]}, "overlaps"),
            ({**header, "a": {"dtype": "F99", "shape": [4], "data_offsets": [0, 16]}}, "unknown type"),
            ("{" + '"a":{"dtype":"F32","shape":[' + "[" * 50_000, "not valid JSON"),
            ('{"a": 1, "a": 2}', "twice"),
        )
    ):
        path = raw_file(tmp_path / f"{number}.safetensors", value, bytes(32))
        found = inspect_file(path, catalog, hashes=False)
        assert found.kind == "damaged", words
        assert words in found.evidence[0]


def test_a_shard_is_told_from_the_whole(catalog: Catalog, tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "m-00001-of-00002.safetensors", {"a": (4,)}, metadata={"modelspec.license": "mit"})
    found = inspect_file(path, catalog)
    assert (found.kind, found.variant, found.licence.name) == ("shard", "1 of 2", "mit")
    assert "Fetch the other shards" in found.advice[0].text()
    (tmp_path / "m.safetensors.index.json").write_text("{}")
    assert "m.safetensors.index.json" in inspect_file(path, catalog).advice[0].text()
    os.truncate(path, path.stat().st_size - 1)
    assert inspect_file(path, catalog).kind == "truncated"


def test_an_index_without_its_shards_is_damaged(catalog: Catalog, tmp_path: Path) -> None:
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "m-00001-of-00001.safetensors"}}))
    found = inspect_file(index, catalog)
    assert (found.kind, found.evidence[0]) == (
        "damaged",
        "The shard m-00001-of-00001.safetensors of m.safetensors.index.json is missing.",
    )
    assert found.advice[0].text() == "Download every shard."


def test_what_is_not_there_is_missing(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "no.safetensors", tmp_path / "link", tmp_path / "file" / "below"):
        with pytest.raises(Missing, match="There is no file"):
            inspect_file(path, catalog)


def test_what_is_no_file_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path / "pipe.safetensors", tmp_path / "loop", tmp_path / "a\0b"):
        with pytest.raises(BadInput):
            inspect_file(path, catalog)


def test_a_folder_of_models_is_told(catalog: Catalog, tmp_path: Path) -> None:
    for name in ("b.safetensors", "a.ckpt", "note.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "c.safetensors").write_bytes(b"x")
    found = inspect_file(tmp_path, catalog)
    assert found.kind == "folder"
    assert "it holds 3 files of models, such as a.ckpt, b.safetensors, c.safetensors" in found.evidence
    assert found.advice[0].text() == f"Look at one of the models in it: pinxit models inspect {tmp_path}/a.ckpt"
    (tmp_path / "empty").mkdir()
    assert inspect_file(tmp_path / "empty", catalog).kind == "folder"


def test_a_folder_of_pickles_is_told(catalog: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"unet": ["diffusers", "UNet2DConditionModel"]}))
    (folder / "unet" / "config.json").write_text("{}")
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({}))
    found = inspect_file(folder / "model_index.json", catalog)
    assert (found.kind, found.layout) == ("diffusers", "diffusers")
    assert found.advice[0].text().endswith(f"pinxit models convert {folder} {folder}-safetensors")


@pytest.mark.parametrize(
    "shapes",
    [
        {f"down_blocks.{number // 140}.resnets.{number % 140}.conv1.weight": (0,) for number in range(4000)},
        {f"{number}" + ".a" * 240: (0,) for number in range(4000)},
    ],
    ids=["wide", "deep"],
)
def test_thousands_of_strange_names_take_little_memory(
    shapes: dict[str, tuple[int, ...]], catalog: Catalog, tmp_path: Path
) -> None:
    path = sparse_file(tmp_path / "m.safetensors", shapes)
    tracemalloc.start()
    try:
        assert inspect_file(path, catalog, hashes=False).family is None
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()


def test_the_names_of_too_many_tensors_are_not_read_twice(catalog: Catalog, tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "m.safetensors", {f"x{number}": (0,) for number in range(60_000)})
    found = inspect_file(path, catalog, hashes=False)
    assert (found.kind, found.components) == ("damaged", ())
    assert "more than 20,000 tensors" in found.evidence[0]
