"""Where objects go on the canvas. All lengths are shares of the canvas; y points down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pinxit.train.data.facts import Kind, Relation

_EDGE = 0.02
_ROWS: dict[int, tuple[tuple[int, ...], ...]] = {
    2: ((2,),),
    3: ((3,), (1, 2), (2, 1)),
    4: ((2, 2),),
    5: ((2, 3), (3, 2)),
    6: ((3, 3),),
}


@dataclass(frozen=True, slots=True)
class Place2D:
    """A square for one drawing: its middle and its side."""

    x: float
    y: float
    side: float


def single_layout(scale: tuple[float, float], jitter: float, rng: np.random.Generator) -> tuple[Place2D, ...]:
    """One square with its side in `scale`, mostly the upper half; `jitter` of the free room moves it off the middle."""
    low, high = scale
    side = float(rng.triangular(low, low + 0.7 * (high - low), high)) if high > low else high
    room = max(0.0, 1 - side)
    x, y = 0.5 + jitter * room * (rng.random(2) - 0.5)
    return (Place2D(float(x), float(y), side),)


def pair_layout(kind: Kind, rng: np.random.Generator) -> tuple[tuple[Place2D, ...], Relation]:
    """Two squares that do not touch, and how the first stands to the second. For `size`, one is twice as large."""
    relation: Relation = ("left", "right", "above", "below")[int(rng.choice(4, p=(0.35, 0.35, 0.15, 0.15)))]
    if kind == "size":
        sides = (float(rng.uniform(0.54, 0.62)), float(rng.uniform(0.24, 0.3)))
        sides = sides if rng.random() < 0.5 else sides[::-1]
    else:
        sides = (float(rng.uniform(0.4, 0.47)), float(rng.uniform(0.4, 0.47)))
    slack = 1 - 2 * _EDGE - sum(sides)
    gap = float(rng.uniform(0.3, 0.9)) * slack
    start = _EDGE + float(rng.random()) * (slack - gap)
    early, late = (0, 1) if relation in ("left", "above") else (1, 0)
    along = {early: start + sides[early] / 2, late: start + sides[early] + gap + sides[late] / 2}
    places: list[Place2D] = []
    for index in (0, 1):
        room = 1 - 2 * _EDGE - sides[index]
        across = 0.5 + float(rng.uniform(-0.5, 0.5)) * min(room, 0.25)
        horizontal = relation in ("left", "right")
        x, y = (along[index], across) if horizontal else (across, along[index])
        places.append(Place2D(x, y, sides[index]))
    return tuple(places), relation


def count_layout(count: int, rng: np.random.Generator) -> tuple[Place2D, ...]:
    """Two to six equal squares in rows, slightly shaken, none touching another."""
    forms = _ROWS[count]
    rows = forms[int(rng.integers(len(forms)))]
    cell = (1 - 2 * _EDGE) / max(*rows, len(rows))
    side = cell * float(rng.uniform(0.78, 0.92))
    shake = (cell - side) / 2
    places: list[Place2D] = []
    for number, columns in enumerate(rows):
        y = 0.5 + (number - (len(rows) - 1) / 2) * cell
        for column in range(columns):
            x = 0.5 + (column - (columns - 1) / 2) * cell
            dx, dy = rng.uniform(-shake, shake, 2)
            places.append(Place2D(x + float(dx), y + float(dy), side))
    return tuple(places)
