"""Small facts about large files, remembered for as long as a file does not change, in one file of JSON."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from pathlib import Path
from typing import cast

MOST_ENTRIES = 20_000
MOST_BYTES = 32 * 2**20
"""Of the store's own file; a longer one is not ours."""

Fields = tuple[str | None, ...]
"""What is remembered of one file."""


def stamp(facts: os.stat_result, path: Path) -> str:
    """What identifies a file until it changes: its size, time of change and inode.

    The path stands in where a file system has no inodes, because models of one family are often equally long.
    """
    place = str(facts.st_ino) if facts.st_ino else ascii(str(path))
    return f"{facts.st_size}|{facts.st_mtime_ns}|{place}"


def write_json(path: Path, document: object, *, indent: int | None = None) -> None:
    """Write a file that is there completely or as it was before. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            json.dump(document, file, indent=indent, separators=None if indent else (",", ":"))
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


class Store:
    """Texts by stamp. A file that cannot be read or written, or holds something else, is as good as an empty one.

    `fields` is how many texts an entry has, and `version` what they mean: another one's entries are forgotten.
    Threads may share a store.
    """

    def __init__(self, path: Path, *, version: str, fields: int) -> None:
        self._path = path
        self._version = version
        self._fields = fields
        self._known: dict[str, Fields] | None = None
        self._fresh: dict[str, Fields] = {}
        self._lock = threading.RLock()

    def get(self, key: str) -> Fields | None:
        with self._lock:
            if self._known is None:
                self._known = self._read()
            return self._known.get(key)

    def put(self, key: str, value: Fields) -> None:
        with self._lock:
            self.get(key)
            self._fresh[key] = value
            if self._known is not None:
                self._known[key] = value

    def save(self) -> None:
        """Keep what is new since the last time, beside what other processes kept meanwhile.

        A read-only or full disk loses nothing but time.
        """
        with self._lock:
            if not self._fresh:
                return
            # Popped first, so that what is new comes last and the oldest entries are dropped.
            merged = {key: value for key, value in self._read().items() if key not in self._fresh} | self._fresh
            merged = dict(list(merged.items())[-MOST_ENTRIES:])
            try:
                write_json(self._path, {"version": self._version, "files": merged})
            except OSError:
                return
            self._known, self._fresh = merged, {}

    def _read(self) -> dict[str, Fields]:
        try:
            with self._path.open("rb") as file:
                raw = file.read(MOST_BYTES + 1)
            loaded: object = json.loads(raw) if len(raw) <= MOST_BYTES else None
        except (OSError, ValueError, RecursionError):
            return {}
        document = cast("dict[str, object]", loaded) if isinstance(loaded, dict) else {}
        files = document.get("files")
        if document.get("version") != self._version or not isinstance(files, dict):
            return {}
        return {
            key: tuple(cast("list[str | None]", value))
            for key, value in cast("dict[str, object]", files).items()
            if self._is_entry(value)
        }

    def _is_entry(self, value: object) -> bool:
        if not isinstance(value, list) or len(cast("list[object]", value)) != self._fields:
            return False
        return all(text is None or isinstance(text, str) for text in cast("list[object]", value))
