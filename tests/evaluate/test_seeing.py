from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from pinxit.evaluate.asks import drawing_of
from pinxit.evaluate.seeing import Reading, Seen, answers, border_colour, inner_colour, readings, things_in
from pinxit.train.data.concepts import keys_named
from pinxit.train.data.facts import BackgroundFacts, Kind, ObjectFacts, Relation, SceneFacts
from pinxit.train.judge import Judge, JudgeConfig, Verdict

APPLE, CAT = keys_named(["apple", "cat"])
JUDGE = Judge(JudgeConfig(concepts=(APPLE, CAT), styles=("3d", "flat"), widths=(8, 8, 8, 8), embedding=8))
BLUE = BackgroundFacts(kind="colour", colours=("blue",))
ANYWHERE = (0.0, 0.0, 1.0, 1.0)


def heat(*peaks: tuple[int, int, int, float]) -> torch.Tensor:
    """Logits with these (concept, row, column, logit) peaks."""
    values = torch.full((2, 24, 24), -6.0)
    for concept, row, column, logit in peaks:
        values[concept, row, column] = logit
    return values


def side(share: float) -> torch.Tensor:
    return torch.full((24, 24), math.log(share))


def scene(*concepts: str, kind: Kind = "single", relation: Relation | None = None) -> SceneFacts:
    things = tuple(ObjectFacts(row=0, drawing=drawing_of(concept, "3d"), box=ANYWHERE) for concept in concepts)
    return SceneFacts(kind=kind, objects=things, background=BLUE, relation=relation)


def seen(*things: tuple[str, float, float, float]) -> Reading:
    found = tuple(Seen(concept=concept, score=0.9, x=x, y=y, side=wide) for concept, x, y, wide in things)
    return Reading(things=found, style="3d", ground="blue", colour="red")


def test_peaks_become_things() -> None:
    found = things_in(JUDGE, heat((0, 6, 6, 3.0), (1, 18, 18, 1.0)), side(0.3))
    assert [(thing.concept, thing.x, thing.y) for thing in found] == [
        (APPLE, 6.5 / 24, 6.5 / 24),
        (CAT, 18.5 / 24, 18.5 / 24),
    ]
    assert found[0].side == pytest.approx(0.3)
    assert found[0].score > found[1].score


def test_a_peak_inside_a_surer_thing_is_the_same_thing() -> None:
    assert len(things_in(JUDGE, heat((0, 12, 12, 3.0), (1, 12, 15, 2.0)), side(0.9))) == 1
    assert len(things_in(JUDGE, heat((0, 12, 4, 3.0), (0, 12, 20, 2.0)), side(0.3))) == 2


def test_nothing_sure_is_nothing_seen() -> None:
    assert things_in(JUDGE, heat((0, 6, 6, -2.0)), side(0.5)) == ()


def test_the_ground_is_the_colour_along_the_border() -> None:
    picture = torch.zeros(3, 96, 96, dtype=torch.uint8)
    picture[2] = 220
    picture[1] = 105
    picture[0] = 45
    picture[:, 20:70, 20:70] = torch.tensor([220, 40, 45], dtype=torch.uint8).view(3, 1, 1)
    assert border_colour(picture) == (45, 105, 220)
    assert inner_colour(picture, (45, 105, 220)) == "red"
    assert inner_colour(picture, (220, 40, 45)) == "blue"
    assert inner_colour(torch.full((3, 96, 96), 9, dtype=torch.uint8), (9, 9, 9)) is None


def test_a_verdict_becomes_a_reading() -> None:
    verdict = Verdict(
        heat=heat((1, 12, 12, 4.0))[None],
        side=side(0.8)[None],
        style=torch.tensor([[0.0, 2.0]]),
        embedding=torch.zeros(1, 8),
        features=torch.zeros(1, 8),
    )
    picture = torch.full((1, 3, 96, 96), 255, dtype=torch.uint8)
    assert readings(JUDGE, verdict, picture)[0].things == ()
    picture[..., 30:60, 30:60] = 0
    reading = readings(JUDGE, verdict, picture)[0]
    assert (reading.things[0].concept, reading.style, reading.ground, reading.colour) == (CAT, "flat", "white", "black")


def test_one_object_answers_for_ground_and_style_too() -> None:
    right = answers(scene(APPLE), seen((APPLE, 0.5, 0.5, 0.8)), ("3d", "flat"))
    assert right == {"single_object": True, "background": True, "style": True}
    wrong = answers(scene(APPLE), replace(seen((CAT, 0.5, 0.5, 0.8)), ground="red", style="flat"), ("3d", "flat"))
    assert wrong == {"single_object": False, "background": False, "style": False}
    assert "style" not in answers(scene(APPLE), seen(), ("noto",))


@pytest.mark.parametrize(("relation", "right"), [("left", True), ("right", False), ("above", False), ("below", False)])
def test_positions(relation: Relation, right: bool) -> None:
    reading = seen((CAT, 0.7, 0.5, 0.3), (APPLE, 0.3, 0.52, 0.3))
    told = answers(scene(APPLE, CAT, kind="pair", relation=relation), reading, ())
    assert told == {"two_objects": True, "position": right}
    alone = answers(scene(APPLE, CAT, kind="pair", relation=relation), seen((APPLE, 0.3, 0.5, 0.3)), ())
    assert alone == {"two_objects": False, "position": False}


def test_counts_are_exact() -> None:
    three = scene(APPLE, APPLE, APPLE, kind="count")
    apples = [(APPLE, 0.2 + 0.3 * at, 0.5, 0.2) for at in range(4)]
    assert answers(three, seen(*apples[:3]), ()) == {"count": True}
    assert answers(three, seen(*apples[:2]), ()) == {"count": False}
    assert answers(three, seen(*apples), ()) == {"count": False}
    assert answers(three, seen(*apples[:3], (CAT, 0.5, 0.9, 0.1)), ()) == {"count": True}


def test_sizes_need_the_right_order() -> None:
    asked = scene(APPLE, CAT, kind="size")
    big, small = asked.objects
    asked = replace(asked, objects=(replace(big, size="big"), replace(small, size="small")))
    assert answers(asked, seen((APPLE, 0.3, 0.5, 0.5), (CAT, 0.8, 0.6, 0.2)), ())["size"]
    assert not answers(asked, seen((APPLE, 0.3, 0.5, 0.2), (CAT, 0.8, 0.6, 0.5)), ())["size"]
    assert not answers(asked, seen((APPLE, 0.3, 0.5, 0.5)), ())["size"]


def test_colours_are_the_things_own() -> None:
    asked = scene(APPLE, kind="colour")
    asked = replace(asked, objects=(replace(asked.objects[0], colour="red"),))
    assert answers(asked, seen((APPLE, 0.5, 0.5, 0.8)), ())["colour"]
    assert not answers(asked, replace(seen((APPLE, 0.5, 0.5, 0.8)), colour="green"), ())["colour"]
