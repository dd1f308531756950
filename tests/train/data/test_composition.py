from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pinxit.schema.errors import BadInput
from pinxit.train.data.backgrounds import BackgroundShares, suitable_places
from pinxit.train.data.bank import Bank, Drawing
from pinxit.train.data.colours import BY_KEY, COLOURS, distance, jittered, nearest_named
from pinxit.train.data.composition import Composer, CompositionSettings, KindShares
from pinxit.train.data.facts import Place, Time
from pinxit.train.data.layout import Place2D, count_layout, pair_layout, single_layout
from pinxit.train.data.scenes import gradient, paint, shadow
from pinxit.train.data.split import pair_is_held_out, tint_is_held_out
from tests.train.data import fakes

WHITE = BackgroundShares(white=1, colour=0, gradient=0, scene=0)
COLOUR = BackgroundShares(white=0, colour=1, gradient=0, scene=0)
SCENE = BackgroundShares(white=0, colour=0, gradient=0, scene=1)


def only(kind: str) -> KindShares:
    shares = dict.fromkeys(("single", "pair", "size", "count", "colour"), 0.0)
    return KindShares(**(shares | {kind: 1.0}))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_a_batch_is_a_function_of_the_seed(bank: Bank) -> None:
    composer = Composer(bank, size=48)
    one, again, other = (composer.batch(6, rng(seed)) for seed in (1, 1, 2))
    assert one.images.shape == (6, 3, 48, 48)
    assert one.images.dtype == np.uint8
    assert np.array_equal(one.images, again.images)
    assert one.facts == again.facts
    assert not np.array_equal(one.images, other.images)


def test_boxes_fit_what_is_visible(bank: Bank) -> None:
    settings = CompositionSettings(kinds=only("single"), backgrounds=WHITE, contrast=0)
    composer = Composer(bank, settings, size=64, styles=("flat",))
    for seed in range(12):
        picture, facts = composer.compose(rng(seed))
        rows, columns = np.nonzero((picture < 245).any(-1))
        seen = (columns.min() / 64, rows.min() / 64, (columns.max() + 1) / 64, (rows.max() + 1) / 64)
        assert facts.objects[0].box == pytest.approx(seen, abs=1.5 / 64)


def test_edges_carry_no_fringe_of_hidden_colour(bank: Bank) -> None:
    """The red cat's transparent pixels are green in its file: over red nothing green may appear."""
    settings = CompositionSettings(kinds=only("single"), backgrounds=COLOUR, contrast=0)
    composer = Composer(bank, settings, size=40, concepts=(fakes.CAT,), styles=("3d",))
    found = 0
    for seed in range(60):
        picture, facts = composer.compose(rng(seed))
        if facts.background.colours == ("red",):
            found += 1
            assert picture[..., 1].max() <= max(60, int(picture[0, 0, 1]) + 8)
    assert found


def test_pairs_stand_as_told_and_do_not_touch(bank: Bank) -> None:
    settings = CompositionSettings(kinds=KindShares(single=0, pair=1, size=1, count=0, colour=0), backgrounds=COLOUR)
    composer = Composer(bank, settings, size=64)
    seen: set[str] = set()
    for seed in range(60):
        _, facts = composer.compose(rng(seed))
        first, second = facts.objects
        one, other = first.box, second.box
        assert not overlap(one, other)
        assert first.drawing.concept != second.drawing.concept
        assert not pair_is_held_out(first.drawing.concept, second.drawing.concept)
        seen.add(str(facts.relation))
        match facts.relation:
            case "left":
                assert one[2] <= other[0]
            case "right":
                assert one[0] >= other[2]
            case "above":
                assert one[3] <= other[1]
            case _:
                assert one[1] >= other[3]
        if facts.kind == "size":
            assert {first.size, second.size} == {"big", "small"}
            big, small = (first, second) if first.size == "big" else (second, first)
            assert max(_sides(big.box)) > 1.5 * max(_sides(small.box))
    assert seen == {"left", "right", "above", "below"}


def _sides(box: tuple[float, float, float, float]) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]


