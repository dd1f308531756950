"""What goes behind the objects: which backdrop suits them, and which colour it has where they stand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pinxit.train.data.bank import Drawing
from pinxit.train.data.colours import COLOURS, WHITE, Rgb, jittered
from pinxit.train.data.facts import BackgroundFacts, BackgroundKind, Place, Time
from pinxit.train.data.layout import Place2D
from pinxit.train.data.scenes import Painted, gradient, paint

_FLYING = frozenset({"animal-bird", "transport-air", "sky-weather", "heart"})
_FLYING_CONCEPTS = frozenset({"1F98B", "1F41D", "1F388", "1FA81", "1F432", "1F409", "1F984", "1F47B"})
_IN_SPACE = frozenset(
    {"1F680", "1F6F8", "1F47D", "1F47E", "1FA90", "1F319", "2B50", "1F31F", "1F315", "1F30D", "1F30E", "1F30F"}
    | {"1F6F0", "2604", "2600", "1F31E", "1F916"}
)
_LAND: tuple[Place, ...] = ("meadow", "beach", "snow", "desert", "mountains")
_COAST: tuple[Place, ...] = ("beach",)
_SWIMMING = frozenset({"transport-water", "animal-marine"})
_SWIMMING_CONCEPTS = frozenset({"1F986", "1F9A2", "1F9AD", "1F422", "1F427", "1F6DF"})
_LOWEST = 0.94
"""Where feet may stand at most, as a share of the height."""
_NOT_STANDING = frozenset({"sky-weather", "emotion", "flag", "country-flag", "subdivision-flag"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundShares:
    """How often each kind of background is taken; relative, any sum."""

    white: float = 0.3
    colour: float = 0.3
    gradient: float = 0.15
    scene: float = 0.25


@dataclass(frozen=True, slots=True)
class Backdrop:
    """A background before anything stands on it: one colour, or a painted picture float32 [H, W, 3]."""

    facts: BackgroundFacts
    plain: Rgb | None = None
    painted: NDArray[np.float32] | None = field(default=None, repr=False)
    ground: tuple[float, float] | None = None

    def picture(self, width: int, height: int) -> NDArray[np.uint8] | NDArray[np.float32]:
        """A canvas [H, W, 3] to paint on: uint8 for a plain colour, float32 otherwise."""
        if self.painted is not None:
            return self.painted.copy()
        canvas = np.empty((height, width, 3), np.uint8)
        canvas[...] = self.plain or WHITE.rgb
        return canvas

    def colour_at(self, place: Place2D, side: int) -> Rgb:
        """The mean colour behind a square, whose side is a share of `side` pixels, from a coarse grid."""
        if self.painted is None:
            return self.plain or WHITE.rgb
        half = place.side / 2 * side
        low, high = (
            (max(0, int(middle * size - half)), max(1, int(middle * size + half)))
            for middle, size in zip((place.y, place.x), self.painted.shape, strict=False)
        )
        red, green, blue = self.painted[low[0] : low[1] : 4, high[0] : high[1] : 4].mean((0, 1)).tolist()
        return int(red), int(green), int(blue)

    def stood(self, places: tuple[Place2D, ...], side: int, rng: np.random.Generator) -> tuple[Place2D, ...]:
        """The places with the objects' feet on the ground, if there is one; sides are shares of `side` pixels."""
        if self.ground is None or self.painted is None:
            return places
        low, high = self.ground
        shrink = 0.92 if len(places) == 1 else 1.0
        flat = side / len(self.painted)
        feet = [float(rng.uniform(low, high)) for _ in places]
        return tuple(
            replace(place, y=max(foot - flat * small * 0.46, flat * small / 2), side=small)
            for place, foot in zip(places, feet, strict=True)
            for small in [place.side * shrink]
        )


def choose_backdrop(
    shares: BackgroundShares,
    drawings: tuple[Drawing, ...],
    size: tuple[int, int],
    rng: np.random.Generator,
    *,
    standing: bool,
) -> Backdrop:
    """Draw a background of this width and height that suits these drawings.

    Icons and those that fill their square get no scene. Without `standing` the objects hang above each other: of the
    landscapes only sky and space will do.
    """
    kinds: tuple[BackgroundKind, ...] = ("white", "colour", "gradient", "scene")
    plain = any(drawing.square or drawing.group == "icons" for drawing in drawings)
    places = () if plain or not shares.scene else suitable_places(drawings, standing=standing)
    weights = np.array([shares.white, shares.colour, shares.gradient, shares.scene if places else 0.0])
    if not weights.any():
        weights[0] = 1.0
    sums = np.cumsum(weights)
    match kinds[int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))]:
        case "white":
            return Backdrop(BackgroundFacts(kind="white", colours=("white",)), WHITE.rgb)
        case "colour":
            colour = COLOURS[int(rng.integers(len(COLOURS)))]
            return Backdrop(BackgroundFacts(kind="colour", colours=(colour.key,)), jittered(colour, rng))
        case "gradient":
            first, second = rng.choice(len(COLOURS) + 1, 2, replace=False)
            one, other = (*COLOURS, WHITE)[first], (*COLOURS, WHITE)[second]
            (width, height), ends = size, (jittered(one, rng), jittered(other, rng))
            painted = gradient(width, *ends, float(rng.integers(8)) * np.pi / 4, height=height)
            return Backdrop(BackgroundFacts(kind="gradient", colours=(one.key, other.key)), painted=painted)
        case "scene":
            return _scene(places, size, rng)


def _scene(places: tuple[Place, ...], size: tuple[int, int], rng: np.random.Generator) -> Backdrop:
    place = places[int(rng.integers(len(places)))]
    times: tuple[Time, ...] = ("day", "sunset", "night")
    time: Time = "night" if place == "space" else times[int(rng.choice(3, p=(0.55, 0.25, 0.2)))]
    painted = _cut(paint(max(size), place, time, rng), *size)
    facts = BackgroundFacts(kind="scene", place=place, time=time)
    return Backdrop(facts, painted=painted.picture, ground=painted.ground)


def _cut(painted: Painted, width: int, height: int) -> Painted:
    """The middle of a square landscape across, and of its height mostly the lower part, where the ground is."""
    side = len(painted.picture)
    top, left = (side - height) * 3 // 4, (side - width) // 2
    ground = painted.ground and tuple(min((edge * side - top) / height, _LOWEST) for edge in painted.ground)
    return Painted(painted.picture[top : top + height, left : left + width], ground)  # pyright: ignore[reportArgumentType] - a pair gives a pair


def suitable_places(drawings: tuple[Drawing, ...], *, standing: bool = True) -> tuple[Place, ...]:
    """The landscapes in which all of these make sense: ships at sea, planets in space, most things on land."""
    places: list[Place] = []
    if standing and all(drawing.subgroup not in _NOT_STANDING for drawing in drawings):
        swimming = all(drawing.subgroup in _SWIMMING for drawing in drawings)
        places.extend(_COAST if swimming else _LAND)
    if standing and all(d.subgroup in _SWIMMING or d.concept in _SWIMMING_CONCEPTS for d in drawings):
        places.extend(("sea", "sea"))
    if all(d.subgroup in _FLYING or d.concept in _FLYING_CONCEPTS for d in drawings):
        places.extend(("sky", "sky"))
    if all(d.concept in _IN_SPACE for d in drawings):
        places.extend(("space", "space"))
    return tuple(places) or (("sky",) if standing else ())
