"""The bank: a folder with every drawing as words and as pixels.

```
index.jsonl       one JSON object per drawing, in the order of the pixel arrays; the fields of `Drawing`
pixels_256.npy    uint8 [N, 256, 256, 4], premultiplied RGBA, each drawing's alpha bounding box centred with 4 %
                  padding; memory-mappable. One file per size that was asked for
bank.json         format version, count, sizes, and what was refused or dropped and why
sources.json      package, version, sha256 and licence of everything that was fetched
attribution.md    authors and licences, out of the packages themselves
```

Premultiplied means that colour never exceeds alpha: `picture = drawing.rgb + background * (255 - alpha) / 255`.
Tintable drawings are white; multiply them by a colour. Filters that average neighbours are right on these values
as they stand.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinxit.schema.errors import BadInput, Missing
from pinxit.train.data.split import Split

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One drawing's words and facts.

    `concept` is an emoji's code points without skin tone, or `source:name` for sets with names of their own.
    `square` marks drawings that fill their square (flags, keycaps, scenes); `monochrome` the tintable white ones;
    `plural` names that are plural nouns; `countable` things of which three can be drawn. `twin` is the smallest
    row number among near-duplicates. `rim` is the colour along the outline, `fill` the mean alpha of the bounding
    box in [0, 1], `weight` the relative chance of being drawn.
    """

    id: str
    source: str
    style: str
    family: str
    concept: str
    en: tuple[str, ...]
    zh: tuple[str, ...]
    en_keywords: tuple[str, ...]
    zh_keywords: tuple[str, ...]
    measure: str
    group: str
    subgroup: str
    square: bool
    plural: bool
    countable: bool
    monochrome: bool
    split: Split
    weight: float
    twin: int
    rim: tuple[int, int, int]
    fill: float
    licence: str
    author: str


class Bank:
    """A bank on disk. Pixels are mapped, not read."""

    def __init__(self, folder: Path, drawings: tuple[Drawing, ...], sizes: tuple[int, ...]) -> None:
        self.folder = folder
        self.drawings = drawings
        self.sizes = sizes
        self._maps: dict[int, NDArray[np.uint8]] = {}

    @staticmethod
    def open(folder: Path) -> Bank:
        """Open the bank in `folder`. Raises Missing when there is none, BadInput when it is damaged or newer."""
        about = folder / "bank.json"
        if not about.is_file():
            raise Missing(f"There is no bank of drawings in {folder}.", hint="Make one with `pinxit data build`.")
        facts = json.loads(about.read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise BadInput(
                f"The bank in {folder} has format {facts['format']}, this pinxit reads format {FORMAT}.",
                hint="Build it again with `pinxit data build`.",
            )
        lines = list(filter(None, (folder / "index.jsonl").read_text(encoding="utf-8").split("\n")))
        bank = Bank(folder, tuple(_drawing(json.loads(line)) for line in lines), tuple(facts["sizes"]))
        for size in bank.sizes:
            if bank.pixels(size).shape != (len(lines), size, size, 4):
                raise BadInput(
                    f"{folder} is damaged: pixels_{size}.npy does not fit the index's {len(lines)} drawings.",
                    hint="Build it again with `pinxit data build`.",
                )
        return bank

    def __len__(self) -> int:
        return len(self.drawings)

    def pixels(self, size: int) -> NDArray[np.uint8]:
        """uint8 [N, size, size, 4], premultiplied RGBA, mapped read-only. Raises Missing for a size not built."""
        if size not in self.sizes:
            raise Missing(
                f"The bank in {self.folder} holds sizes {', '.join(map(str, self.sizes))}, not {size}.",
                hint=f"Build it with size {size}.",
            )
        if size not in self._maps:
            self._maps[size] = np.load(self.folder / f"pixels_{size}.npy", mmap_mode="r")
        return self._maps[size]

    @cached_property
    def concepts(self) -> dict[str, tuple[int, ...]]:
        """Row numbers by concept key."""
        rows: dict[str, list[int]] = {}
        for index, drawing in enumerate(self.drawings):
            rows.setdefault(drawing.concept, []).append(index)
        return {concept: tuple(indices) for concept, indices in rows.items()}

    def rows(
        self, *, concepts: Iterable[str] | None = None, styles: Iterable[str] | None = None, split: Split | None = None
    ) -> tuple[int, ...]:
        """Row numbers of the drawings with one of these concepts and styles, in this split; None means any."""
        wanted = None if concepts is None else frozenset(concepts)
        drawn = None if styles is None else frozenset(styles)
        return tuple(
            index
            for index, drawing in enumerate(self.drawings)
            if (wanted is None or drawing.concept in wanted)
            and (drawn is None or drawing.style in drawn)
            and (split is None or drawing.split == split)
        )


def write_index(folder: Path, drawings: Iterable[Drawing]) -> None:
    """Write `index.jsonl`."""
    with (folder / "index.jsonl").open("w", encoding="utf-8") as file:
        for drawing in drawings:
            file.write(json.dumps(dataclasses.asdict(drawing), ensure_ascii=False) + "\n")


def _drawing(row: dict[str, Any]) -> Drawing:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return Drawing(**fields)