def test_counts_repeat_one_countable_drawing_apart(bank: Bank) -> None:
    composer = Composer(bank, CompositionSettings(kinds=only("count"), backgrounds=COLOUR), size=64)
    counts: Counter[int] = Counter()
    for seed in range(40):
        _, facts = composer.compose(rng(seed))
        assert len({thing.row for thing in facts.objects}) == 1
        drawing = facts.objects[0].drawing
        assert drawing.countable
        assert not drawing.plural
        assert not drawing.square
        boxes = [thing.box for thing in facts.objects]
        assert not any(overlap(one, other) for index, one in enumerate(boxes) for other in boxes[:index])
        counts[len(boxes)] += 1
    assert set(counts) == {2, 3, 4, 5, 6}


def test_silhouettes_take_a_named_colour(bank: Bank) -> None:
    composer = Composer(bank, CompositionSettings(kinds=only("colour"), backgrounds=WHITE), size=64)
    colours: set[str] = set()
    for seed in range(40):
        picture, facts = composer.compose(rng(seed))
        thing = facts.objects[0]
        assert facts.kind == "colour"
        assert thing.colour is not None
        assert not tint_is_held_out(thing.drawing.concept, thing.colour)
        if thing.colour not in ("white", "beige"):
            row = picture[int((thing.box[1] + thing.box[3]) * 32)]
            darkest = row[np.argmax(np.abs(row.astype(int) - 255).sum(-1))].tolist()
            assert nearest_named((darkest[0], darkest[1], darkest[2])).key == thing.colour
        colours.add(thing.colour)
    assert len(colours) > 8


def test_objects_stand_out_from_what_is_behind_them(bank: Bank) -> None:
    settings = CompositionSettings(kinds=only("colour"), backgrounds=BackgroundShares(white=1, colour=4, gradient=0))
    settings = replace(settings, backgrounds=replace(settings.backgrounds, scene=0))
    composer = Composer(bank, settings, size=32)
    for seed in range(60):
        _, facts = composer.compose(rng(seed))
        background = facts.background.colours[0]
        assert facts.objects[0].colour != background
        assert distance(BY_KEY[str(facts.objects[0].colour)].rgb, BY_KEY[background].rgb) > 40


def test_flags_get_no_scenes_and_no_company(bank: Bank) -> None:
    settings = CompositionSettings(kinds=KindShares(single=1, pair=1, size=1, count=1, colour=0), backgrounds=SCENE)
    composer = Composer(bank, settings, size=32, concepts=(fakes.FLAG,))
    for seed in range(10):
        _, facts = composer.compose(rng(seed))
        assert facts.kind == "single"
        assert facts.background.kind == "white"


def test_scenes_put_things_on_the_ground(bank: Bank) -> None:
    composer = Composer(bank, CompositionSettings(kinds=only("single"), backgrounds=SCENE), size=64)
    for seed in range(20):
        _, facts = composer.compose(rng(seed))
        if not facts.objects[0].drawing.square and facts.background.place in ("meadow", "snow", "desert"):
            assert facts.objects[0].box[3] > 0.55


def drawing(bank: Bank, concept: str, subgroup: str) -> Drawing:
    return replace(bank.drawings[0], concept=concept, subgroup=subgroup)


def test_places_suit_the_things(bank: Bank) -> None:
    ship, rocket, bear = (
        drawing(bank, *pair)
        for pair in (("26F5", "transport-water"), ("1F680", "transport-air"), ("1F43B", "animal-mammal"))
    )
    assert set(suitable_places((ship,))) == {"beach", "sea"}
    assert {"space", "sky"} <= set(suitable_places((rocket,)))
    assert "sea" not in suitable_places((bear, ship))
    assert suitable_places((drawing(bank, "26C5", "sky-weather"), bear)) == ("sky",)


def test_even_concepts_and_weights(bank: Bank) -> None:
    kinds = CompositionSettings(kinds=only("single"), backgrounds=WHITE)
    even = Composer(bank, replace(kinds, even_concepts=True), size=16, styles=("flat",))
    drawn = Counter(even.compose(rng(seed))[1].objects[0].drawing.concept for seed in range(400))
    assert drawn[fakes.FLAG] > 25
    weighted = Composer(bank, kinds, size=16, styles=("flat",))
    rare = Counter(weighted.compose(rng(seed))[1].objects[0].drawing.concept for seed in range(400))
    assert rare[fakes.FLAG] < 25


