"""Training pictures composed from a bank: objects over backgrounds, with the facts of what can be seen.

Everything is mixed premultiplied, so edges carry no fringe of a hidden colour. A picture is a pure function of the
bank, the settings and the random generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pinxit.schema.errors import BadInput
from pinxit.train.data.backgrounds import Backdrop, BackgroundShares, choose_backdrop
from pinxit.train.data.bank import Bank, Drawing
from pinxit.train.data.colours import COLOURS, WHITE, Rgb, distance, jittered
from pinxit.train.data.facts import Kind, ObjectFacts, Relation, SceneFacts
from pinxit.train.data.layout import Place2D, count_layout, pair_layout, single_layout
from pinxit.train.data.scenes import shadow
from pinxit.train.data.split import Split, count_is_held_out, pair_is_held_out, tint_is_held_out

_TRIES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class KindShares:
    """How often each kind of picture is made; relative, any sum. `colour` is a tinted silhouette."""

    single: float = 0.8
    pair: float = 0.08
    size: float = 0.04
    count: float = 0.05
    colour: float = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositionSettings:
    """How pictures are composed.

    `scale` bounds a single object's square as a share of the canvas, `jitter` (0 to 1) how much of the free room its
    place may vary over; `contrast` is the least colour distance between an object's outline and what is behind it
    (0 to 765). `same_style` is the share of pairs drawn in one style. `even_concepts` draws concepts alike rather
    than drawings by weight. With `held_out_rules` the pairs, counts and tints reserved for evaluation are avoided.
    """

    kinds: KindShares = field(default_factory=KindShares)
    backgrounds: BackgroundShares = field(default_factory=BackgroundShares)
    scale: tuple[float, float] = (0.62, 0.96)
    jitter: float = 0.8
    contrast: float = 105.0
    same_style: float = 0.85
    even_concepts: bool = False
    held_out_rules: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """Composed pictures, uint8 [B, 3, H, W] in sRGB, and what each shows."""

    images: NDArray[np.uint8]
    facts: tuple[SceneFacts, ...]


@dataclass(frozen=True, slots=True)
class _Thing:
    row: int
    drawing: Drawing
    tint: Rgb | None = None
    colour: str | None = None
    flat: bool = False


class Composer:
    """Composes pictures of `size` pixels (width and height where they differ) from the drawings of some concepts and
    styles (None: all) in one split.

    Raises BadInput when nothing in the bank fits.
    """

    def __init__(
        self,
        bank: Bank,
        settings: CompositionSettings | None = None,
        *,
        size: int | tuple[int, int] = 128,
        concepts: Sequence[str] | None = None,
        styles: Sequence[str] | None = None,
        split: Split = "train",
    ) -> None:
        self.bank = bank
        self.settings = settings or CompositionSettings()
        self.width, self.height = (size, size) if isinstance(size, int) else size
        self.side = min(self.width, self.height)
        self.rows = np.array(bank.rows(concepts=concepts, styles=styles, split=split), np.int64)
        if not len(self.rows):
            raise BadInput(
                f"The bank in {bank.folder} has no {split} drawings of these concepts and styles.",
                hint=f"It has the styles {', '.join(sorted({drawing.style for drawing in bank.drawings}))}.",
            )
        drawings = bank.drawings
        self._weights = self._row_weights()
        self._whole = _Urn(self.rows, self._weights)
        solid = np.array([not drawings[row].square for row in self.rows])
        several = np.array([drawings[row].countable and not drawings[row].plural for row in self.rows]) & solid
        tinted = np.array([drawings[row].monochrome for row in self.rows])
        self._solid = _Urn(self.rows[solid], self._weights[solid])
        self._countable = _Urn(self.rows[several], self._weights[several])
        self._tintable = _Urn(self.rows[tinted], self._weights[tinted])
        self._by_style = {
            style: _Urn(self.rows[chosen & solid], self._weights[chosen & solid])
            for style in {drawings[row].style for row in self.rows}
            for chosen in [np.array([drawings[row].style == style for row in self.rows])]
        }
        self._levels = tuple(sorted(bank.sizes))

    def _row_weights(self) -> NDArray[np.float64]:
        drawings = [self.bank.drawings[row] for row in self.rows]
        weights = np.array([drawing.weight for drawing in drawings], np.float64)
        if self.settings.even_concepts:
            totals: dict[str, float] = {}
            for drawing in drawings:
                totals[drawing.concept] = totals.get(drawing.concept, 0.0) + drawing.weight
            weights /= np.array([totals[drawing.concept] for drawing in drawings])
        return weights

    def batch(self, count: int, rng: np.random.Generator) -> Batch:
        """Compose `count` pictures, one after another from `rng`."""
        images = np.empty((count, 3, self.height, self.width), np.uint8)
        facts: list[SceneFacts] = []
        for index in range(count):
            picture, shown = self.compose(rng)
            images[index] = picture.transpose(2, 0, 1)
            facts.append(shown)
        return Batch(images, tuple(facts))

    def compose(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], SceneFacts]:
        """One picture, uint8 [H, W, 3], and its facts. A kind that this bank cannot show becomes a single object."""
        kind = _pick_kind(self.settings.kinds, rng)
        match kind:
            case "pair" | "size" if self._solid.kinds > 1:
                things, places, relation = self._pair(kind, rng)
            case "count" if self._countable.kinds:
                things, places, relation = self._count(rng)
            case _:
                urn = self._tintable if kind == "colour" and self._tintable.kinds else self._whole
                thing = self._thing(urn.draw(rng), rng, tinted=True)
                things, places, relation = (thing,), single_layout(self.settings.scale, self.settings.jitter, rng), None
                kind = "colour" if thing.colour is not None else "single"
        if kind in ("count", "pair", "size") and len(things) == 1:
            kind = "single"
        return self._paint(kind, things, places, relation, rng)

    def compose_row(self, row: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], SceneFacts]:
        """One picture of this drawing alone."""
        thing = self._thing(row, rng, tinted=True)
        places = single_layout(self.settings.scale, self.settings.jitter, rng)
        return self._paint("single" if thing.colour is None else "colour", (thing,), places, None, rng)

    def _thing(self, row: int, rng: np.random.Generator, *, tinted: bool) -> _Thing:
        drawing = self.bank.drawings[row]
        if not (drawing.monochrome and tinted):
            return _Thing(row, drawing, flat=drawing.square)
        free = [
            colour
            for colour in (*COLOURS, WHITE)
            if not (self.settings.held_out_rules and tint_is_held_out(drawing.concept, colour.key))
        ]
        colour = free[int(rng.integers(len(free)))]
        return _Thing(row, drawing, jittered(colour, rng), colour.key)

    def _pair(
        self, kind: Kind, rng: np.random.Generator
    ) -> tuple[tuple[_Thing, ...], tuple[Place2D, ...], Relation | None]:
        first = self._solid.draw(rng)
        drawings = self.bank.drawings
        urn = self._by_style[drawings[first].style] if rng.random() < self.settings.same_style else self._solid
        for _ in range(_TRIES):
            second = urn.draw(rng)
            one, other = drawings[first].concept, drawings[second].concept
            reserved = self.settings.held_out_rules and pair_is_held_out(one, other)
            if one != other and drawings[first].en[0] != drawings[second].en[0] and not reserved:
                places, relation = pair_layout(kind, rng)
                return (self._thing(first, rng, tinted=True), self._thing(second, rng, tinted=True)), places, relation
        return (
            (self._thing(first, rng, tinted=True),),
            single_layout(self.settings.scale, self.settings.jitter, rng),
            None,
        )

    def _count(self, rng: np.random.Generator) -> tuple[tuple[_Thing, ...], tuple[Place2D, ...], None]:
        row = self._countable.draw(rng)
        count = int(rng.integers(2, 7))
        if self.settings.held_out_rules and count_is_held_out(self.bank.drawings[row].concept, count):
            count -= 1
        return (self._thing(row, rng, tinted=True),) * count, count_layout(count, rng), None

    def _paint(
        self,
        kind: Kind,
        things: tuple[_Thing, ...],
        places: tuple[Place2D, ...],
        relation: Relation | None,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.uint8], SceneFacts]:
        backdrop, places = self._contrasting(things, places, relation, rng)
        picture = backdrop.picture(self.width, self.height)
        shown: list[ObjectFacts] = []
        for index, (thing, place) in enumerate(zip(things, places, strict=True)):
            box = self._paste(picture, thing, place, on_ground=backdrop.ground is not None)
            told = None if kind != "size" else "big" if places[index].side >= max(p.side for p in places) else "small"
            shown.append(ObjectFacts(row=thing.row, drawing=thing.drawing, box=box, colour=thing.colour, size=told))
        done = picture.round().astype(np.uint8)
        facts = SceneFacts(kind=kind, objects=tuple(shown), background=backdrop.facts, relation=relation)
        return done, facts

    def _contrasting(
        self,
        things: tuple[_Thing, ...],
        places: tuple[Place2D, ...],
        relation: Relation | None,
        rng: np.random.Generator,
    ) -> tuple[Backdrop, tuple[Place2D, ...]]:
        """A backdrop that every object stands out from, or the best of several."""
        best: tuple[float, Backdrop, tuple[Place2D, ...]] | None = None
        drawings = tuple(thing.drawing for thing in things)
        standing = relation not in ("above", "below") and max(p.y for p in places) - min(p.y for p in places) < 0.3
        for _ in range(_TRIES):
            backdrop = choose_backdrop(
                self.settings.backgrounds, drawings, (self.width, self.height), rng, standing=standing
            )
            stood = backdrop.stood(places, self.side, rng)
            least = min(
                distance(thing.tint or thing.drawing.rim, backdrop.colour_at(place, self.side))
                for thing, place in zip(things, stood, strict=True)
            )
            if best is None or least > best[0]:
                best = least, backdrop, stood
            if least >= self.settings.contrast:
                break
        if best is None:
            raise BadInput("A picture needs at least one object.")
        return best[1], best[2]

    def _paste(
        self, picture: NDArray[np.uint8] | NDArray[np.float32], thing: _Thing, place: Place2D, *, on_ground: bool
    ) -> tuple[float, float, float, float]:
        """Lay the drawing over `picture` in place and return the box of what is visible of it."""
        side = max(4, round(place.side * self.side))
        left = min(max(round(place.x * self.width - place.side / 2 * self.side), 0), self.width - side)
        top = min(max(round(place.y * self.height - place.side / 2 * self.side), 0), self.height - side)
        pixels = self._scaled(thing.row, side)
        box = _visible(pixels[..., 3])
        if on_ground and picture.dtype == np.float32:
            middle = (left + (box[0] + box[2]) / 2) / self.height
            shadow(picture, middle, (top + box[3] - 1) / self.height, (box[2] - box[0]) / self.height)  # pyright: ignore[reportArgumentType] float32 was just checked
        colour = pixels[..., :3]
        if thing.tint is not None:
            colour = (pixels[..., 3:] * np.asarray(thing.tint, np.uint16) + 127) // 255
        behind = picture[top : top + side, left : left + side]
        clear = (255 - pixels[..., 3:]).astype(np.uint16)
        if picture.dtype == np.uint8:
            behind[...] = colour + (behind * clear + 127) // 255
        else:
            behind *= clear * np.float32(1 / 255)
            behind += colour
        return (
            (left + box[0]) / self.width,
            (top + box[1]) / self.height,
            (left + box[2]) / self.width,
            (top + box[3]) / self.height,
        )

    def _scaled(self, row: int, side: int) -> NDArray[np.uint8]:
        """The drawing at `side` pixels, premultiplied [side, side, 4], from the smallest level that is large enough."""
        level = next((size for size in self._levels if size >= side), self._levels[-1])
        pixels = np.ascontiguousarray(self.bank.pixels(level)[row])
        if level == side:
            return pixels
        image = Image.frombuffer("RGBa", (level, level), pixels, "raw", "RGBa", 0, 1)
        scaled = np.array(image.resize((side, side), Image.Resampling.BICUBIC))
        np.minimum(scaled[..., :3], scaled[..., 3:], out=scaled[..., :3])
        return scaled


class _Urn:
    """Rows to draw from, each as often as its weight; `kinds` is how many there are."""

    def __init__(self, rows: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
        self.kinds = len(rows)
        self._rows = rows
        self._sums = np.cumsum(weights)

    def draw(self, rng: np.random.Generator) -> int:
        return int(self._rows[np.searchsorted(self._sums, rng.random() * self._sums[-1], side="right")])


def _pick_kind(shares: KindShares, rng: np.random.Generator) -> Kind:
    kinds: tuple[Kind, ...] = ("single", "pair", "size", "count", "colour")
    sums = np.cumsum([shares.single, shares.pair, shares.size, shares.count, shares.colour])
    return kinds[int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))]


def _visible(alpha: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of what is more than a tenth opaque; the whole square when nothing is."""
    seen = alpha > 25
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    if not len(rows):
        return 0, 0, alpha.shape[1], alpha.shape[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
