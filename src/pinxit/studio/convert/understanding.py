"""What is to be converted: a model that is opened, and the family or kind of network that explains it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinxit.engine.catalog import Catalog
from pinxit.models.contract import AnyFamily
from pinxit.models.kinds import AnyKind, find_kind
from pinxit.schema.errors import BadInput, BadModelFile, Missing, UnknownModelFormat
from pinxit.weights.blobs import Source, blob_of, plain_source
from pinxit.weights.folder import read_model
from pinxit.weights.gguf import is_gguf, read_gguf
from pinxit.weights.header import Header
from pinxit.weights.identify import Match, identify
from pinxit.weights.layout import Layout
from pinxit.weights.legacy import is_legacy, read_legacy

_SIZE = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A model that is understood: how its tensors are explained, and by whom. Exactly one of the last two is set."""

    source: Source
    match: Match
    config: Any
    family: AnyFamily | None = None
    kind: AnyKind | None = None

    @property
    def name(self) -> str:
        return self.family.name if self.family is not None else self.kind.name if self.kind is not None else ""

    @property
    def layouts(self) -> Sequence[Layout]:
        return (self.family or self.kind or _NOBODY).layouts


@dataclass(frozen=True, slots=True)
class _Nobody:
    layouts: Sequence[Layout] = ()


_NOBODY = _Nobody()


def must_be_there(path: Path) -> None:
    """Raise Missing or BadModelFile when nothing can be read at `path`."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Missing(f"There is no file {path}.", hint="Check the path.") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadModelFile(f"{path.name[:80]!r} cannot be opened: {reason}.", hint="Check the path.") from error


def open_source(path: Path) -> Source:
    """The model at `path` in any format that we read: safetensors, folders, GGUF, and pickles in a sandbox.

    Raises Missing, BadModelFile, and Missing where a GGUF file needs the extra `gguf`.
    """
    if path.is_file():
        if is_gguf(path):
            return read_gguf(path)
        if is_legacy(path):
            return read_legacy(path)
        return plain_source(read_model(path))
    return _open_folder(path)


def _open_folder(path: Path) -> Source:
    """A folder, whose networks may be pickles, each of which a sandbox reads."""
    opened: dict[Path, Source] = {}

    def pickled(file: Path) -> Header:
        opened[file] = read_legacy(file)
        return opened[file].header

    header = read_model(path, legacy=pickled)
    blobs = {
        name: opened[info.path].blobs[info.name] if info.path in opened else blob_of(name, info)
        for name, info in header.tensors.items()
    }
    notes = tuple(note for source in opened.values() for note in source.notes)
    return Source(header=header, blobs=blobs, notes=notes)


def understand(source: Source, catalog: Catalog) -> Known:
    """Who explains `source`: a family of checkpoints, or a kind of network. Raises UnknownModelFormat."""
    families = {layout.name: family for family in catalog.families for layout in family.layouts}
    try:
        match = identify(source.header, [layout for family in catalog.families for layout in family.layouts])
    except UnknownModelFormat as unknown:
        with suppress(UnknownModelFormat):
            found = find_kind(source.header, catalog.kinds)
            return Known(source=source, match=found.match, config=found.config, kind=found.kind)
        raise unknown
    family = families[match.layout.name]
    return Known(source=source, match=match, config=family.config_from(match), family=family)


def parse_size(text: str | None) -> int | None:
    """Bytes of a size such as `2GB`, `500 MB` or `1.5GiB`. Raises BadInput."""
    if text is None:
        return None
    found = _SIZE.match(text)
    factor = 1024 if found and found[3] else 1000
    size = int(float(found[1]) * factor ** " kmgt".index((found[2] or " ").lower())) if found else 0
    if size < 1:
        raise BadInput(f"{text[:40]!r} is no size of a file.", hint="Write it as in 2GB or 500MB.")
    return size
