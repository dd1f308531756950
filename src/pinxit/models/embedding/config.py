"""What the file of an embedding says: how many vectors there are, for which text encoders."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pinxit.models.kinds import About, recognised
from pinxit.weights.header import Header
from pinxit.weights.identify import Match

NAMES = re.compile(r"^(emb_params|clip_[lgh]|t5xxl|text_encoders_[012]|string_to_param\..*|<.+>)$")
WIDTHS = {768: "sd1", 1024: "sd2", 1280: "sdxl"}
"""Families by the width of a vector. Two sorts of vectors are SDXL's."""
LARGEST = 1024
"""Vectors of one embedding; more of them are a table of words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingFile:
    """One embedding: by tensor, how many vectors it holds and how wide they are."""

    about: About
    vectors: dict[str, tuple[int, int]]


def _vectors(header: Header) -> dict[str, tuple[int, int]]:
    """Count and width of every tensor's vectors; a single one may be bare. Empty where the file is something else."""
    found: dict[str, tuple[int, int]] = {}
    for name, shape in header.shapes.items():
        rows, width = (1, *shape) if len(shape) == 1 else shape if len(shape) == 2 else (0, 0)
        if not 0 < rows <= LARGEST or not width:
            return {}
        found[name] = (rows, width)
    return found


def recognise(header: Header) -> Match | None:
    """The match of an embedding: by its tensors' names, or by being one tensor of vectors of a text encoder's width.

    Diffusers calls that tensor whatever the new word is called.
    """
    vectors = _vectors(header)
    named = bool(vectors) and all(NAMES.match(name) for name in vectors)
    alone = len(vectors) == 1 and all("." not in name and width in WIDTHS for name, (_, width) in vectors.items())
    return recognised(header, "embedding", ["vectors for a text encoder"]) if named or alone else None


def config_from(match: Match) -> EmbeddingFile:
    """What the file of a recognised embedding says."""
    vectors = _vectors(match.header)
    widths = {width for _, width in vectors.values()}
    base = "sdxl" if len(widths) > 1 else WIDTHS.get(min(widths, default=0), "")
    rows = max((rows for rows, _ in vectors.values()), default=0)
    wide = " and ".join(map(str, sorted(widths)))
    return EmbeddingFile(
        about=About(bases=(base,) if base else (), evidence=(f"{rows} vectors, {wide} wide",)), vectors=vectors
    )
