"""Painted backgrounds: gradients and simple landscapes, by numpy alone. All pictures are float32 [S, S, 3], 0 to 255.

Coordinates run from 0 to 1, x to the right and y down; edges are anti-aliased over one pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pinxit.train.data.colours import Rgb
from pinxit.train.data.facts import Place, Time

Picture = NDArray[np.float32]
Plane = NDArray[np.float32]

_SKY: dict[Time, tuple[Rgb, Rgb]] = {
    "day": ((92, 172, 242), (208, 236, 255)),
    "sunset": ((96, 74, 150), (255, 170, 96)),
    "night": ((10, 16, 46), (48, 62, 116)),
}
_LIGHT: dict[Time, tuple[float, float, float]] = {
    "day": (1.0, 1.0, 1.0),
    "sunset": (0.94, 0.72, 0.62),
    "night": (0.33, 0.38, 0.58),
}


@dataclass(frozen=True, slots=True)
class Painted:
    """A painted scene. Things stand with their feet in `ground` (a range of y); None: they float anywhere."""

    picture: Picture
    ground: tuple[float, float] | None


def _places(count: int) -> Plane:
    """The middles of `count` pixels, as shares of their row."""
    return ((np.arange(count) + 0.5) / count).astype(np.float32)


@lru_cache(maxsize=4)
def _axes(size: int) -> tuple[Plane, Plane]:
    steps = _places(size)
    return np.ascontiguousarray(np.broadcast_to(steps, (size, size))), np.ascontiguousarray(
        np.broadcast_to(steps[:, None], (size, size))
    )


def gradient(size: int, first: Rgb, second: Rgb, angle: float, *, height: int | None = None) -> Picture:
    """A straight blend from `first` to `second` in the direction of `angle` (radians; 0 is left to right).

    It is `size` pixels wide and high, or of another `height`: [H, W, 3].
    """
    x, y = _places(size), _places(height or size)[:, None]
    along = (x - 0.5) * np.float32(np.cos(angle)) + (y - 0.5) * np.float32(np.sin(angle))
    reach = np.float32((abs(np.cos(angle)) + abs(np.sin(angle))) / 2)
    share = ((along / reach + 1) / 2)[..., None]
    start, end = np.array(first, np.float32), np.array(second, np.float32)
    return (start + (end - start) * share).astype(np.float32, copy=False)


def paint(size: int, place: Place, time: Time, rng: np.random.Generator) -> Painted:
    """Paint a landscape. Night skies have stars; space is always night."""
    picture = _sky(size, time, rng) if place != "space" else _space(size, rng)
    if place in ("sky", "space"):
        if place == "sky" and time != "night":
            _clouds(picture, rng, count=int(rng.integers(2, 5)), low=0.95)
        return Painted(picture.clip(0, 255), None)
    horizon = float(rng.uniform(0.48, 0.66))
    if time != "night" and rng.random() < 0.6:
        _clouds(picture, rng, count=int(rng.integers(1, 4)), low=horizon - 0.18)
    _GROUNDS[place](picture, horizon, time, rng)
    return Painted(picture.clip(0, 255), (min(horizon + 0.16, 0.82), 0.94))


def _sky(size: int, time: Time, rng: np.random.Generator) -> Picture:
    top, bottom = _SKY[time]
    shift = rng.uniform(-12, 12, 3)
    picture = gradient(size, top, bottom, np.pi / 2) + shift.astype(np.float32)
    if time == "night":
        _stars(picture, rng, count=int(rng.integers(15, 45)))
    if rng.random() < 0.7:
        height = rng.uniform(0.38, 0.52) if time == "sunset" else rng.uniform(0.1, 0.25)
        disc: dict[Time, Rgb] = {"day": (255, 240, 150), "sunset": (255, 214, 120), "night": (244, 240, 215)}
        _disc(picture, float(rng.uniform(0.12, 0.88)), float(height), float(rng.uniform(0.05, 0.09)), disc[time])
    return picture


def _space(size: int, rng: np.random.Generator) -> Picture:
    tone = rng.uniform(0, 1)
    deep = (8 + int(18 * tone), 8, 28 + int(14 * tone))
    picture = gradient(size, deep, (26, 18 + int(12 * tone), 66), float(rng.uniform(0, 2 * np.pi)))
    _stars(picture, rng, count=int(rng.integers(50, 110)))
    return picture


def _stars(picture: Picture, rng: np.random.Generator, *, count: int) -> None:
    size = picture.shape[0]
    rows, columns = rng.integers(0, int(size * 0.97), count), rng.integers(0, size, count)
    light = rng.uniform(0.4, 1.0, (count, 1)).astype(np.float32)
    picture[rows, columns] += (np.array((255, 250, 225), np.float32) - picture[rows, columns]) * light


def _blend(picture: Picture, mask: Plane, colour: NDArray[np.float32] | Rgb) -> None:
    picture += (np.asarray(colour, np.float32) - picture) * mask[..., None]


def _disc(picture: Picture, x: float, y: float, radius: float, colour: Rgb) -> None:
    size = picture.shape[0]
    xs, ys = _axes(size)
    away = np.sqrt((xs - np.float32(x)) ** 2 + (ys - np.float32(y)) ** 2)
    _blend(picture, np.exp(-((away / np.float32(radius * 2.2)) ** 2)) * np.float32(0.35), colour)
    _blend(picture, ((np.float32(radius) - away) * size + 0.5).clip(0, 1), colour)


def _clouds(picture: Picture, rng: np.random.Generator, *, count: int, low: float) -> None:
    """Heaps of three or four discs with a flat foot, whiter than what is behind them."""
    size = picture.shape[0]
    xs, ys = _axes(size)
    for _ in range(count):
        x, y, radius = rng.uniform(0.05, 0.95), rng.uniform(0.08, max(low, 0.12)), rng.uniform(0.035, 0.075)
        mask = np.zeros((size, size), np.float32)
        for part in range(4):
            across, r = x + (part - 1.5) * radius * 1.1, radius * (1.25 if part in (1, 2) else 0.8)
            away = np.sqrt((xs - np.float32(across)) ** 2 + (ys - np.float32(y)) ** 2)
            np.maximum(mask, ((np.float32(r) - away) * size + 0.5).clip(0, 1), out=mask)
        mask *= ((np.float32(y + radius * 0.45) - ys) * size + 0.5).clip(0, 1) * np.float32(0.8)
        _blend(picture, mask, picture.mean((0, 1)) * 0.25 + np.float32(191))


def _hill(size: int, level: float, height: float, rng: np.random.Generator, waves: float = 1.0) -> Plane:
    """The mask of rolling ground below y = level."""
    xs, ys = _axes(size)
    phase, bend = rng.uniform(0, 2 * np.pi, 2)
    line = level + height * (
        0.7 * np.sin(2 * np.pi * waves * xs[0] + phase) + 0.3 * np.sin(2 * np.pi * 2.3 * waves * xs[0] + bend)
    )
    return ((ys - line.astype(np.float32)) * size + 0.5).clip(0, 1)


def _ridge(size: int, level: float, height: float, rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Jagged mountains standing on y = level: their mask and, per column, the y of the ridge [S]."""
    xs, ys = _axes(size)
    count = int(rng.integers(5, 9))
    peaks = np.where(np.arange(count) % 2 == 0, rng.uniform(0.1, 0.4, count), rng.uniform(0.7, 1.0, count))
    line = level - height * np.interp(xs[0] + rng.uniform(0, 0.1), np.linspace(0, 1.1, count), peaks)
    line = line.astype(np.float32)
    return ((ys - line) * size + 0.5).clip(0, 1), line


