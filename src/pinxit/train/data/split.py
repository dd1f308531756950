"""What the model is never shown, decided by hashes before any training: the ground its evaluation stands on.

Every rule is a pure function of names, so that data, training and evaluation agree without sharing a list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

Split = Literal["train", "held_out"]

_LEAST_STYLES = 4


def _share(text: str, parts: int) -> bool:
    return int.from_bytes(hashlib.sha1(text.encode(), usedforsecurity=False).digest(), "big") % parts == 0


def cell_is_drawn(concept: str, style: str) -> bool:
    """Does the lot of one in twenty fall on this (concept, style) cell? `concept` is free of skin tones."""
    return _share(f"{concept}|{style}", 20)


def held_out_cells(styles_by_concept: Mapping[str, Iterable[str]]) -> frozenset[tuple[str, str]]:
    """The cells to hold out: drawn by lot, of concepts that exist in at least four styles."""
    return frozenset(
        (concept, style)
        for concept, styles in styles_by_concept.items()
        if len(set(styles)) >= _LEAST_STYLES
        for style in set(styles)
        if cell_is_drawn(concept, style)
    )


def pair_is_held_out(first: str, second: str) -> bool:
    """Are these two concepts never composed together (one pair in a hundred, in either order)?"""
    return _share("pair|" + "|".join(sorted((first, second))), 100)


def count_is_held_out(concept: str, count: int) -> bool:
    """Is this concept never shown this often (five, for one concept in ten)?"""
    return count == 5 and _share(f"count|{concept}", 10)


def tint_is_held_out(concept: str, colour: str) -> bool:
    """Is this silhouette never shown in this colour (one cell in a hundred)?"""
    return _share(f"colour|{concept}|{colour}", 100)


def chinese_is_held_out(concept: str) -> bool:
    """Is this concept never named in Chinese (one in twelve), to measure transfer between the languages?"""
    return _share(f"zh|{concept}", 12)
