"""Fingerprints are what other programs compute, computed once per change of a file, and a bad cache costs only time."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
import time
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinxit.schema.errors import BadModelFile, Interrupted, Missing
from pinxit.studio import hashes as hashing
from pinxit.studio import store
from pinxit.studio.hashes import EMPTY_AUTOV1, HashCache, Hashes, Hashing, compute_hashes

FILE_NAME = "hashes.json"


class Counted:
    """Counts the files that are read through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = hashing._digest  # pyright: ignore[reportPrivateUsage] - the one place where a file is read through

        def digest(*arguments: object) -> object:
            self.count += 1
            return real(*arguments)  # pyright: ignore[reportArgumentType] - passed on as they came

        monkeypatch.setattr(hashing, "_digest", digest)


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


def safetensors(data: bytes, metadata: str = "") -> bytes:
    header = json.dumps({"__metadata__": {"note": metadata}}).encode()
    return struct.pack("<Q", len(header)) + header + data


def expected(content: bytes, data: bytes | None) -> Hashes:
    """The same by the plain definitions."""
    return Hashes(
        sha256=sha256(content),
        blake3=blake3(content).hexdigest(),
        autov1=sha256(content[0x100000 : 0x100000 + 0x10000])[:8],
        autov3=None if data is None else sha256(data)[:12],
    )


