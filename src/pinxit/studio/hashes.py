"""Every fingerprint by which people know a model file, computed in one reading and remembered until it changes."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pinxit.schema.errors import BadModelFile, Interrupted, Missing, PinxitError
from pinxit.studio.store import Fields, Store, stamp

CHUNK = 4 * 2**20
"""Bytes read at a time; between two chunks the reading can be stopped."""
AUTOV1_START, AUTOV1_LENGTH = 0x100000, 0x10000
EMPTY_AUTOV1 = hashlib.sha256(b"").hexdigest()[:8]
"""What a file that ends before AUTOV1_START has in common with every other such file."""
LOW_PRIORITY = 10
"""Of the background: about a tenth of a processor that others want, so that it comes to an end."""

_PATTERNS = (re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{8}"))
_AUTOV3 = re.compile(r"[0-9a-f]{12}")


def never() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashes:
    """The fingerprints of one file, in lower-case hex.

    `sha256` and `blake3` are of the whole file. `autov1` is A1111's old one: the first 8 digits of the SHA-256 of the
    64 KiB from offset 0x100000 on (of nothing in a smaller file). `autov3` is the first 12 digits of the SHA-256 of
    what follows a safetensors header, so it survives a change of the metadata; None for files of another format.
    """

    sha256: str
    blake3: str
    autov1: str
    autov3: str | None

    @property
    def autov2(self) -> str:
        """The 10 digits that A1111 writes in titles and pictures."""
        return self.sha256[:10]

    def to_json(self) -> dict[str, str | None]:
        """The fingerprints as plain JSON values."""
        return {
            "sha256": self.sha256,
            "autov2": self.autov2,
            "autov1": self.autov1,
            "autov3": self.autov3,
            "blake3": self.blake3,
        }

    def answers_to(self, digits: str) -> bool:
        """Whether `digits` (8 or more, lower-case) are one of these fingerprints or the beginning of one."""
        if digits == self.autov1:
            return digits != EMPTY_AUTOV1
        return any(known is not None and known.startswith(digits) for known in (self.sha256, self.blake3, self.autov3))


def compute_hashes(path: Path, *, stop: Callable[[], bool] = never) -> Hashes:
    """Read `path` once from end to end.

    Raises Missing when it cannot be read, BadModelFile when it changed meanwhile, Interrupted when `stop` says so.
    """
    return _read_through(path, stop)[0]


def _read_through(path: Path, stop: Callable[[], bool]) -> tuple[Hashes, str]:
    """The fingerprints and the stamp of the file that has them."""
    try:
        with path.open("rb", buffering=0) as file:
            before = stamp(os.fstat(file.fileno()), path)
            hashes, count = _digest(file, stop, path)
            after = os.fstat(file.fileno())
        if stamp(after, path) != before or count != after.st_size or stamp(path.stat(), path) != before:
            raise BadModelFile(
                f"{path.name} changed while its fingerprint was computed.", hint="Wait until it is completely written."
            )
    except OSError as error:
        raise _unreadable(path, error) from error
    return hashes, before


def _digest(file: BinaryIO, stop: Callable[[], bool], path: Path) -> tuple[Hashes, int]:
    """The fingerprints, and how many bytes there were."""
    from blake3 import blake3

    whole, other, window, data = hashlib.sha256(), blake3(), hashlib.sha256(), hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK))
    at, data_start = 0, _data_start(file.read(9), os.fstat(file.fileno()).st_size)
    file.seek(0)
    while count := file.readinto(buffer):  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType] - a raw file has it
        if stop():
            raise Interrupted(f"The fingerprint of {path.name} was not finished.")
        chunk = buffer[:count]
        whole.update(chunk)
        other.update(chunk)
        window.update(_cut(chunk, at, AUTOV1_START, AUTOV1_START + AUTOV1_LENGTH))
        if data_start is not None:
            data.update(_cut(chunk, at, data_start, at + count))
        at += count
    hashes = Hashes(
        sha256=whole.hexdigest(),
        blake3=other.hexdigest(),
        autov1=window.hexdigest()[:8],
        autov3=None if data_start is None else data.hexdigest()[:12],
    )
    return hashes, at


def _data_start(head: bytes, size: int) -> int | None:
    """Where the data of a safetensors file begins; None for another format."""
    if len(head) < 9 or head[8:9] != b"{":
        return None
    start = 8 + struct.unpack("<Q", head[:8])[0]
    return start if start <= size else None


def _cut(chunk: memoryview, at: int, start: int, end: int) -> memoryview:
    """What `chunk`, which lies at `at`, holds of the bytes [start, end)."""
    return chunk[max(0, min(start - at, len(chunk))) : max(0, min(end - at, len(chunk)))]


def _unreadable(path: Path, error: OSError) -> Missing:
    return Missing(f"{path.name} cannot be read: {error.strerror}.", hint="Check its permissions.")


class HashCache:
    """Fingerprints of files that were read before. Threads may share one."""

    def __init__(self, path: Path) -> None:
        self._store = Store(path, version="hashes-2", fields=4)

    def known(self, path: Path) -> Hashes | None:
        """The fingerprints of `path` as it is now, if they are known; nothing is read. Raises Missing."""
        return self._remembered(self._stamp(path))

    def hashes(self, path: Path, *, stop: Callable[[], bool] = never) -> Hashes:
        """The fingerprints of `path`, read through if they are not known. Raises as `compute_hashes` does."""
        found = self.known(path)
        if found is None:
            found, key = _read_through(path, stop)
            self._store.put(key, (found.sha256, found.blake3, found.autov1, found.autov3))
        return found

    def sha256(self, path: Path) -> str:
        """The file's SHA-256. Raises as `hashes` does."""
        return self.hashes(path).sha256

    def save(self) -> None:
        """Keep what was computed since the last time. A read-only or full disk loses nothing but time."""
        self._store.save()

    def _stamp(self, path: Path) -> str:
        try:
            return stamp(path.stat(), path)
        except OSError as error:
            raise _unreadable(path, error) from error

    def _remembered(self, key: str) -> Hashes | None:
        entry = self._store.get(key)
        return None if entry is None else _from_entry(entry)


def _from_entry(entry: Fields) -> Hashes | None:
    """A remembered entry, if it is one; somebody may have edited the store."""
    sha256, blake3, autov1, autov3 = entry
    if sha256 is None or blake3 is None or autov1 is None:
        return None
    if not all(pattern.fullmatch(text) for pattern, text in zip(_PATTERNS, (sha256, blake3, autov1), strict=True)):
        return None
    if autov3 is not None and not _AUTOV3.fullmatch(autov3):
        return None
    return Hashes(sha256=sha256, blake3=blake3, autov1=autov1, autov3=autov3)


class Hashing:
    """Computes fingerprints one file after another in a thread of low priority. What cannot be read is passed over."""

    def __init__(self, cache: HashCache, paths: Iterable[Path]) -> None:
        self._cache = cache
        self._paths = tuple(paths)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pinxit-hashing", daemon=True)
        self._thread.start()

    def stop(self, *, wait: float | None = None) -> None:
        """End after the chunk that is being read, and wait for that at most `wait` seconds."""
        self._stop.set()
        self._thread.join(wait)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all is computed; whether it is."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        _yield_to_others()
        for path in self._paths:
            if self._stop.is_set():
                break
            with suppress(PinxitError):
                self._cache.hashes(path, stop=self._stop.is_set)
                self._cache.save()


def _yield_to_others() -> None:
    """Lower this thread's priority where the system has one for each thread."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOW_PRIORITY)