def _lit(colour: Rgb, time: Time, rng: np.random.Generator) -> NDArray[np.float32]:
    return ((np.array(colour, np.float32) + rng.uniform(-10, 10, 3)) * np.array(_LIGHT[time], np.float32)).astype(
        np.float32
    )


def _meadow(picture: Picture, horizon: float, time: Time, rng: np.random.Generator) -> None:
    size = picture.shape[0]
    _blend(picture, _hill(size, horizon, 0.03, rng), _lit((128, 190, 92), time, rng))
    _blend(picture, _hill(size, horizon + 0.14, 0.025, rng, 0.7), _lit((98, 172, 74), time, rng))


def _snow(picture: Picture, horizon: float, time: Time, rng: np.random.Generator) -> None:
    size = picture.shape[0]
    _blend(picture, _hill(size, horizon, 0.04, rng), _lit((214, 228, 244), time, rng))
    _blend(picture, _hill(size, horizon + 0.13, 0.03, rng, 0.7), _lit((240, 246, 252), time, rng))


def _desert(picture: Picture, horizon: float, time: Time, rng: np.random.Generator) -> None:
    size = picture.shape[0]
    _blend(picture, _hill(size, horizon, 0.05, rng, 0.8), _lit((226, 178, 112), time, rng))
    _blend(picture, _hill(size, horizon + 0.15, 0.04, rng, 0.6), _lit((240, 198, 132), time, rng))


