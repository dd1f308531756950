"""Near-duplicates: drawings that look alike, found by difference hashes and tiny colour thumbnails."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ALIKE = (10, 8.0)
"""At most this many of 128 hash bits differ, and 4 x 4 thumbnails differ by this much on average (of 255)."""

SAME = (3, 2.5)
"""The same drawing but for its anti-aliasing."""

_CHUNK = 256


class Looks:
    """Hashes and thumbnails of drawings, for comparing each with all."""

    def __init__(self) -> None:
        self._hashes: list[tuple[int, int]] = []
        self._thumbs: list[Sequence[int]] = []
        self._families: dict[str, list[int]] = {}
        self._lone: set[int] = set()

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, hash_: int, thumb: Sequence[int], family: str, *, lone: bool = False) -> None:
        """Remember a drawing of the set `family`; a `lone` one is never told to look like another."""
        if lone:
            self._lone.add(len(self._hashes))
        self._families.setdefault(family, []).append(len(self._hashes))
        self._hashes.append((hash_ >> 64, hash_ & (2**64 - 1)))
        self._thumbs.append(thumb)

    def repeats(self, hash_: int, thumb: Sequence[int], family: str) -> bool:
        """Is the same drawing already in this set?"""
        members = self._families.get(family, [])
        bits, shade = SAME
        for index in members:
            high, low = self._hashes[index]
            if ((high ^ (hash_ >> 64)).bit_count() + (low ^ (hash_ & (2**64 - 1))).bit_count()) <= bits:
                difference = np.abs(np.subtract(self._thumbs[index], thumb)).mean()
                if difference <= shade:
                    return True
        return False

    def pairs(self) -> NDArray[np.int64]:
        """Row numbers [P, 2] of all pairs that look alike, the smaller first."""
        if not self._hashes:
            return np.zeros((0, 2), np.int64)
        bits, shade = ALIKE
        hashes = np.array(self._hashes, np.uint64).reshape(-1, 2)
        thumbs = np.array(self._thumbs, np.int16).reshape(len(hashes), -1)
        found: list[NDArray[np.int64]] = []
        for start in range(0, len(hashes), _CHUNK):
            block = hashes[start : start + _CHUNK, None] ^ hashes[None, start:]
            close = np.argwhere(np.bitwise_count(block).sum(-1, dtype=np.int16) <= bits) + start
            close = close[close[:, 0] < close[:, 1]]
            difference = np.abs(thumbs[close[:, 0]] - thumbs[close[:, 1]]).mean(-1)
            found.append(close[difference <= shade])
        pairs = np.concatenate(found)
        return pairs[~np.isin(pairs, list(self._lone)).any(axis=1)] if self._lone else pairs


def smallest_twin(count: int, pairs: NDArray[np.int64]) -> list[int]:
    """For each of `count` rows the smallest row it is connected to by pairs."""
    root = list(range(count))

    def find(row: int) -> int:
        while root[row] != row:
            root[row] = root[root[row]]
            row = root[row]
        return row

    for first, second in pairs.tolist():
        one, other = sorted((find(first), find(second)))
        root[other] = one
    return [find(row) for row in range(count)]


def untwinned(held_out: set[int], pairs: NDArray[np.int64]) -> set[int]:
    """The held-out rows none of whose look-alikes is in training; those given up count as training themselves."""
    left = set(held_out)
    while True:
        given_up = {
            row
            for first, second in pairs.tolist()
            for row, other in ((first, second), (second, first))
            if row in left and other not in left
        }
        if not given_up:
            return left
        left -= given_up