def test_held_out_drawings_stay_out(bank: Bank) -> None:
    train = Composer(bank, size=16, concepts=(fakes.LONE,))
    assert {bank.drawings[row].style for row in train.rows} == {"3d", "flat", "twemoji"}
    test = Composer(bank, size=16, split="held_out")
    assert {bank.drawings[row].concept for row in test.rows} == {fakes.LONE}
    picture, facts = test.compose_row(int(test.rows[0]), rng())
    assert picture.shape == (16, 16, 3)
    assert facts.objects[0].drawing.style == "noto"
    with pytest.raises(BadInput, match="no train drawings of these concepts"):
        Composer(bank, concepts=("nothing",))


def test_layouts_stay_on_the_canvas() -> None:
    draws = rng(3)
    layouts = [single_layout((0.5, 0.9), 1.0, draws) for _ in range(50)]
    layouts += [pair_layout("pair", draws)[0] for _ in range(50)] + [pair_layout("size", draws)[0] for _ in range(50)]
    layouts += [count_layout(count, draws) for count in range(2, 7) for _ in range(20)]
    for place in (place for layout in layouts for place in layout):
        assert place.side / 2 - 1e-9 <= place.x <= 1 - place.side / 2 + 1e-9
        assert place.side / 2 - 1e-9 <= place.y <= 1 - place.side / 2 + 1e-9
    assert single_layout((0.7, 0.7), 0.0, draws) == (Place2D(0.5, 0.5, 0.7),)


def test_jittered_colours_keep_their_names() -> None:
    draws = rng(5)
    assert len(COLOURS) == 14
    for colour in COLOURS:
        assert all(nearest_named(jittered(colour, draws)) is colour for _ in range(30))


@pytest.mark.parametrize("place", ["meadow", "beach", "snow", "desert", "sea", "mountains", "sky", "space"])
@pytest.mark.parametrize("time", ["day", "sunset", "night"])
def test_scenes_are_painted_within_range(place: Place, time: Time) -> None:
    painted = paint(48, place, time, rng(7))
    assert painted.picture.shape == (48, 48, 3)
    assert painted.picture.dtype == np.float32
    assert painted.picture.min() >= 0
    assert painted.picture.max() <= 255
    assert painted.picture.std() > 5
    assert (painted.ground is None) == (place in ("sky", "space"))


def test_night_is_darker_than_day() -> None:
    assert paint(32, "meadow", "night", rng(1)).picture.mean() < 0.6 * paint(32, "meadow", "day", rng(1)).picture.mean()


def test_gradients_run_from_one_colour_to_the_other() -> None:
    ramp = gradient(64, (0, 0, 0), (200, 100, 50), 0.0)
    assert ramp[:, 0].max() < 3
    assert ramp[:, -1].min(0) == pytest.approx((200, 100, 50), abs=3)
    assert np.array_equal(ramp[0], ramp[-1])


def test_a_shadow_darkens_softly_under_the_thing_and_may_leave_the_canvas() -> None:
    picture = np.full((64, 64, 3), 200, np.float32)
    shadow(picture, 0.5, 0.8, 0.4)
    assert picture[51, 32, 0] < 140
    assert picture[10, 32, 0] == 200
    shadow(picture, 2.0, 2.0, 0.4)


def test_nothing_here_needs_torch() -> None:
    import subprocess

    code = (
        "import sys, pinxit.train.data.build, pinxit.train.data.composition, pinxit.train.data.captions; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("size", [(96, 48), (48, 96)])
@pytest.mark.parametrize("backgrounds", [COLOUR, SCENE])
def test_wide_and_tall_pictures_are_not_stretched(
    bank: Bank, size: tuple[int, int], backgrounds: BackgroundShares
) -> None:
    settings = CompositionSettings(kinds=only("single"), backgrounds=backgrounds, scale=(0.6, 0.6))
    square = Composer(bank, settings, size=48, concepts=(fakes.CAT,), styles=("3d",))
    other = Composer(bank, settings, size=size, concepts=(fakes.CAT,), styles=("3d",))
    left, top, right, bottom = square.compose(rng())[1].objects[0].box
    wanted = np.array([right - left, bottom - top]) * 48
    generator = rng()
    for _ in range(12):
        picture, facts = other.compose(generator)
        assert picture.shape == (size[1], size[0], 3)
        left, top, right, bottom = facts.objects[0].box
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
        assert np.abs(np.array([(right - left) * size[0], (bottom - top) * size[1]]) - wanted).max() < 2
