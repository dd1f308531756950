"""Models by name: the built-in one, the user's folder, and files that are named by their path."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from pinxit.schema.errors import Missing, ModelError, UnknownName
from pinxit.studio.library import Library
from tests.tiny import make_pinxit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as people have them: models, and everything else."""
    root = tmp_path / "models"
    (root / "Folder model").mkdir(parents=True)
    (root / "Folder model" / "model_index.json").write_text("{}")
    for name in (
        "Dream.safetensors",
        "split.safetensors.index.json",
        "split-00001-of-00002.safetensors",
        "split-00002-of-00002.safetensors",
        "old.ckpt",
        "notes.txt",
        "Dream.png",
        "._Dream.safetensors",
        ".pinxit-x.tmp",
    ):
        (root / name).write_bytes(b"junk")
    (root / "empty").mkdir()
    (root / "folder.safetensors").mkdir()
    (root / "broken.safetensors").symlink_to(root / "nowhere")
    return root


def without_builtin(folder: Path) -> Library:
    return Library([folder], builtin=folder / "absent")


def test_models_are_listed_and_junk_is_not(folder: Path) -> None:
    assert [entry.name for entry in without_builtin(folder).entries()] == ["Dream", "Folder model", "split"]


def test_the_builtin_model_comes_first(tiny_models: Path, folder: Path) -> None:
    library = Library([folder, tiny_models], builtin=tiny_models / "pinxit")
    assert [entry.name for entry in library.entries()][:3] == ["pinxit", "Dream", "Folder model"]
    assert library.find(None).path == tiny_models / "pinxit"
    assert library.find("Pinxit").title == "pinxit's own model"


def test_names_are_found_without_case(folder: Path) -> None:
    library = without_builtin(folder)
    assert library.find("DREAM") == library.find("dream") == library.find("Dream")
    assert library.find("folder MODEL").path == folder / "Folder model"


def test_unknown_names_are_told_with_the_nearest(folder: Path) -> None:
    with pytest.raises(UnknownName) as raised:
        without_builtin(folder).find("dreem")
    assert str(raised.value) == "There is no model named 'dreem'. Did you mean 'Dream'?"
    assert raised.value.field == "model"


@pytest.mark.parametrize("name", [None, "pinxit", "PINXIT"])
def test_an_installation_without_the_builtin_model_says_so(folder: Path, name: str | None) -> None:
    with pytest.raises(Missing) as raised:
        without_builtin(folder).find(name)
    assert str(raised.value) == (
        "The built-in model is not in this installation. "
        "Install pinxit again, or name a model of your own with --model."
    )


def test_folders_that_are_not_there_or_cannot_be_read_are_empty(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not Library([tmp_path / "nowhere"], builtin=tmp_path / "no").entries()
    assert not Library([folder / "notes.txt"], builtin=tmp_path / "no").entries()

    def refused(path: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refused)
    found = Library([folder], builtin=tmp_path / "no")
    with pytest.raises(PermissionError):
        (folder / "Dream.safetensors").is_file()
    monkeypatch.setattr(Path, "iterdir", refused)
    monkeypatch.setattr(Path, "is_file", os.path.isfile)
    assert not found.entries()


def test_a_file_elsewhere_is_adopted_by_its_name(folder: Path, tmp_path: Path) -> None:
    library = without_builtin(folder)
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"")
    assert library.adopt(path) == "mine"
    assert library.adopt(path) == "mine"
    assert library.find("mine").path == path
    assert [entry.name for entry in library.entries()] == ["mine", "Dream", "Folder model", "split"]


def test_a_name_that_is_taken_gets_a_number(folder: Path, tmp_path: Path) -> None:
    library = without_builtin(folder)
    others = [tmp_path / place / "dream.safetensors" for place in ("a", "b")]
    for path in others:
        path.parent.mkdir()
        path.write_bytes(b"")
    assert library.adopt(folder / "Dream.safetensors") == "Dream"
    assert [library.adopt(path) for path in others] == ["dream-2", "dream-3"]
    assert [library.adopt(path) for path in others] == ["dream-2", "dream-3"]
    assert library.find("dream").path == folder / "Dream.safetensors"


def test_paths_may_be_relative_and_from_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    library = without_builtin(folder)
    assert library.adopt(Path("Dream.safetensors")) == "Dream"
    assert library.adopt(Path("~/Dream.safetensors")) == "Dream"


@pytest.mark.parametrize("name", ["nothing.safetensors", "a" * 300, "~nobody-of-that-name/x.safetensors"])
def test_a_path_to_nothing_is_missing(folder: Path, name: str) -> None:
    with pytest.raises(Missing) as raised:
        without_builtin(folder).adopt(Path(name))
    assert str(raised.value) == f"There is no model at {name}. Check the path."
    assert raised.value.field == "model"


def test_a_files_fingerprints_are_told_largest_first(tiny_models: Path) -> None:
    library = Library([tiny_models], builtin=tiny_models / "pinxit")
    files = library.files(library.find("pinxit"))
    paths = {path.name: path for path in (tiny_models / "pinxit").rglob("*.safetensors")}
    assert len(files) == 3
    sizes = sorted((path.stat().st_size for path in (tiny_models / "pinxit").rglob("*.safetensors")), reverse=True)
    first = next(path for path in (tiny_models / "pinxit").rglob("*.safetensors") if path.stat().st_size == sizes[0])
    assert files[0].sha256 == hashlib.sha256(first.read_bytes()).hexdigest()
    assert {file.name for file in files} == set(paths)


def test_a_listed_file_that_is_no_model_is_told_when_it_is_used(folder: Path) -> None:
    library = without_builtin(folder)
    with pytest.raises(ModelError):
        library.files(library.find("Dream"))


def test_models_are_found_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_pinxit(tmp_path / "mine")
    monkeypatch.setenv("PINXIT_MODELS", str(tmp_path))
    assert Library(builtin=tmp_path / "no").find("mine").path == tmp_path / "mine"
