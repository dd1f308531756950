"""The folders of other programs are used where they lie, and hostile ones do no harm."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pinxit.engine.library import ModelEntry
from pinxit.studio import foreign, walk
from pinxit.studio.library import Library
from tests.studio.trees import a1111, comfyui, diffusers, fooocus, hub_cache, invokeai, touch


def library(*roots: Path) -> Library:
    return Library(roots, builtin=Path("nowhere"))


def shown(*roots: Path) -> dict[str, set[str]]:
    """Names by kind of place."""
    found: dict[str, set[str]] = {}
    for entry in library(*roots).everything():
        found.setdefault(entry.kind, set()).add(entry.name)
    return found


A1111 = {
    "checkpoint": {"dream", "sdxl/juggernaut", "old.ckpt"},
    "vae": {"kl-f8"},
    "taesd": {"taesd"},
    "lora": {"style/ink", "loha"},
    "controlnet": {"canny", "depth"},
    "upscaler": {"x4.pth"},
    "hypernetwork": {"hyper"},
    "text_encoder": {"t5"},
    "embedding": {"easynegative"},
    "other": {"adetailer/face"},
}


def test_a1111(tmp_path: Path) -> None:
    before = set(a1111(tmp_path / "webui").rglob("*"))
    assert shown(tmp_path / "webui") == A1111
    assert set((tmp_path / "webui").rglob("*")) == before


def test_the_folder_of_models_alone_is_recognised_too(tmp_path: Path) -> None:
    a1111(tmp_path / "webui")
    found = shown(tmp_path / "webui" / "models")
    assert found == {kind: names - {"depth"} for kind, names in A1111.items() if kind != "embedding"}


def test_comfyui(tmp_path: Path) -> None:
    assert shown(comfyui(tmp_path / "ComfyUI")) == {
        "checkpoint": {"dream", "ünï cödé 模型", "sd15"},
        "diffusion_model": {"sd3-alone", "flux"},
        "vae": {"sdxl"},
        "text_encoder": {"l", "g"},
        "lora": {"anime/ghibli"},
        "embedding": {"bad"},
        "controlnet": {"canny"},
        "upscaler": {"x2"},
        "style": {"redux"},
        "clip_vision": {"h"},
    }


EXTRA = """
# a remark
a1111:
    base_path: ../webui/   # where it is
    checkpoints: models/Stable-diffusion
    configs: models/Stable-diffusion
    loras: |
         models/Lora
         models/LyCORIS

    embeddings: "embeddings"
    custom_nodes: evil
    nonsense: [1, 2]
other:
    is_default: true
    base_path: {absolute}
    vae: 'vaes of mine'
    checkpoints: >
        more
