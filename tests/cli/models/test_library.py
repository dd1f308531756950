"""`pinxit models list`, `hash` and `pull` as they are typed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pinxit.studio import hashes as hashing
from pinxit.studio import listing
from pinxit.studio.hashes import compute_hashes
from tests.cli.fakes import Result, call
from tests.studio.hub import COMMIT, Hub, Repository, serving
from tests.studio.trees import touch
from tests.weights.files import manifest, sparse_file

NAME = "someone/dream"


@pytest.fixture(autouse=True)
def own_cache_of_a_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "m"
    sparse_file(root / "sd1.safetensors", manifest("sd-v1"), dtype="F16")
    sparse_file(root / "vae" / "kl f8 模型.safetensors", manifest("vae-kl-f8"), dtype="F32")
    touch(root / "lora" / "broken.safetensors", b"not a model")
    touch(root / "old.ckpt", b"\x80\x02not much of a pickle.")
    return root


def listed(*words: str) -> Result:
    done = call("models", "list", *words)
    assert done.code == 0, done.err
    return done


def test_every_model_has_a_line(folder: Path) -> None:
    lines = [line.split() for line in listed("--models", str(folder)).out.splitlines()]
    assert lines[0] == ["name", "kind", "family", "size", "numbers", "hash"]
    rows = {line[0]: line[1:] for line in lines[1:]}
    assert rows["sd1"][:2] == ["checkpoint", "sd1"]
    assert rows["sd1"][-3:] == ["2.13", "GB", "F16"]
    assert rows["kl"][:3] == ["f8", "模型", "vae"]
    assert rows["broken"][-2:] == ["11", "B"]
    assert set(rows) >= {"old.ckpt", "pinxit"}


def test_wide_characters_keep_the_columns(folder: Path) -> None:
    lines = listed("--models", str(folder), "--kind", "vae").out.splitlines()
    assert lines[0].index("kind") == lines[1].index("vae") + 2, "two characters are two columns wide"


def test_as_json(folder: Path) -> None:
    found = listed("--models", str(folder), "--json").events[0]
    rows = {row["name"]: row for row in found["models"]}
    assert found["event"] == "listed"
    row = rows["sd1"]
    assert (row["kind"], row["family"], row["dtype"], row["hash"], row["place"]) == (
        "checkpoint",
        "sd1",
        "F16",
        None,
        "checkpoint",
    )
    assert row["bytes"] == (folder / "sd1.safetensors").stat().st_size
    assert row["path"] == str(folder / "sd1.safetensors")


def test_kinds_are_chosen_by_what_a_file_is_or_where_it_lies(folder: Path) -> None:
    def names(kind: str) -> set[str]:
        return {row["name"] for row in listed("--models", str(folder), "--json", "--kind", kind).events[0]["models"]}

    assert names("vae") == {"kl f8 模型"}
    assert names("lora") == {"broken", "few-step"}
    assert names("checkpoint") >= {"sd1", "pinxit", "old.ckpt"}
    done = call("models", "list", "--models", str(folder), "--kind", "voe")
    assert (done.code, done.err) == (
        3,
        "pinxit: There is no kind of model named 'voe'.\n  Did you mean 'vae'?\n",
    )


def test_known_fingerprints_are_shown(folder: Path) -> None:
    path = folder / "lora" / "broken.safetensors"
    assert call("models", "hash", str(path)).code == 0
    rows = {row["name"]: row for row in listed("--models", str(folder), "--json").events[0]["models"]}
    assert rows["broken"]["hash"] == hashlib.sha256(path.read_bytes()).hexdigest()[:10]
    assert rows["sd1"]["hash"] is None


def test_headers_are_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = listed("--models", str(folder)).out
    looked: list[Path] = []
    real = listing.inspect_file

    def look(path: Path, *arguments: object, **options: object) -> object:
        looked.append(path)
        return real(path, *arguments, **options)  # pyright: ignore[reportArgumentType] - passed on as they came

    monkeypatch.setattr(listing, "inspect_file", look)
    assert listed("--models", str(folder)).out == before
    assert not looked
    path = sparse_file(folder / "sd1.safetensors", manifest("vae-kl-f8"), dtype="F16")
    os.utime(path, (1, 1))
    listed("--models", str(folder))
    assert looked == [path]
    (tmp := folder.parent / "cache" / "listing.json").write_bytes(b"{")
    assert "sd1" in listed("--models", str(folder)).out
    assert len(looked) > 1
    assert json.loads(tmp.read_text())["files"]


def test_hundreds_of_models_are_listed_from_what_is_remembered(tmp_path: Path) -> None:
    for number in range(300):
        sparse_file(tmp_path / "m" / f"{number}.safetensors", {"lora_up.weight": (number + 1, 4)})
    listed("--models", str(tmp_path / "m"))
    started = time.process_time()
    assert len(listed("--models", str(tmp_path / "m")).out.splitlines()) >= 300
    assert time.process_time() - started < 10


def test_a_folder_without_models_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinxit.studio.library.builtin_model", lambda: tmp_path / "none")
    done = listed("--models", str(tmp_path))
    assert done.err == f"No models in {tmp_path}.\n"
    assert listed("--models", str(tmp_path), "--kind", "lora").out.splitlines() == [done.out.strip()]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = call("models", "list", "--models", str(tmp_path / "gone"))
    assert (done.code, done.err) == (5, f"pinxit: There is no folder {tmp_path}/gone.\n  Check the path.\n")


def test_file_names_drive_no_terminal(tmp_path: Path) -> None:
    touch(tmp_path / "\x1b[31mred\x07.safetensors")
    assert not set(listed("--models", str(tmp_path)).out) & {"\x1b", "\x07"}


def test_fingerprints_of_files_and_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINXIT_MODELS", str(folder))
    path = folder / "lora" / "broken.safetensors"
    known = compute_hashes(path)
    done = call("models", "hash", str(path))
    assert done.out == (
        f"{path}\n  sha256  {known.sha256}\n  autov2  {known.autov2}\n  autov1  {known.autov1}\n"
        f"  autov3  none\n  blake3  {known.blake3}\n"
    )
    events = call("models", "hash", "broken", str(path), "--json").events
    assert events == [
        {"event": "hashed", "name": path.name, "path": str(path), "hashes": known.to_json()},
        {"event": "hashed", "name": path.name, "path": str(path), "hashes": known.to_json()},
    ]


def test_all_models_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinxit.studio.library.builtin_model", lambda: tmp_path / "none")
    for name in ("a", "sub/b", "lora/c"):
        touch(tmp_path / "m" / f"{name}.safetensors")
    done = call("models", "hash", "--all", "--models", str(tmp_path / "m"), "--json")
    assert done.code == 0
    assert {event["name"] for event in done.events} == {"a.safetensors", "b.safetensors", "c.safetensors"}


def test_what_cannot_be_read_is_told_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinxit.studio.library.builtin_model", lambda: tmp_path / "none")
    for name in ("a", "b"):
        touch(tmp_path / "m" / f"{name}.safetensors")
    real = hashing._digest  # pyright: ignore[reportPrivateUsage] - where a disk may fail

    def digest(file: object, stop: object, path: Path) -> object:
        if path.name.startswith("a"):
            raise OSError(5, "Input/output error")
        return real(file, stop, path)  # pyright: ignore[reportArgumentType] - passed on as they came

    monkeypatch.setattr(hashing, "_digest", digest)
    done = call("models", "hash", "--all", "--models", str(tmp_path / "m"))
    assert done.code == 5
    assert done.err == "pinxit: a.safetensors cannot be read: Input/output error.\n  Check its permissions.\n"
    assert str(tmp_path / "m" / "b.safetensors") in done.out


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 2, "pinxit models hash needs a file or a name.\n  --all takes all models of the library."),
        (("nosuch",), 3, "There is no model named 'nosuch'."),
        (("gone/x.safetensors",), 3, "There is no model named 'gone/x.safetensors'."),
    ],
)
def test_nothing_to_compute_is_told(folder: Path, words: tuple[str, ...], code: int, text: str) -> None:
    done = call("models", "hash", *words, "--models", str(folder))
    assert done.code == code
    assert text in done.err


def test_a_path_to_nothing_is_told(tmp_path: Path) -> None:
    done = call("models", "hash", str(tmp_path / "gone.safetensors"))
    assert (done.code, done.err) == (5, f"pinxit: There is no file {tmp_path}/gone.safetensors.\n  Check the path.\n")


def pull(hub: Hub, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, where the client reads its environment."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(folder / "hf"),
        "HF_TOKEN": "hf_secret",
        "PINXIT_MODELS": str(folder / "models"),
        "PINXIT_LANG": "en",
    }
    done = [sys.executable, "-m", "pinxit", "models", "pull", *words]
    return subprocess.run(done, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_a_model_is_pulled_and_can_be_named(tmp_path: Path) -> None:
    files = {"README.md": b"# Dream", "dream.safetensors": b"w" * 5_000, "dream.ckpt": b"p" * 5_000, "x.py": b"1"}
    with serving(Hub(repositories={NAME: Repository(files=files, token="hf_secret")})) as hub:
        done = pull(hub, tmp_path, NAME)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{tmp_path}/models/{NAME}\n"
        assert done.stderr.splitlines() == [
            "Fetching README.md (7 B)",
            "Fetching dream.safetensors (5.00 kB)",
            f"2 of 2 files fetched, commit {COMMIT[:10]}",
        ]
        again = pull(hub, tmp_path, NAME, "--json", "--revision", COMMIT, "--include", "*.safetensors, *.md")
        event = json.loads(again.stdout)
        assert (event["event"], event["commit"], event["fetched"]) == ("pulled", COMMIT, [])
        assert {path for _, path, _ in hub.requests} == {
            f"/api/models/{NAME}",
            f"/api/models/{NAME}/revision/{COMMIT}",
            f"/{NAME}/resolve/{COMMIT}/README.md",
            f"/{NAME}/resolve/{COMMIT}/dream.safetensors",
        }, "nothing else is asked"
        agents = {headers["user-agent"].split(";")[0] for _, _, headers in hub.requests}
        assert all("torch" not in headers["user-agent"] for _, _, headers in hub.requests)
        assert all(agent.startswith("pinxit/") for agent in agents)
    rows = listed("--models", str(tmp_path / "models"), "--json").events[0]["models"]
    row = next(row for row in rows if row["name"] == f"{NAME}/dream")
    assert row["hash"] is not None


@pytest.mark.parametrize("name", ["../../etc", "..", "a/../../b", "/"])
def test_no_name_of_a_repository_leads_out_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PINXIT_MODELS", str(tmp_path / "models"))
    done = call("models", "pull", name)
    assert done.code == 3
    assert "is not the name of a repository" in done.err
    assert not list(tmp_path.iterdir())
