"""Models from a hub, with the real client and a server on this machine."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pinxit.schema.errors import BadInput, BadModelFile, Interrupted, Missing, OutOfSpace
from pinxit.studio import pull as pulling
from pinxit.studio.hashes import HashCache
from pinxit.studio.library import Library
from pinxit.studio.pull import SOURCE, Pulled, pull
from tests.studio.hub import COMMIT, Hub, Repository, serving

NAME = "someone/dream-xl"
NEWER = "f" * 40
WEIGHTS = bytes(range(256)) * 2_000
FILES = {
    "README.md": b"---\nlicense: openrail\n---\n# Dream\n",
    "model_index.json": b'{"_class_name": "StableDiffusionPipeline"}',
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": WEIGHTS,
    "unet/diffusion_pytorch_model.fp16.safetensors": WEIGHTS[:5_000],
    "unet/diffusion_pytorch_model.bin": b"a pickle" * 1_000,
    "tokenizer/vocab.json": b"{}",
    "tokenizer/merges.txt": b"a b\n",
    "dream.ckpt": b"a pickle" * 1_000,
    "pipeline.py": b"import os",
    "LICENSE": b"As you like.",
    ".gitattributes": b"*.bin filter=lfs",
    "../evil.json": b"{}",
    "a/../../evil.safetensors": WEIGHTS,
    "c:\\evil.json": b"{}",
}
ALLOWED = {
    "README.md",
    "model_index.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "LICENSE",
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub(repositories={NAME: Repository(files=dict(FILES))})) as hub:
        yield hub


@pytest.fixture(autouse=True)
def nobodys_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs the tests is not known to any hub, and only the one on this machine is asked anything."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))


def pulled(hub: Hub, folder: Path, name: str = NAME, **options: Any) -> Pulled:
    return pull(name, folder, cache=HashCache(folder.with_name("hashes.json")), endpoint=hub.url, **options)


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_what_cannot_run_is_fetched_and_the_commit_is_pinned(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "models" / NAME
    found = pulled(hub, folder)
    assert files_in(folder) == ALLOWED | {SOURCE}
    assert set(found.files) == set(found.fetched) == ALLOWED
    assert found.commit == COMMIT
    assert (folder / "unet/diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS
    source = json.loads((folder / SOURCE).read_text())
    assert (source["repository"], source["revision"], source["commit"]) == (NAME, "main", COMMIT)
    weights = source["files"]["unet/diffusion_pytorch_model.safetensors"]
    assert weights == {"commit": COMMIT, "size": len(WEIGHTS), "sha256": hashlib.sha256(WEIGHTS).hexdigest()}
    assert not (tmp_path / "models" / "evil.json").exists()
    assert not any("/resolve/" in path and COMMIT not in path for _, path, _ in hub.requests)
    assert all("torch" not in headers["user-agent"] for headers in hub.asked("/api/"))


def test_what_is_pulled_is_a_model_of_the_library(hub: Hub, tmp_path: Path) -> None:
    pulled(hub, tmp_path / "models" / NAME)
    library = Library([tmp_path / "models"], builtin=tmp_path / "none")
    assert library.find(NAME).path == tmp_path / "models" / NAME
    assert library.find("Dream-XL").name == NAME


def test_what_is_here_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    pulled(hub, tmp_path / "m")
    hub.requests.clear()
    again = pulled(hub, tmp_path / "m")
    assert again.fetched == ()
    assert not hub.asked("/resolve/")
    (tmp_path / "m" / "unet/config.json").unlink()
    assert pulled(hub, tmp_path / "m").fetched == ("unet/config.json",)


def test_a_newer_commit_replaces_what_was_pulled_before(hub: Hub, tmp_path: Path) -> None:
    pulled(hub, tmp_path / "m")
    repository = hub.repositories[NAME]
    repository.files["unet/config.json"] = b'{"new": 1}'
    repository.commits["main"] = NEWER
    found = pulled(hub, tmp_path / "m")
    assert (found.commit, found.fetched) == (NEWER, ("unet/config.json",))
    assert (tmp_path / "m" / "unet/config.json").read_bytes() == b'{"new": 1}'


def test_a_revision_is_resolved_to_its_commit(hub: Hub, tmp_path: Path) -> None:
    hub.repositories[NAME].commits["v1"] = NEWER
    assert pulled(hub, tmp_path / "m", revision="v1").commit == NEWER
    assert json.loads((tmp_path / "m" / SOURCE).read_text())["revision"] == "v1"
    with pytest.raises(Missing) as raised:
        pulled(hub, tmp_path / "n", revision="v9")
    assert str(raised.value) == f"{NAME} has no revision v9. Leave --revision out for the newest."
    assert not (tmp_path / "n").exists()


def test_patterns_choose(hub: Hub, tmp_path: Path) -> None:
    found = pulled(hub, tmp_path / "m", include=["*.fp16.safetensors", "README.md"])
    assert set(found.files) == {"unet/diffusion_pytorch_model.fp16.safetensors", "README.md"}


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("*.bin", "unet/diffusion_pytorch_model.bin is not fetched: only safetensors, JSON, texts and tokenizers are."),
        ("*.py", "pipeline.py is not fetched: only safetensors, JSON, texts and tokenizers are."),
        ("nothing*", f"{NAME} has no file that matches 'nothing*'."),
    ],
)
def test_a_pattern_for_what_is_not_fetched_is_told(hub: Hub, tmp_path: Path, pattern: str, text: str) -> None:
    with pytest.raises(BadInput) as raised:
        pulled(hub, tmp_path / "m", include=[pattern])
    assert raised.value.message == text
    assert "unet/diffusion_pytorch_model.safetensors" in raised.value.hint


def test_a_repository_of_pickles_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.repositories["old/one"] = Repository(files={"model.ckpt": b"x" * 2_000, "README.md": b"hello"})
    with pytest.raises(BadModelFile) as raised:
        pulled(hub, tmp_path / "m", "old/one")
    assert str(raised.value) == (
        "old/one has no weights in safetensors, only pickles such as model.ckpt. "
        "pinxit fetches no pickles, because they can run code: look for a converted copy."
    )


def test_a_transfer_that_was_stopped_goes_on_where_it_was(hub: Hub, tmp_path: Path) -> None:
    seen: list[int] = []
    with pytest.raises(Interrupted) as raised:
        pulled(
            hub,
            tmp_path / "m",
            include=["diffusion_pytorch_model.safetensors"],
            report=lambda name, done, size: seen.append(done),
            stop=lambda: len(seen) >= 1,
        )
    assert raised.value.hint == "The same command goes on."
    partial = next((tmp_path / "m").rglob("*.partial"))
    partial.write_bytes(WEIGHTS[:100_000])
    hub.requests.clear()
    done: list[tuple[int, int]] = []
    pulled(
        hub,
        tmp_path / "m",
        include=["diffusion_pytorch_model.safetensors"],
        report=lambda name, here, size: done.append((here, size)),
    )
    assert [headers.get("range") for headers in hub.asked("/resolve/")] == ["bytes=100000-"]
    assert done[0] == (100_000, len(WEIGHTS))
    assert done[-1] == (len(WEIGHTS), len(WEIGHTS))
    assert (tmp_path / "m" / "unet/diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS
    assert not list((tmp_path / "m").rglob("*.partial"))


def test_a_connection_that_breaks_is_taken_up_again(hub: Hub, tmp_path: Path) -> None:
    hub.cut, hub.cuts = 50_000, 1
    pulled(hub, tmp_path / "m", include=["diffusion_pytorch_model.safetensors"])
    assert (tmp_path / "m" / "unet/diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS
    assert len(hub.asked("/resolve/")) == 2


def test_a_server_without_ranges_is_asked_for_everything(hub: Hub, tmp_path: Path) -> None:
    hub.ranges = False
    folder = tmp_path / "m" / "unet"
    folder.mkdir(parents=True)
    key = hashlib.sha256(WEIGHTS).hexdigest()[:16]
    (folder / f".diffusion_pytorch_model.safetensors.{key}.partial").write_bytes(WEIGHTS[:70_000])
    pulled(hub, tmp_path / "m", include=["diffusion_pytorch_model.safetensors"])
    assert (folder / "diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("length", [len(WEIGHTS), len(WEIGHTS) + 10], ids=["whole", "longer"])
def test_a_partial_file_that_is_not_the_beginning_is_found_out(hub: Hub, tmp_path: Path, length: int) -> None:
    folder = tmp_path / "m" / "unet"
    folder.mkdir(parents=True)
    key = hashlib.sha256(WEIGHTS).hexdigest()[:16]
    (folder / f".diffusion_pytorch_model.safetensors.{key}.partial").write_bytes(b"?" * length)
    include = ["diffusion_pytorch_model.safetensors"]
    if length == len(WEIGHTS):
        with pytest.raises(BadModelFile, match="came with the fingerprint"):
            pulled(hub, tmp_path / "m", include=include)
    pulled(hub, tmp_path / "m", include=include)
    assert (folder / "diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    "file", ["unet/diffusion_pytorch_model.safetensors", "unet/config.json"], ids=["large", "small"]
)
def test_content_that_is_not_what_the_hub_says_is_refused(hub: Hub, tmp_path: Path, file: str) -> None:
    hub.spoil = file
    with pytest.raises(BadModelFile) as raised:
        pulled(hub, tmp_path / "m")
    assert f"{file} came with the fingerprint" in raised.value.message
    assert not (tmp_path / "m" / file).exists()
    assert not list((tmp_path / "m").rglob("*.partial"))


def test_a_file_of_the_users_is_not_replaced(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "README.md").write_text("mine")
    with pytest.raises(BadInput) as raised:
        pulled(hub, tmp_path / "m")
    assert str(raised.value) == (
        f"{tmp_path}/m/README.md is there already and is another file. Choose another folder with --to."
    )
    assert (tmp_path / "m" / "README.md").read_text() == "mine"


def test_a_token_goes_to_the_hub_and_to_nobody_else(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories[NAME].token = "hf_secret"
    with pytest.raises(Missing) as raised:
        pulled(hub, tmp_path / "m")
    assert str(raised.value) == (
        f"The hub has no repository {NAME}, or it is private. "
        "Check the name (owner/name); for a private one, set HF_TOKEN."
    )
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serving(Hub(repositories=hub.repositories)) as store:
        hub.cdn = store.url
        pulled(hub, tmp_path / "m", include=["*.fp16.safetensors"])
        assert hub.asked("/resolve/")[0]["authorization"] == "Bearer hf_secret"
        assert store.asked("/resolve/")
        assert all("authorization" not in headers for headers in store.asked("/resolve/"))


def test_what_the_hub_refuses_is_told(hub: Hub, tmp_path: Path) -> None:
    hub.repositories[NAME].gated = True
    with pytest.raises(Missing) as raised:
        pulled(hub, tmp_path / "m")
    assert raised.value.message == f"{NAME} is gated: its owner wants its licence accepted first."
    with pytest.raises(Missing, match="The hub has no repository no/body, or it is private"):
        pulled(hub, tmp_path / "m", "no/body")
    for status, text in ((403, "The hub refuses access"), (500, "The hub answered 500"), (200, "does not speak as a")):
        hub.answer = status
        with pytest.raises(Missing, match=text):
            pulled(hub, tmp_path / "m")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("name", ["", "a/b/c", "../../etc", "sp ace/x", "x" * 200])
def test_what_is_no_name_of_a_repository_is_told(hub: Hub, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="is not the name of a repository"):
        pulled(hub, tmp_path / "m", name)


def test_a_hub_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    with serving(Hub()) as gone:
        pass
    with pytest.raises(Missing) as raised:
        pulled(gone, tmp_path / "m")
    assert raised.value.message.startswith(f"The hub at {gone.url} cannot be reached: ")


def test_offline_nobody_is_asked(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Missing) as raised:
        pulled(hub, tmp_path / "m")
    assert str(raised.value) == "The hub is not asked, because HF_HUB_OFFLINE is set. Unset it to fetch models."
    assert not hub.requests


def test_without_the_extra_the_command_that_installs_it_is_named(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(Missing) as raised:
        pulled(hub, tmp_path / "m")
    assert str(raised.value) == (
        "Fetching models needs the package huggingface-hub, which is not installed. "
        'Install it: pip install "pinxit[hub]"'
    )


def test_too_little_space_is_told_before_anything_is_fetched(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OutOfSpace, match=r"are to be fetched, and 0\.00 GB are free"):
        pulled(hub, tmp_path / "m")
    assert not hub.asked("/resolve/")


def test_a_disk_that_fills_up_keeps_what_came(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutOfSpace) as raised:
        pulled(hub, tmp_path / "m", include=["diffusion_pytorch_model.safetensors"])
    assert raised.value.hint == "Free some space; what was fetched is kept, and the same command goes on."
    monkeypatch.setattr(os, "fsync", real)
    hub.requests.clear()
    pulled(hub, tmp_path / "m", include=["diffusion_pytorch_model.safetensors"])
    assert not hub.asked("/resolve/"), "all of it had come"


def test_a_folder_that_cannot_be_written_is_told(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match="cannot be written"):
        pulled(hub, tmp_path / "file" / "m", include=["README.md"])


def test_more_files_than_a_model_has_are_refused(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulling, "MOST_FILES", 5)
    with pytest.raises(BadInput, match="has more than 5 files"):
        pulled(hub, tmp_path / "m")
