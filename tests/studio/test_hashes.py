"""Fingerprints are computed once per change of a file, and a bad cache costs nothing but time."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from pinxit.schema.errors import Missing
from pinxit.studio import hashes
from pinxit.studio.hashes import HashCache


class Counted:
    """Counts the files that are read through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = hashlib.file_digest

        def digest(*arguments: object) -> object:
            self.count += 1
            return real(*arguments)  # pyright: ignore[reportArgumentType, reportCallIssue] - passed on as they came

        monkeypatch.setattr(hashlib, "file_digest", digest)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    return path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_file_is_read_once(tmp_path: Path, model: Path, counted: Counted) -> None:
    cache = HashCache(tmp_path / "cache" / "hashes.json")
    assert cache.sha256(model) == cache.sha256(model) == sha256(b"weights")
    cache.save()
    again = HashCache(tmp_path / "cache" / "hashes.json")
    assert again.sha256(model) == sha256(b"weights")
    assert counted.count == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["hashes.json"]


@pytest.mark.parametrize("change", ["size", "time", "replaced"])
def test_a_file_that_changed_is_read_again(tmp_path: Path, model: Path, counted: Counted, change: str) -> None:
    cache = HashCache(tmp_path / "hashes.json")
    cache.sha256(model)
    facts = model.stat()
    if change == "replaced":
        other = tmp_path / "other"
        other.write_bytes(b"WEIGHTS")
        os.replace(other, model)
    else:
        model.write_bytes(b"more weights" if change == "size" else b"WEIGHTS")
    moment = facts.st_mtime_ns + (10**9 if change == "time" else 0)
    os.utime(model, ns=(moment, moment))
    assert cache.sha256(model) == sha256(model.read_bytes())
    assert counted.count == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": 1, "b": [2]}',
    ],
    ids=["empty", "cut", "list", "null", "bytes", "deep", "values"],
)
def test_a_damaged_cache_is_empty(tmp_path: Path, model: Path, content: bytes) -> None:
    path = tmp_path / "hashes.json"
    path.write_bytes(content)
    cache = HashCache(path)
    assert cache.sha256(model) == sha256(b"weights")
    cache.save()
    assert sha256(b"weights") in json.loads(path.read_text("utf-8")).values()


def test_what_is_no_fingerprint_is_computed_again(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "hashes.json"
    cache = HashCache(path)
    cache.sha256(model)
    cache.save()
    known = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(dict.fromkeys(known, "ab")), "utf-8")
    assert HashCache(path).sha256(model) == sha256(b"weights")


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, model: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_bytes(b"")
    cache = HashCache(in_the_way / "hashes.json")
    assert cache.sha256(model) == sha256(b"weights")
    cache.save()
    assert in_the_way.read_bytes() == b""


def test_a_full_disk_leaves_no_draft(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    cache = HashCache(tmp_path / "cache" / "hashes.json")
    cache.sha256(model)
    monkeypatch.setattr(os, "replace", full)
    cache.save()
    assert not list((tmp_path / "cache").iterdir())
    monkeypatch.undo()
    cache.save()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["hashes.json"]


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    HashCache(tmp_path / "hashes.json").save()
    assert not list(tmp_path.iterdir())


def test_the_cache_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "MOST_ENTRIES", 3)
    cache = HashCache(tmp_path / "hashes.json")
    for number in range(5):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(bytes([number]))
        cache.sha256(path)
    cache.save()
    kept = json.loads((tmp_path / "hashes.json").read_text("utf-8"))
    assert list(kept.values()) == [sha256(bytes([number])) for number in (2, 3, 4)]


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Missing) as raised:
        HashCache(tmp_path / "hashes.json").sha256(tmp_path / "gone.safetensors")
    assert str(raised.value) == "gone.safetensors cannot be read: No such file or directory. Check its permissions."
