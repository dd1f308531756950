"""What a composed picture shows: the structured truth that captions are worded from and evaluations are scored on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pinxit.train.data.bank import Drawing

Kind = Literal["single", "pair", "size", "count", "colour"]
Relation = Literal["left", "right", "above", "below"]
BackgroundKind = Literal["white", "colour", "gradient", "scene"]
Place = Literal["meadow", "beach", "snow", "desert", "sea", "mountains", "sky", "space"]
Time = Literal["day", "sunset", "night"]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFacts:
    """One drawing in the picture. `box` is (left, top, right, bottom) of its visible part, in [0, 1].

    `colour` is the key of the named colour it was given, if any; `size` is told where the picture is about sizes.
    """

    row: int
    drawing: Drawing
    box: Box
    colour: str | None = None
    size: Literal["big", "small"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundFacts:
    """What is behind the objects: colour keys (one, or two from the gradient's start to its end), or a scene."""

    kind: BackgroundKind
    colours: tuple[str, ...] = ()
    place: Place | None = None
    time: Time | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFacts:
    """A whole picture. In a pair the first object stands in `relation` to the second; a count repeats one drawing."""

    kind: Kind
    objects: tuple[ObjectFacts, ...]
    background: BackgroundFacts
    relation: Relation | None = None
