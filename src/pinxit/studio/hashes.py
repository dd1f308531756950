"""SHA-256 of large files, remembered for as long as a file does not change."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import cast

from pinxit.schema.errors import Missing

MOST_ENTRIES = 10_000
_SHA256 = re.compile(r"[0-9a-f]{64}")


class HashCache:
    """Fingerprints keyed by path, size, time of change and inode. A cache that cannot be read or written is empty."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, str] | None = None
        self._changed = False

    def sha256(self, path: Path) -> str:
        """The file's SHA-256 in hex. Raises Missing when it cannot be read."""
        try:
            facts = path.stat()
            key = f"{path}|{facts.st_size}|{facts.st_mtime_ns}|{facts.st_ino}"
            if key not in self._entries():
                with path.open("rb") as file:
                    self._entries()[key] = hashlib.file_digest(file, "sha256").hexdigest()
                self._changed = True
        except OSError as error:
            raise Missing(f"{path.name} cannot be read: {error.strerror}.", hint="Check its permissions.") from error
        return self._entries()[key]

    def save(self) -> None:
        """Keep what was computed since the last time. A read-only or full disk loses nothing but time."""
        if not self._changed:
            return
        entries = dict(list(self._entries().items())[-MOST_ENTRIES:])
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, draft = tempfile.mkstemp(dir=self._path.parent, suffix=".tmp")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(entries, file)
                os.replace(draft, self._path)
            except BaseException:
                Path(draft).unlink(missing_ok=True)
                raise
            self._changed = False
        except OSError:
            return

    def _entries(self) -> dict[str, str]:
        if self._known is None:
            try:
                loaded = json.loads(self._path.read_text("utf-8"))
            except (OSError, ValueError, RecursionError):
                loaded = {}
            entries = cast("dict[object, object]", loaded) if isinstance(loaded, dict) else {}
            self._known = {
                key: value
                for key, value in entries.items()
                if isinstance(key, str) and isinstance(value, str) and _SHA256.fullmatch(value)
            }
        return self._known