def _beach(picture: Picture, horizon: float, time: Time, rng: np.random.Generator) -> None:
    size = picture.shape[0]
    _water(picture, horizon, time, rng)
    _blend(picture, _hill(size, horizon + 0.13, 0.018, rng), _lit((250, 250, 245), time, rng))
    _blend(picture, _hill(size, horizon + 0.155, 0.018, rng), _lit((244, 220, 166), time, rng))


def _sea(picture: Picture, horizon: float, time: Time, rng: np.random.Generator) -> None:
    _water(picture, horizon, time, rng)


def _water(picture: Picture, horizon: float, time: Time, rng: np.random.Generator) -> None:
    size = picture.shape[0]
    xs, ys = _axes(size)
    depth = ((ys - np.float32(horizon)) / np.float32(1 - horizon)).clip(0, 1)[..., None]
    near, far = _lit((28, 104, 178), time, rng), _lit((74, 162, 218), time, rng)
    mask = ((ys - np.float32(horizon)) * size + 0.5).clip(0, 1)
    ripple = np.sin(2 * np.pi * (ys * 14 + 0.35 * np.sin(2 * np.pi * (xs * 2.5 + rng.uniform())))) > 0.93
    _blend(picture, mask, far * (1 - depth) + near * depth + (ripple * np.float32(16))[..., None])


def _mountains(picture: Picture, horizon: float, time: Time, rng: np.random.Generator) -> None:
    size = picture.shape[0]
    height = float(rng.uniform(0.2, 0.34))
    mask, line = _ridge(size, horizon + 0.02, height, rng)
    _blend(picture, mask, _lit((116, 130, 158), time, rng))
    _, ys = _axes(size)
    snow_line = np.float32(horizon - height * 0.62)
    cap = mask * ((np.minimum(snow_line, line + np.float32(height * 0.3)) - ys) * size + 0.5).clip(0, 1)
    _blend(picture, cap, _lit((240, 244, 250), time, rng))
    _blend(picture, _hill(size, horizon + 0.03, 0.02, rng), _lit((104, 160, 92), time, rng))


_GROUNDS: dict[Place, Callable[[Picture, float, Time, np.random.Generator], None]] = {
    "meadow": _meadow,
    "beach": _beach,
    "snow": _snow,
    "desert": _desert,
    "sea": _sea,
    "mountains": _mountains,
}


def shadow(picture: Picture, x: float, y: float, width: float) -> None:
    """Darken `picture` by a soft ellipse centred at (x, y), `width` wide: what touches the ground casts it.

    All three are shares of the picture's height.
    """
    size, columns = picture.shape[:2]
    half, flat = width / 2, width / 9
    top, bottom = max(0, int((y - 2 * flat) * size)), min(size, int((y + 2 * flat) * size) + 1)
    left, right = max(0, int((x - 1.5 * half) * size)), min(columns, int((x + 1.5 * half) * size) + 1)
    if top >= bottom or left >= right:
        return
    rows, across = (((np.arange(*span) + 0.5) / size).astype(np.float32) for span in ((top, bottom), (left, right)))
    away = ((across - np.float32(x)) / np.float32(half)) ** 2
    away = away + ((rows[:, None] - np.float32(y)) / np.float32(flat)) ** 2
    picture[top:bottom, left:right] *= (1 - np.float32(0.38) * np.exp(-away * 1.6))[..., None]
