"""From a judge's verdict to statements: which things are where, on what ground, in what style; and whether they do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.train.data.colours import Rgb, nearest_named
from pinxit.train.data.facts import ObjectFacts, SceneFacts
from pinxit.train.judge import Judge, Verdict

SURE = 0.2
"""The least probability of a thing that counts as seen."""

_FAINT = 30.0
"""How far (of 442) a colour must lie from the ground's to be seen at all."""

_BORDER = 0.05
_CLEAR = 0.04
"""By how much of the picture's side a thing must lie further left, or be larger, for it to count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One thing that the judge found: its middle and side as shares of the picture."""

    concept: str
    score: float
    x: float
    y: float
    side: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one picture shows. `ground` is the named colour along its border; `colour` the things' main one, if any."""

    things: tuple[Seen, ...]
    style: str
    ground: str
    colour: str | None


def readings(judge: Judge, verdict: Verdict, pictures: Tensor) -> list[Reading]:
    """The reading of each of the uint8 pictures [N, 3, H, W] that `verdict` is about."""
    styles = verdict.style.argmax(dim=1)
    return [
        _reading(judge, verdict.heat[at], verdict.side[at], judge.config.styles[int(styles[at])], pictures[at])
        for at in range(len(pictures))
    ]


def _reading(judge: Judge, heat: Tensor, side: Tensor, style: str, picture: Tensor) -> Reading:
    ground = border_colour(picture)
    return Reading(
        things=() if is_plain(picture, ground) else things_in(judge, heat, side),
        style=style,
        ground=nearest_named(ground).key,
        colour=inner_colour(picture, ground),
    )


def things_in(judge: Judge, heat: Tensor, side: Tensor) -> tuple[Seen, ...]:
    """Peaks of the map, the surest first; one that lies inside a surer thing is that thing again."""
    best, which = heat.sigmoid().max(dim=0)
    peak = best == F.max_pool2d(best[None, None], 3, stride=1, padding=1)[0, 0]
    rows, columns = torch.nonzero(peak & (best >= SURE), as_tuple=True)
    cells = heat.shape[-1]
    found: list[Seen] = []
    for row, column in sorted(zip(rows.tolist(), columns.tolist(), strict=True), key=lambda at: -float(best[at])):
        thing = Seen(
            concept=judge.config.concepts[int(which[row, column])],
            score=float(best[row, column]),
            x=(column + 0.5) / cells,
            y=(row + 0.5) / cells,
            side=float(side[row, column].clamp(-4, 0).exp()),
        )
        if all(max(abs(thing.x - other.x), abs(thing.y - other.y)) > 0.4 * other.side for other in found):
            found.append(thing)
    return tuple(found)


def border_colour(picture: Tensor) -> Rgb:
    """The median colour along the picture's border, a twentieth wide."""
    wide = max(1, round(_BORDER * min(picture.shape[1:])))
    rim = torch.ones(picture.shape[1:], dtype=torch.bool)
    rim[wide:-wide, wide:-wide] = False
    red, green, blue = picture[:, rim].median(dim=1).values.tolist()
    return int(red), int(green), int(blue)


def is_plain(picture: Tensor, ground: Rgb) -> bool:
    """Does hardly anything differ from the ground? No judge was shown such pictures, and it may see things in them."""
    away = (picture.float() - torch.tensor(ground).view(3, 1, 1)).norm(dim=0)
    return float((away > _FAINT).float().mean()) < 0.01


def inner_colour(picture: Tensor, ground: Rgb) -> str | None:
    """The named colour of most pixels that differ clearly from the ground; None where hardly any does."""
    away = (picture.float() - torch.tensor(ground).view(3, 1, 1)).norm(dim=0)
    inside = picture[:, away > 90].float()
    if inside.shape[1] < 0.01 * away.numel():
        return None
    red, green, blue = inside.median(dim=1).values.tolist()
    return nearest_named((int(red), int(green), int(blue))).key


def answers(asked: SceneFacts, seen: Reading, styles: tuple[str, ...]) -> dict[str, bool]:
    """Which of the things that a prompt asked for the picture shows, by task; only tasks that it asks for.

    `styles` are those that the judge can tell.
    """
    wanted = [thing.drawing.concept for thing in asked.objects]
    found = {concept: [thing for thing in seen.things if thing.concept == concept] for concept in set(wanted)}
    right: dict[str, bool] = {}
    if asked.kind in ("single", "colour"):
        right["single_object"] = bool(found[wanted[0]])
        right["background"] = seen.ground in asked.background.colours
        if (style := asked.objects[0].drawing.style) in styles:
            right["style"] = seen.style == style
    if asked.kind == "colour":
        right["colour"] = seen.colour == asked.objects[0].colour
    if asked.kind == "count":
        right["count"] = len(found[wanted[0]]) == len(wanted)
    if asked.kind in ("pair", "size"):
        right["two_objects"] = all(found.values())
    if asked.kind == "size":
        right["size"] = right["two_objects"] and _sized(asked.objects, found)
    if asked.relation is not None:
        right["position"] = right["two_objects"] and _placed(asked, found)
    return right


def _sized(objects: tuple[ObjectFacts, ...], found: dict[str, list[Seen]]) -> bool:
    sides = {thing.size: found[thing.drawing.concept][0].side for thing in objects}
    return sides["big"] > sides["small"] + _CLEAR


def _placed(asked: SceneFacts, found: dict[str, list[Seen]]) -> bool:
    first, second = (found[thing.drawing.concept][0] for thing in asked.objects)
    beside, below = second.x - first.x, second.y - first.y
    distances = {"left": beside, "right": -beside, "above": below, "below": -below}
    return asked.relation is not None and distances[asked.relation] > _CLEAR
