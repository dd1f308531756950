from __future__ import annotations

import pytest

from pinxit.schema.errors import BadModelFile
from pinxit.weights.formula import Scope
from pinxit.weights.layout import (
    WEIGHT,
    WHOLE,
    Drop,
    Entry,
    Layout,
    Leaf,
    Op,
    Part,
    Place,
    Row,
    Table,
    View,
)


def sizes(view: View) -> Scope | None:
    count = view.count("block.#")
    return {"blocks": count, "inner": tuple(range(1, count + 1))} if count else None


ROWS = (
    Row(
        "block.{i}.layer.{j}",
        "b{2*i}.l{j+1}",
        (
            Leaf("conv", "c"),
            Leaf("skip", "s", unequal="conv"),
            Leaf(("q", "k", "v"), "qkv_*"),
            Leaf("n", "norm", WEIGHT),
        ),
        i="blocks",
        j="inner[i]",
    ),
    Row("", "", (Leaf("pos.weight", "positions", WHOLE, Op.TRANSPOSE),)),
    Row("extra", "extra", k=0),
)
TABLE = Table(name="test", rows=ROWS, measure=sizes, measure_ours=sizes)


def test_rows_repeat_over_their_axes() -> None:
    entries = TABLE.entries({"blocks": 2, "inner": (1, 2)}, View({"block.1.layer.1.conv.weight": (4, 8)}), "ours")
    pairs = {entry.ours[0]: entry.theirs for entry in entries}
    assert pairs["block.1.layer.1.conv.weight"] == ("b2.l2.c.weight",)
    assert pairs["block.1.layer.1.skip.bias"] == ("b2.l2.s.bias",)
    assert "block.1.layer.0.skip.bias" not in pairs
    assert pairs["block.0.layer.0.q.weight"] == ("b0.l1.qkv_weight",)
    assert pairs["pos.weight"] == ("positions",)
    assert "block.0.layer.0.n.bias" not in pairs
    assert len(entries) == 3 * 5 + 2 + 1


def test_our_own_spelling_splits_what_is_joined() -> None:
    entries = TABLE.own("own").entries({"blocks": 1, "inner": (1,)}, View({}), "theirs")
    assert all(entry.ours == entry.theirs for entry in entries)
    assert [entry.ours[0] for entry in entries if ".k." in entry.ours[0]] == [
        "block.0.layer.0.k.weight",
        "block.0.layer.0.k.bias",
    ]


def test_shapes_through_every_operation() -> None:
    def both_ways(entry: Entry, theirs: tuple[tuple[int, ...], ...], ours: tuple[tuple[int, ...], ...]) -> None:
        assert entry.ours_shapes(theirs) == ours
        assert entry.theirs_shapes(ours) == theirs

    both_ways(Entry(ours=("q", "k", "v"), theirs=("qkv",)), ((12, 5),), ((4, 5),) * 3)
    both_ways(Entry(ours=("qkv",), theirs=("q", "k", "v")), ((4,),) * 3, ((12,),))
    both_ways(Entry(ours=("a",), theirs=("b",), op=Op.SQUEEZE), ((4, 5),), ((4, 5, 1, 1),))
    both_ways(Entry(ours=("a",), theirs=("b",), op=Op.SQUEEZE), ((4,),), ((4,),))
    both_ways(Entry(ours=("a",), theirs=("b",), op=Op.TRANSPOSE), ((4, 5),), ((5, 4),))
    both_ways(Entry(ours=("a",), theirs=("b",), op=Op.TRANSPOSE), ((4,),), ((4,),))
    both_ways(Entry(ours=("a",), theirs=("b",), op=Op.SWAP), ((4, 5),), ((4, 5),))


def test_impossible_splits_are_refused() -> None:
    entry = Entry(ours=("q", "k", "v"), theirs=("qkv",))
    with pytest.raises(BadModelFile, match=r"qkv of shape \[10, 4\] cannot be split into 3 equal parts"):
        entry.ours_shapes(((10, 4),))
    with pytest.raises(BadModelFile, match="qkv is a single number"):
        entry.ours_shapes(((),))


def test_views_count_and_compare() -> None:
    view = View({"a.0.w": (1,), "a.1.w": (2, 2), "a.3.w": (2, 3)})
    assert view.count("a.#") == 2
    assert view.has("a.3")
    assert not view.has("a.2")
    assert view.has("a.3.w")
    assert not view.has("")
    assert not view.unequal("a.0.w")
    assert not view.unequal("a.1.w")
    assert view.unequal("a.3.w")
    assert not view.unequal("none")


def test_names_without_end_are_not_taken_apart() -> None:
    view = View({"a" + ".b" * 1000: (1,), "c" + ".d" * 60: (1,)})
    assert not view.has("a")
    assert view.has("c.d.d")
    assert len(view.shapes) == 2


LAYOUT = Layout(
    name="test",
    family="test",
    parts=(Part(component="net", places=(Place(prefix="p.", table=TABLE),), required=True),),
    drops=(Drop("*.ids", "counted"), Drop("betas", "computed")),
)


def test_drops_have_reasons() -> None:
    assert LAYOUT.reason_to_drop("x.ids") == "counted"
    assert LAYOUT.reason_to_drop("betas") == "computed"
    assert LAYOUT.reason_to_drop("betas.x") is None


def test_writing_needs_exactly_one_networks_tensors() -> None:
    entries = TABLE.entries({"blocks": 1, "inner": (1,)}, View({}), "ours")
    ours: dict[str, tuple[int, ...]] = {name: (4, 4) for entry in entries for name in entry.ours}
    assert [entry.theirs[0] for entry in LAYOUT.names_for("net", ours)][:2] == ["p.b0.l1.c.weight", "p.b0.l1.c.bias"]
    with pytest.raises(BadModelFile, match="1 tensors do not fit it, such as stray"):
        LAYOUT.names_for("net", {**ours, "stray": (1,)})
    with pytest.raises(BadModelFile, match="The net cannot be written as test"):
        LAYOUT.names_for("net", {"nothing": (1,)})
    with pytest.raises(KeyError, match="no part 'other'"):
        LAYOUT.names_for("other", ours)


def test_squashed_places_lose_their_dots() -> None:
    place = Place(prefix="model_ema.diffusion_model", table=TABLE, squash=True)
    assert place.spell("out.2.weight") == "model_ema.diffusion_modelout2weight"
    view = place.view({"model_ema.diffusion_modelout2weight": (1,)})
    assert view.has("out.2.weight")
    assert view.shape_of("out.2.weight") == (1,)
    assert not view.has("out.0")
