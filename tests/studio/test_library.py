"""Models by name: the built-in one, the user's folder, and files that are named by their path."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from pinxit.engine.library import ModelEntry
from pinxit.schema.errors import BadInput, BadModelFile, Missing, ModelError, PinxitError, UnknownName
from pinxit.studio import library as libraries
from pinxit.studio.hashes import Hashes, compute_hashes
from pinxit.studio.library import Library
from pinxit.studio.paths import model_folder
from tests.studio.trees import touch
from tests.tiny import make_pinxit
from tests.weights.files import sparse_file


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

    monkeypatch.setattr(os, "scandir", refused)
    assert not Library([folder], builtin=tmp_path / "no").entries()


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


def test_several_folders_are_named_as_in_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("one", "two"):
        make_pinxit(tmp_path / place / place)
    monkeypatch.setenv("PINXIT_MODELS", os.pathsep.join(["", str(tmp_path / "one"), str(tmp_path / "two")]))
    found = Library(builtin=tmp_path / "no")
    assert {entry.name for entry in found.entries()} == {"one", "two"}
    assert found.folders == (tmp_path / "one", tmp_path / "two")
    assert model_folder() == tmp_path / "one"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """Checkpoints with contents of their own, and a LoRA."""
    root = tmp_path / "shelf"
    for name in ("Dream", "sdxl/Juggernaut", "sd1/twin", "sdxl/twin", "two words", "v1.5"):
        touch(root / f"{name}.safetensors", name.encode() * (220_000 if name == "Dream" else 1))
    touch(root / "lora" / "ink.safetensors")
    touch(root / "old.ckpt", b"a pickle")
    touch(root / "Dream.ckpt", b"the same as a pickle")
    return root


def hashes_of(path: Path) -> Hashes:
    return compute_hashes(path)


@pytest.mark.parametrize(
    "asked",
    [
        "Dream",
        "dream",
        " DREAM ",
        "Dream.safetensors",
        "dream.ckpt",
        "dream.SafeTensors",
        "{short} is not known",
        "Dream [{short}]",
        "Dream.safetensors [{short}]",
        "dream.ckpt [{sha256}]",
        "Another name [{short}]",
        "{short}",
        "{sha256}",
        "sha256:{sha256}",
        "0x{sha256}",
        "{autov1}",
        "Dream.ckpt [{autov1}]",
        "blake3:{blake3}",
        "{blake3}",
        "{SHORT}",
    ],
)
def test_the_many_ways_to_ask_for_one_model(shelf: Path, asked: str) -> None:
    known = hashes_of(shelf / "Dream.safetensors")
    words = {**known.to_json(), "short": known.autov2, "SHORT": known.autov2.upper()}
    if asked.endswith("is not known"):
        with pytest.raises(UnknownName):
            without_builtin(shelf).find(asked.format(**words))
        return
    assert without_builtin(shelf).find(asked.format(**words)).path == shelf / "Dream.safetensors"


def test_a_fingerprint_without_the_metadata_finds_a_file(tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "m" / "x.safetensors", {"a": (4, 4)})
    digits = hashes_of(path).autov3
    assert digits is not None
    assert without_builtin(tmp_path / "m").find(digits).path == path


@pytest.mark.parametrize("asked", ["sdxl/juggernaut", "Juggernaut", "sdxl\\Juggernaut.safetensors", "SDXL/JUGGERNAUT"])
def test_the_folders_before_a_name_may_be_left_out(shelf: Path, asked: str) -> None:
    assert without_builtin(shelf).find(asked).name == "sdxl/Juggernaut"


def test_a_name_that_several_have_is_not_guessed(shelf: Path) -> None:
    library = without_builtin(shelf)
    with pytest.raises(BadInput) as raised:
        library.find("twin")
    assert str(raised.value) == ("There are 2 models that 'twin' may mean: sd1/twin, sdxl/twin. Give the whole name.")
    short = hashes_of(shelf / "sdxl" / "twin.safetensors").autov2
    assert library.find(f"twin [{short}]").name == "sdxl/twin"
    assert library.find("sd1/twin").path == shelf / "sd1" / "twin.safetensors"


def test_another_file_of_the_same_name_is_told(shelf: Path) -> None:
    with pytest.raises(Missing) as raised:
        without_builtin(shelf).find("Dream [0123456789]")
    assert str(raised.value) == (
        "Dream is here, but it is not the file with the fingerprint 0123456789. "
        "Ask for 'Dream' alone to use it all the same."
    )


def test_digits_that_begin_several_fingerprints_are_not_guessed(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hashes, "answers_to", lambda self, digits: True)
    with pytest.raises(BadInput, match=r"The fingerprint 01234567 begins those of \d files: .*Give more digits"):
        without_builtin(shelf).find("01234567")


def test_very_much_is_not_read_for_a_fingerprint(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = hashes_of(shelf / "Dream.safetensors").autov2
    monkeypatch.setattr(libraries, "ASKED_BYTES", 1_000)
    library = without_builtin(shelf)
    with pytest.raises(UnknownName):
        library.find(short)
    assert library.start_hashing().join(60)
    assert library.find(short).name == "Dream"


@pytest.mark.parametrize(
    "asked",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "shelf/../../secret",
        "../secret",
        "..\\secret.safetensors",
        "~/secret",
        "file:///etc/passwd",
        "secret\0",
        "",
        ".",
        "..",
        "/",
        "[]",
        "[deadbeef]",
        "x" * 10_000,
        "\udcff",
    ],
)
def test_no_name_leads_out_of_the_folders(shelf: Path, monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    touch(shelf.parent / "secret.safetensors")
    library = without_builtin(shelf)
    for entry in library.everything():
        for path in library.weights(entry):
            library.cache.hashes(path)
    opened: list[object] = []
    monkeypatch.setattr(Path, "open", lambda self, *_, **__: opened.append(self))
    with pytest.raises(PinxitError) as raised:
        library.find(asked)
    assert isinstance(raised.value, UnknownName | Missing)
    assert not opened
    assert len(raised.value.message) < 400


def test_a_pickle_is_named_with_the_command_that_converts_it(shelf: Path) -> None:
    with pytest.raises(BadModelFile) as raised:
        without_builtin(shelf).find("old")
    assert str(raised.value) == (
        "old.ckpt is a pickle, which can run code, so it is never loaded. "
        f"Convert it: pinxit models convert {shelf}/old.ckpt old.safetensors"
    )


def test_other_kinds_are_found_by_their_kind(shelf: Path) -> None:
    library = without_builtin(shelf)
    assert library.find("ink", "lora").path == shelf / "lora" / "ink.safetensors"
    assert library.find("ink", None).kind == "lora"
    assert {entry.name for entry in library.entries("lora")} == {"ink"}
    with pytest.raises(Missing) as raised:
        library.find("ink")
    assert str(raised.value) == (
        "ink lies among the models of the kind lora, not checkpoint. Move it, or ask for another."
    )
    with pytest.raises(UnknownName) as unknown:
        library.find("inc", "lora")
    assert str(unknown.value) == "There is no lora named 'inc'. Did you mean 'ink'?"


@pytest.mark.parametrize(
    ("asked", "hint"),
    [("Juggernout", "Did you mean 'sdxl/Juggernaut'?"), ("two word", "Did you mean 'two words'?")],
)
def test_misses_are_told_with_the_nearest(shelf: Path, asked: str, hint: str) -> None:
    with pytest.raises(UnknownName) as raised:
        without_builtin(shelf).find(asked)
    assert raised.value.hint == hint


def test_known_fingerprints_cost_nothing(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = without_builtin(shelf)
    entry = library.find("Dream")
    assert library.known_hashes(entry) is None
    assert library.start_hashing().join(60)
    known = library.known_hashes(entry)
    assert known == hashes_of(entry.path)
    assert library.known_hashes(ModelEntry(name="x", title="x", path=shelf / "gone")) is None


def test_a_library_serves_several_threads(shelf: Path) -> None:
    library = without_builtin(shelf)
    work = library.start_hashing()
    found: list[str] = []

    def ask() -> None:
        for _ in range(20):
            found.append(library.find("Juggernaut").name)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["sdxl/Juggernaut"] * 80
    assert work.join(60)