@pytest.mark.parametrize("chunk", [7, 4096, 4 * 2**20])
@pytest.mark.parametrize("size", [0, 1, 70_000, 0x100000, 0x100001, 0x10FFFF, 0x110000, 0x110001, 1_500_000])
def test_every_fingerprint_is_what_others_compute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, chunk: int
) -> None:
    monkeypatch.setattr(hashing, "CHUNK", max(chunk, size // 200))
    data = os.urandom(size)
    path = tmp_path / "x.safetensors"
    content = safetensors(data)
    path.write_bytes(content)
    found = compute_hashes(path)
    assert found == expected(content, data)
    assert found.autov2 == sha256(content)[:10]
    path.write_bytes(data + b"no header")
    assert compute_hashes(path) == expected(data + b"no header", None)


def test_known_fingerprints_of_known_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"")
    assert compute_hashes(path).to_json() == {
        "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "autov2": "e3b0c44298",
        "autov1": "e3b0c442",
        "autov3": None,
        "blake3": "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    }


def test_the_third_one_survives_a_change_of_the_metadata(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors(b"weights", "before"))
    before = compute_hashes(path)
    path.write_bytes(safetensors(b"weights", "afterwards"))
    after = compute_hashes(path)
    assert before.autov3 == after.autov3 == sha256(b"weights")[:12]
    assert before.sha256 != after.sha256


@given(content=st.binary(max_size=300))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_have_fingerprints(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(content)
    found = compute_hashes(path)
    assert found.sha256 == sha256(content)
    length = int.from_bytes(content[:8], "little") + 8
    is_safetensors = content[8:9] == b"{" and length <= len(content)
    assert found.autov3 == (sha256(content[length:])[:12] if is_safetensors else None)


def test_beginnings_answer_and_what_all_small_files_share_does_not() -> None:
    known = expected(b"a", b"b")
    for digits in (known.sha256, known.sha256[:8], known.sha256[:10], known.blake3[:9], known.autov3 or ""):
        assert known.answers_to(digits)
    assert not known.answers_to(EMPTY_AUTOV1)
    assert not known.answers_to("0" * 8)
    assert not known.answers_to(known.sha256[1:12])
    large = Hashes(sha256="1" * 64, blake3="2" * 64, autov1="33333333", autov3=None)
    assert large.answers_to("33333333")


def test_a_file_that_changes_while_it_is_read_is_told(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = hashing._digest  # pyright: ignore[reportPrivateUsage] - the moment in which a file may change

    def meanwhile(*arguments: object) -> object:
        found = real(*arguments)  # pyright: ignore[reportArgumentType] - passed on as they came
        with model.open("ab") as file:
            file.write(b"more")
        return found

    monkeypatch.setattr(hashing, "_digest", meanwhile)
    cache = HashCache(model.with_name(FILE_NAME))
    with pytest.raises(BadModelFile) as raised:
        cache.hashes(model)
    assert str(raised.value) == (
        "model.safetensors changed while its fingerprint was computed. Wait until it is completely written."
    )
    assert cache.known(model) is None


def test_a_file_that_is_replaced_while_it_is_read_is_told(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = hashing._digest  # pyright: ignore[reportPrivateUsage] - the moment in which a file may change

    def meanwhile(*arguments: object) -> object:
        other = model.with_name("other")
        other.write_bytes(b"WEIGHTS")
        os.replace(other, model)
        return real(*arguments)  # pyright: ignore[reportArgumentType] - passed on as they came

    monkeypatch.setattr(hashing, "_digest", meanwhile)
    with pytest.raises(BadModelFile, match="changed while"):
        compute_hashes(model)


def test_reading_can_be_stopped(model: Path) -> None:
    cache = HashCache(model.with_name(FILE_NAME))
    with pytest.raises(Interrupted) as raised:
        cache.hashes(model, stop=lambda: True)
    assert str(raised.value) == "The fingerprint of model.safetensors was not finished."
    assert cache.known(model) is None


def test_a_file_is_read_once(tmp_path: Path, model: Path, counted: Counted) -> None:
    cache = HashCache(tmp_path / "cache" / FILE_NAME)
    assert cache.known(model) is None
    assert cache.sha256(model) == cache.sha256(model) == sha256(b"weights")
    assert cache.known(model) == cache.hashes(model)
    cache.save()
    again = HashCache(tmp_path / "cache" / FILE_NAME)
    assert again.sha256(model) == sha256(b"weights")
    assert counted.count == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [FILE_NAME]


def test_a_file_that_was_moved_is_still_known(tmp_path: Path, model: Path, counted: Counted) -> None:
    cache = HashCache(tmp_path / FILE_NAME)
    before = cache.hashes(model)
    moved = model.rename(tmp_path / "elsewhere.safetensors")
    assert cache.hashes(moved) == before
    assert counted.count == 1


@pytest.mark.parametrize("change", ["size", "time", "replaced"])
def test_a_file_that_changed_is_read_again(tmp_path: Path, model: Path, counted: Counted, change: str) -> None:
    cache = HashCache(tmp_path / FILE_NAME)
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


def test_without_inodes_the_path_tells_files_apart(tmp_path: Path) -> None:
    facts = os.stat_result((0o100644, 0, 1, 1, 0, 0, 5, 0, 0, 0))
    assert store.stamp(facts, tmp_path / "a") != store.stamp(facts, tmp_path / "b")


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
        b'{"version": "hashes-2", "files": []}',
        b'{"version": "hashes-2", "files": {"a": 1, "b": [1, 2, 3, 4], "c": ["a"], "d": [null, null, null, null]}}',
        b'{"version": "another", "files": {}}',
    ],
    ids=["empty", "cut", "list", "null", "bytes", "deep", "values", "files", "entries", "version"],
)
def test_a_damaged_cache_is_empty(tmp_path: Path, model: Path, content: bytes) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    cache = HashCache(path)
    assert cache.sha256(model) == sha256(b"weights")
    cache.save()
    assert HashCache(path).known(model) == expected(b"weights", None)


@pytest.mark.parametrize("place", range(4))
def test_what_is_no_fingerprint_is_computed_again(tmp_path: Path, model: Path, place: int) -> None:
    path = tmp_path / FILE_NAME
    cache = HashCache(path)
    cache.sha256(model)
    cache.save()
    known = json.loads(path.read_text("utf-8"))
    for entry in known["files"].values():
        entry[place] = "AB" if place == 3 else None
    path.write_text(json.dumps(known), "utf-8")
    assert HashCache(path).known(model) is None
    assert HashCache(path).sha256(model) == sha256(b"weights")


def test_a_store_that_is_too_long_is_not_ours(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = HashCache(tmp_path / FILE_NAME)
    cache.sha256(model)
    cache.save()
    monkeypatch.setattr(store, "MOST_BYTES", 10)
    assert HashCache(tmp_path / FILE_NAME).known(model) is None


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, model: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_bytes(b"")
    cache = HashCache(in_the_way / FILE_NAME)
    assert cache.sha256(model) == sha256(b"weights")
    cache.save()
    assert in_the_way.read_bytes() == b""


def test_a_full_disk_leaves_no_draft(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    cache = HashCache(tmp_path / "cache" / FILE_NAME)
    cache.sha256(model)
    monkeypatch.setattr(os, "replace", full)
    cache.save()
    assert not list((tmp_path / "cache").iterdir())
    monkeypatch.undo()
    cache.save()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [FILE_NAME]


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    HashCache(tmp_path / FILE_NAME).save()
    assert not list(tmp_path.iterdir())


def test_two_processes_keep_each_others_entries(tmp_path: Path, model: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"others")
    first, second = HashCache(tmp_path / FILE_NAME), HashCache(tmp_path / FILE_NAME)
    first.sha256(model)
    second.sha256(other)
    first.save()
    second.save()
    third = HashCache(tmp_path / FILE_NAME)
    assert third.known(model) is not None
    assert third.known(other) is not None


def test_the_cache_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_ENTRIES", 3)
    cache = HashCache(tmp_path / FILE_NAME)
    for number in range(5):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(bytes([number]))
        cache.sha256(path)
    cache.save()
    kept = json.loads((tmp_path / FILE_NAME).read_text("utf-8"))["files"]
    assert [entry[0] for entry in kept.values()] == [sha256(bytes([number])) for number in (2, 3, 4)]


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    for ask in (HashCache(tmp_path / FILE_NAME).sha256, compute_hashes):
        with pytest.raises(Missing) as raised:
            ask(tmp_path / "gone.safetensors")
        text = "gone.safetensors cannot be read: No such file or directory. Check its permissions."
        assert str(raised.value) == text


def test_the_background_computes_what_is_missing_at_low_priority(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []
    real = hashing._digest  # pyright: ignore[reportPrivateUsage] - called in the thread that is looked at

    def digest(*arguments: object) -> object:
        thread = threading.current_thread()
        seen.append((thread.name, os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
        return real(*arguments)  # pyright: ignore[reportArgumentType] - passed on as they came

    monkeypatch.setattr(hashing, "_digest", digest)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    cache = HashCache(tmp_path / FILE_NAME)
    work = Hashing(cache, [tmp_path / "gone", model])
    assert work.join(60)
    assert cache.known(model) is not None
    assert HashCache(tmp_path / FILE_NAME).known(model) is not None, "kept at once"
    assert seen == [("pinxit-hashing", 10)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_the_background_stops_in_the_middle_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "CHUNK", 1024)
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(2**30)
    cache = HashCache(tmp_path / FILE_NAME)
    work = Hashing(cache, [path, path])
    time.sleep(0.05)
    started = time.monotonic()
    work.stop(wait=5)
    assert work.join(0)
    assert time.monotonic() - started < 20
    assert cache.known(path) is None
