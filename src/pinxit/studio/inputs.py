"""Input pictures that a recipe names by fingerprint, found again on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pinxit.engine.image import LARGEST_FILE, read_picture
from pinxit.schema.errors import PinxitError
from pinxit.schema.parts import ImageRef

MOST_FILES = 500
"""Files of one folder that are read in search of a picture whose name has changed."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def find_inputs(references: Iterable[ImageRef], folders: Sequence[Path]) -> dict[str, bytes]:
    """The bytes of those `references` that lie in `folders` (not below them), by SHA-256.

    A file of the right name is tried first, then up to 500 pictures of each folder. What cannot be read is passed over.
    """
    found: dict[str, bytes] = {}
    for reference in references:
        for path in _candidates(reference, folders):
            try:
                seen, data = read_picture(path)
            except PinxitError:
                continue
            if seen.sha256 == reference.sha256:
                found[reference.sha256] = data
                break
    return found


def _candidates(reference: ImageRef, folders: Sequence[Path]) -> Iterator[Path]:
    if reference.name:
        yield from (path for folder in folders if (path := folder / reference.name).is_file())
    for folder in folders:
        yield from _pictures(folder)


def _pictures(folder: Path) -> list[Path]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
        return [path for path in paths[:MOST_FILES] if path.is_file() and path.stat().st_size <= LARGEST_FILE]
    except OSError:
        return []
