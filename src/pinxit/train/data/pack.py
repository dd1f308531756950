"""A pack: the drawings of a bank as they came, vectors and small pictures, with their words, in one file that travels.

A `.tar.xz` that holds

```
pack.json          format, the sources with their pins, the packages' own words on authors, the cells to hold out
drawings.jsonl     one object per drawing, source after source: id, concept, words, author, and `svg` or `bytes`
pictures.bin       the encoded pictures, one after another, each of its drawing's `bytes` length
```

A bank built from it has the same pixels and the same held-out split as one built from the packages.
"""

from __future__ import annotations

import dataclasses
import io
import json
import lzma
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pinxit.schema.errors import BadInput, Missing
from pinxit.train.data.drawings import Candidate, Package
from pinxit.train.data.listing import Listing
from pinxit.train.data.names import Words
from pinxit.train.data.sources import Pinned, Source

FORMAT = 1
_LARGEST = 1 << 30
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 26}]


def write_pack(listing: Listing, path: Path) -> int:
    """Write the listing to `path`, whole or not at all; its size in bytes."""
    lines: list[str] = []
    pictures = io.BytesIO()
    for source in listing.sources:
        for candidate in listing.packages[source.name].candidates:
            row: dict[str, Any] = {
                "source": source.name,
                "id": candidate.id,
                "concept": candidate.concept,
                "author": candidate.author,
                "words": _told(candidate.words),
            }
            if candidate.kind == "svg":
                row["svg"] = candidate.data.decode()
            else:
                row["bytes"] = pictures.write(candidate.data)
            lines.append(json.dumps(row, ensure_ascii=False))
    head = {
        "format": FORMAT,
        "labels": dataclasses.asdict(listing.labels),
        "sources": [dataclasses.asdict(source) for source in listing.sources],
        "attribution": {source.name: listing.packages[source.name].attribution for source in listing.sources},
        "held_out": sorted(listing.held_out),
    }
    draft = path.with_name(path.name + ".partial")
    try:
        with (
            lzma.open(draft, "wb", filters=_FILTERS) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            _add(archive, "pack.json", json.dumps(head, ensure_ascii=False).encode())
            _add(archive, "drawings.jsonl", ("\n".join(lines) + "\n").encode())
            _add(archive, "pictures.bin", pictures.getvalue())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return path.stat().st_size


def _told(words: Words) -> dict[str, Any]:
    """What differs from the defaults."""
    plain = Words(en=())
    return {name: value for name, value in dataclasses.asdict(words).items() if value != getattr(plain, name)}


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def read_pack(path: Path) -> Listing:
    """Read a pack back. Raises Missing when there is no such file and BadInput when it is not a pack."""
    if not path.is_file():
        raise Missing(f"There is no pack at {path}.", hint="Make one with `pinxit data pack`.")
    try:
        with tarfile.open(path, "r:xz") as archive:
            head = json.loads(_member(archive, "pack.json"))
            lines = _member(archive, "drawings.jsonl").decode()
            pictures = io.BytesIO(_member(archive, "pictures.bin"))
        if head["format"] != FORMAT:
            raise BadInput(
                f"{path.name} is a pack of format {head['format']}, this pinxit reads format {FORMAT}.",
                hint="Make it again with `pinxit data pack`.",
            )
        sources = tuple(Source(**row) for row in head["sources"])
        found: dict[str, list[Candidate]] = {source.name: [] for source in sources}
        for name, candidate in _candidates(lines, pictures):
            found[name].append(candidate)
        return Listing(
            labels=Pinned(**head["labels"]),
            sources=sources,
            packages={name: Package(tuple(rows), head["attribution"][name]) for name, rows in found.items()},
            held_out=frozenset((concept, style) for concept, style in head["held_out"]),
        )
    except (KeyError, TypeError, ValueError, EOFError, lzma.LZMAError, tarfile.TarError) as error:
        raise BadInput(
            f"{path.name} is not a pack of drawings: {error}.", hint="Make one with `pinxit data pack`."
        ) from error


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.getmember(name)
    file = archive.extractfile(member)
    if file is None or member.size > _LARGEST:
        raise ValueError(f"{name} is no file of a sensible size")
    return file.read()


def _candidates(lines: str, pictures: io.BytesIO) -> Iterator[tuple[str, Candidate]]:
    for line in filter(None, lines.split("\n")):
        row: dict[str, Any] = json.loads(line)
        words: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in row["words"].items()
        }
        vector = "svg" in row
        yield (
            row["source"],
            Candidate(
                id=row["id"],
                concept=row["concept"],
                words=Words(**words),
                kind="svg" if vector else "image",
                data=row["svg"].encode() if vector else pictures.read(row["bytes"]),
                author=row["author"],
            ),
        )