\tbroken line
no section
checkpoints: /at/top/level
"""


def test_comfyuis_extra_paths_are_followed(tmp_path: Path) -> None:
    a1111(tmp_path / "webui")
    absolute = tmp_path / "far away"
    touch(absolute / "vaes of mine" / "best.safetensors")
    touch(absolute / "more" / "extra.safetensors")
    root = comfyui(tmp_path / "ComfyUI", EXTRA.replace("{absolute}", str(absolute)))
    found = shown(root)
    assert found["checkpoint"] >= {"dream", "dream-2", "sdxl/juggernaut", "extra", "sd15"}
    assert found["lora"] == {"anime/ghibli", "style/ink", "loha"}
    assert found["vae"] == {"sdxl", "best"}
    assert found["embedding"] == {"bad", "easynegative"}
    assert "weights" not in found.get("other", set())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "a: &a [*a, *a]",
        "!!python/object/apply:os.system ['touch pwned']",
        "a:\n  base_path: !!python/name:os.system\n  checkpoints: x",
        "a:\n  base_path: /\n  checkpoints: " + "\0" * 10,
        "a:\n" + "".join(f"  k{number}: x\n" for number in range(10_000)),
        "a:\n  checkpoints: |\n" + "    x\n" * 100_000,
        "a:\n  base_path: ~nobody-of-that-name\n  checkpoints: $NOTHING_OF_THAT_NAME/x",
        "x" * 2_000_000,
        "a:\n  checkpoints: " + "../" * 3_000,
    ],
    ids=["empty", "nul", "anchors", "tag", "name", "nuls", "keys", "block", "home", "long", "up"],
)
def test_evil_settings_are_only_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    root = comfyui(tmp_path / "ComfyUI", text or "\n")
    (root / "config.txt").write_text(text, "utf-8")
    started = time.monotonic()
    assert "dream" in shown(root)["checkpoint"]
    assert time.monotonic() - started < 20
    assert not (tmp_path / "pwned").exists()


def test_fooocus(tmp_path: Path) -> None:
    touch(tmp_path / "shared" / "photo.safetensors")
    touch(tmp_path / "Fooocus" / "here" / "local.safetensors")
    root = fooocus(
        tmp_path / "Fooocus",
        path_checkpoints=[str(tmp_path / "shared"), "here", 7, "\0", "x" * 5_000],
        path_loras=str(tmp_path / "gone"),
        path_outputs=str(tmp_path),
        path_nothing={"a": 1},
    )
    assert shown(root) == {
        "checkpoint": {"realistic", "photo", "local"},
        "lora": {"offset"},
        "other": {"inpaint/head"},
    }
    (root / "config.txt").write_bytes(b"\xff{")
    assert shown(root)["checkpoint"] == {"realistic"}


INVOKE = {
    "checkpoint": {"dream", "juggernaut-xl"},
    "clip_vision": {"h"},
    "lora": {"ink"},
    "embedding": {"bad"},
    "other": {"0b9d4f1e-1111/custom"},
}


def test_invokeai_without_its_database(tmp_path: Path) -> None:
    assert shown(invokeai(tmp_path / "invokeai")) == INVOKE
    assert shown(tmp_path / "invokeai" / "models") == INVOKE


def test_invokeais_own_names_are_taken_from_its_database(tmp_path: Path) -> None:
    outside = touch(tmp_path / "elsewhere" / "in place.safetensors")
    rows: list[dict[str, Any]] = [
        {"name": "Dream Shaper 8", "type": "main", "path": "sd-1/main/dream.safetensors", "base": "sd-1"},
        {"name": "Mine: v2", "type": "lora", "path": "0b9d4f1e-1111/custom.safetensors"},
        {"name": "Linked", "type": "main", "path": str(outside)},
        {"name": "Gone", "type": "main", "path": "sd-1/main/gone.safetensors"},
        {"name": "Secrets", "type": "main", "path": "/etc/passwd"},
        {"name": "Nul", "type": "main", "path": "a\0b.safetensors"},
        {"name": 7, "type": "main", "path": "x"},
        {"path": "x"},
    ]
    root = invokeai(tmp_path / "invokeai", rows)
    with closing(sqlite3.connect(root / "databases" / "invokeai.db")) as connection, connection:
        connection.execute("INSERT INTO models (id, config) VALUES ('text', '\"only a text\"')")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    found = library(root)
    names = {(entry.name, entry.kind) for entry in found.everything()}
    assert names == {
        ("Dream Shaper 8", "checkpoint"),
        ("Mine_ v2", "lora"),
        ("Linked", "checkpoint"),
        ("juggernaut-xl", "checkpoint"),
        ("h", "clip_vision"),
        ("ink", "lora"),
        ("bad", "embedding"),
    }
    assert found.find("dream").name == "Dream Shaper 8", "the file's name is an alias"
    assert found.find("dream shaper 8").path == root / "models/sd-1/main/dream.safetensors"
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before, "read only"


def test_a_database_in_use_is_read_with_its_journal(tmp_path: Path) -> None:
    root = invokeai(tmp_path / "invokeai", [])
    with closing(sqlite3.connect(root / "databases" / "invokeai.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        row = {"name": "Fresh", "type": "main", "path": "sd-1/main/dream.safetensors"}
        connection.execute("INSERT INTO models (id, config) VALUES ('1', ?)", (json.dumps(row),))
        connection.commit()
        assert library(root).find("Fresh").path.name == "dream.safetensors"


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + b"\xff" * 5_000, b"text", None])
def test_a_database_that_cannot_be_read_is_done_without(tmp_path: Path, content: bytes | None) -> None:
    root = invokeai(tmp_path / "invokeai")
    database = root / "databases" / "invokeai.db"
    if content is None:
        database.mkdir(parents=True)
    else:
        touch(database, content)
    assert shown(root) == INVOKE


def test_a_database_that_computes_for_ever_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "SQL_STEPS", 100_000)
    root = invokeai(tmp_path / "invokeai")
    (root / "databases").mkdir()
    with closing(sqlite3.connect(root / "databases" / "invokeai.db")) as connection, connection:
        connection.execute(
            "CREATE VIEW models AS WITH RECURSIVE n(config) AS (SELECT 1 UNION ALL SELECT config + 1 FROM n) "
            "SELECT config FROM n WHERE config < 0"
        )
    started = time.monotonic()
    assert shown(root) == INVOKE
    assert time.monotonic() - started < 20


NEW, OLD = "b" * 40, "a" * 40


def test_a_hubs_cache(tmp_path: Path) -> None:
    parts = {"model_index.json": b"{}", "unet/config.json": b"{}", "unet/diffusion_pytorch_model.safetensors": b"u"}
    hub_cache(tmp_path, "someone", "dream-xl", {NEW: parts, OLD: {**parts, "extra.safetensors": b"old"}}, NEW)
    hub_cache(tmp_path, "other", "files", {OLD: {"v1-5.safetensors": b"v15", "vae/x.safetensors": b"x"}}, OLD)
    hub_cache(tmp_path, "other", "lost", {OLD: {"one.safetensors": b"1"}}, "gone")
    touch(tmp_path / "models--evil" / "x.safetensors")
    touch(tmp_path / ".locks" / "y.safetensors")
    found = library(tmp_path)
    assert {entry.name for entry in found.everything()} == {
        "someone/dream-xl",
        f"someone/dream-xl@{OLD[:10]}",
        f"someone/dream-xl@{OLD[:10]}/extra",
        "other/files/v1-5",
        "other/files/vae/x",
        "other/lost/one",
        "models--evil/x",
    }
    assert found.find("dream-xl").path == tmp_path / "models--someone--dream-xl" / "snapshots" / NEW
    assert found.find("v1-5").path.name == "v1-5.safetensors"


def test_several_programs_below_one_folder(tmp_path: Path) -> None:
    a1111(tmp_path / "stable-diffusion-webui")
    comfyui(tmp_path / "ComfyUI")
    touch(tmp_path / "loose.safetensors")
    touch(tmp_path / "mine" / "deep" / "er.safetensors")
    found = shown(tmp_path)
    assert found["checkpoint"] == {
        "dream",
        "dream-2",
        "sdxl/juggernaut",
        "old.ckpt",
        "ünï cödé 模型",
        "sd15",
        "loose",
        "mine/deep/er",
    }
    assert found["controlnet"] == {"canny", "canny-2", "depth"}


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    touch(tmp_path / "dream.safetensors")
    touch(tmp_path / "sdxl" / "dream.safetensors")
    touch(tmp_path / "lora" / "ink.safetensors")
    touch(tmp_path / "vae" / "kl.safetensors")
    diffusers(tmp_path / "sdxl" / "folder model")
    touch(tmp_path / "controlnet" / "canny" / "config.json", b"{}")
    touch(tmp_path / "controlnet" / "canny" / "diffusion_pytorch_model.safetensors")
    assert shown(tmp_path) == {
        "checkpoint": {"dream", "sdxl/dream", "sdxl/folder model"},
        "lora": {"ink"},
        "vae": {"kl"},
        "controlnet": {"canny"},
    }


def test_loops_and_double_ways_are_walked_once(tmp_path: Path) -> None:
    root = a1111(tmp_path / "webui")
    models = root / "models" / "Stable-diffusion"
    (models / "loop").symlink_to(root)
    (models / "self").symlink_to(models)
    (models / "broken").symlink_to(tmp_path / "nowhere")
    (models / "ring").symlink_to(models / "ring")
    (models / "again.safetensors").symlink_to(models / "dream.safetensors")
    os.link(models / "dream.safetensors", models / "hard.safetensors")
    (tmp_path / "outside").mkdir()
    touch(tmp_path / "outside" / "big.safetensors")
    (models / "linked").symlink_to(tmp_path / "outside")
    os.mkfifo(models / "pipe.safetensors")
    found = library(root)
    names = {entry.name for entry in found.entries()}
    assert len(names & {"again", "dream", "hard"}) == 1, "one file, one entry"
    assert {found.find(name).path.stat().st_ino for name in ("again", "dream", "hard")} == {
        (models / "dream.safetensors").stat().st_ino
    }
    assert {name.rpartition("/")[2] for name in names} >= {"juggernaut", "big"}
    assert "pipe" not in names


def test_what_cannot_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "good" / "dream.safetensors")
    touch(tmp_path / "closed" / "secret.safetensors")
    real = os.scandir

    def scandir(path: Path) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert shown(tmp_path) == {"checkpoint": {"good/dream"}}


NAMES = [
    "with space",
    "emoji 🍎",
    "模型",
    "e\u0301clair",
    'quote\'s "double"',
    "dots.in.v1.5",
    "[brackets] (and) {more}",
    "percent%20",
    "-dash",
    "line\nbreak",
    "tab\tulator",
    "back\\slash",
    "~home",
    "C:drive",
    "\x1b[31mred",
    "\u202egnp",
    "x" * 240,
    "undecodable \udcff",
]


@pytest.mark.parametrize("name", NAMES, ids=[ascii(name)[:20] for name in NAMES])
def test_every_file_has_a_name_that_can_be_asked_for(tmp_path: Path, name: str) -> None:
    from pinxit.schema.request import GenerationRequest
    from pinxit.schema.text import holds_a_path

    path = touch(tmp_path / "sub" / f"{name}.safetensors", b"x")
    found = library(tmp_path)
    entry = found.entries()[0]
    assert entry.path == path
    assert GenerationRequest(prompt="x", model=entry.name).model == entry.name
    assert not holds_a_path(entry.name)
    assert found.find(entry.name) == found.find(entry.name.upper()) == entry


def test_names_that_collide_are_numbered_and_stay_so(tmp_path: Path) -> None:
    roots = [tmp_path / place for place in "abc"]
    for root in roots:
        touch(root / "Dream.safetensors")
    touch(roots[0] / "dream.gguf")
    found = library(*roots)
    paths = {entry.name: entry.path for entry in found.entries()}
    assert sorted(paths) == ["Dream", "Dream-3", "Dream-4", "dream-2"]
    assert paths["Dream"] == roots[0] / "Dream.safetensors"
    assert paths == {entry.name: entry.path for entry in library(*roots).entries()}


def test_ten_thousand_files(tmp_path: Path) -> None:
    for folder in range(100):
        (tmp_path / f"d{folder:02}").mkdir()
        for number in range(100):
            (tmp_path / f"d{folder:02}" / f"m{number:02}.safetensors").touch()
    past = time.time() - 100
    for folder in (tmp_path, *tmp_path.iterdir()):
        os.utime(folder, (past, past))
    found = library(tmp_path)
    started = time.process_time()
    assert len(found.entries()) == 10_000
    first = time.process_time() - started
    started = time.process_time()
    assert found.find("d55/m55").path == tmp_path / "d55" / "m55.safetensors"
    with pytest.raises(Exception, match="There are 100 models that 'm07' may mean"):
        found.find("m07")
    with pytest.raises(Exception, match="There is no model named"):
        found.find("completely different")
    assert time.process_time() - started < 20
    assert first < 30


def test_more_than_anybody_has_is_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MOST_FILES", 50)
    for number in range(100):
        touch(tmp_path / f"{number}.safetensors")
    assert len(library(tmp_path).entries()) == 50
    deep = tmp_path / "deep" / "/".join("d" * 40)
    touch(deep / "x.safetensors")
    monkeypatch.undo()
    assert not [entry for entry in library(tmp_path / "deep").entries() if entry.path.parent == deep]


def test_changes_are_noticed(tmp_path: Path) -> None:
    found = library(comfyui(tmp_path / "c"))
    checkpoints = tmp_path / "c" / "models" / "checkpoints"
    past = time.time() - 100
    for path in (tmp_path / "c").rglob("*"):
        if path.is_dir():
            os.utime(path, (past, past))

    def names() -> set[str]:
        return {entry.name for entry in found.entries()}

    assert "new" not in names()
    touch(checkpoints / "new.safetensors")
    assert "new" in names()
    (checkpoints / "new.safetensors").unlink()
    assert "new" not in names()
    touch(tmp_path / "far" / "extra.safetensors")
    (tmp_path / "c" / "extra_model_paths.yaml").write_text("x:\n  base_path: ../far\n  checkpoints: .\n")
    assert "extra" in names()


def test_a_quiet_folder_is_not_walked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "m" / "dream.safetensors")
    past = time.time() - 100
    for folder in (tmp_path / "m", tmp_path):
        os.utime(folder, (past, past))
    found = library(tmp_path / "m")
    entries = found.entries()
    calls: list[ModelEntry] = []
    monkeypatch.setattr("pinxit.studio.library.look", lambda *_: calls.append(entries[0]))
    assert found.entries() == entries
    assert not calls
