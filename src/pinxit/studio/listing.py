"""What every model of the library is, in a line each: from headers, remembered until a file changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pinxit import __version__
from pinxit.engine.catalog import Catalog
from pinxit.engine.library import ModelEntry
from pinxit.schema.errors import PinxitError
from pinxit.studio.inspect import inspect_file
from pinxit.studio.library import Library
from pinxit.studio.store import Fields, Store, stamp

FIELDS = 6
MOST_FILES = 200
"""Files of a folder whose times of change are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model of the library.

    `kind` is what the file is, and what its place is for where the file does not tell. `bytes` are of all its files,
    `dtype` is the type of most of its numbers, `short` the 10 digits of the fingerprint where it is known.
    """

    entry: ModelEntry
    kind: str
    family: str | None
    variant: str | None
    prediction: str | None
    dtype: str | None
    bytes: int
    short: str | None

    def to_json(self) -> dict[str, object]:
        """The row as plain JSON values."""
        return {
            "name": self.entry.name,
            "kind": self.kind,
            "family": self.family,
            "variant": self.variant,
            "prediction": self.prediction,
            "dtype": self.dtype,
            "bytes": self.bytes,
            "hash": self.short,
            "place": self.entry.kind,
            "path": str(self.entry.path),
        }


def listed(library: Library, catalog: Catalog, store: Path, entries: Iterable[ModelEntry]) -> Iterator[Row]:
    """A row for each of `entries`, without reading more than headers. `store` is the file that remembers them."""
    known = Store(store, version=f"listing-1 {__version__} {_fingerprint(catalog)}", fields=FIELDS)
    try:
        for entry in entries:
            yield _row(library, catalog, known, entry)
    finally:
        known.save()


def _row(library: Library, catalog: Catalog, known: Store, entry: ModelEntry) -> Row:
    key = _stamp(entry.path)
    fields = known.get(key) if key else None
    if fields is None or not (fields[5] or "").isdecimal():
        fields = _looked_at(entry, catalog)
        if key:
            known.put(key, fields)
    kind, family, variant, prediction, dtype, size = fields
    hashes = library.known_hashes(entry)
    return Row(
        entry=entry,
        kind=kind or entry.kind,
        family=family,
        variant=variant,
        prediction=prediction,
        dtype=dtype,
        bytes=int(size or 0),
        short=hashes.autov2 if hashes else None,
    )


def _looked_at(entry: ModelEntry, catalog: Catalog) -> Fields:
    try:
        found = inspect_file(entry.path, catalog, hashes=False)
    except PinxitError:
        return (None, None, None, None, None, "0")
    most = max(found.components, key=lambda part: part.bytes, default=None)
    kind = found.kind if found.kind != "unknown" else None
    return (kind, found.family, found.variant, found.prediction, most.dtype if most else None, str(found.size))


def _fingerprint(catalog: Catalog) -> str:
    """What tells one catalogue from another: with more families, files may turn out to be something else."""
    names = [*(family.name for family in catalog.families), *(kind.name for kind in catalog.kinds)]
    return hashlib.sha256("|".join(names).encode()).hexdigest()[:12]


def _stamp(path: Path) -> str | None:
    """What identifies a file, or everything in a folder, until it changes; None when it cannot be looked at."""
    try:
        facts = path.stat()
        if path.is_file() and not path.name.endswith(".json"):
            return f"{stamp(facts, path)}|{path.name}"
        places = (
            (path, *sorted(child for child in path.iterdir() if child.is_dir())) if path.is_dir() else (path.parent,)
        )
        files = [file for place in places for file in sorted(place.iterdir()) if file.is_file()][:MOST_FILES]
        words = [f"{file.relative_to(places[0])}|{stamp(file.stat(), file)}" for file in files]
    except (OSError, ValueError):
        return None
    return hashlib.sha256("\n".join((path.name, *words)).encode("utf-8", "surrogateescape")).hexdigest()
