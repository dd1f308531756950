from __future__ import annotations

import json
from pathlib import Path

import pytest

from pinxit.prompts.known import FILE, Known, nearest_thing, notes_on, read_known, unknown_words, with_nearest
from pinxit.schema.request import GenerationRequest
from pinxit.studio import Studio
from pinxit.studio.paths import builtin_model

TOLD = {
    "names": [
        {"en": ["cat", "kitten"], "zh": ["猫", "小猫"], "many": "cats"},
        {"en": ["apple", "red apple"], "zh": ["苹果"], "many": "apples"},
        {"en": ["palm tree"], "zh": [], "many": "palm trees"},
    ],
    "words": [
        "a",
        "an",
        "and",
        "on",
        "two",
        "blue",
        "background",
        "3d",
        "d",
        "style",
        "一",
        "只",
        "背景",
        "蓝色",
        "和",
    ],
    "near": {"lynx": 0, "pear": 1, "豹": 0, "梨": 1},
}


@pytest.fixture
def known(tmp_path: Path) -> Known:
    (tmp_path / FILE).write_text(json.dumps(TOLD), "utf-8")
    found = read_known(tmp_path)
    assert found is not None
    return found


def words(prompt: str, known: Known) -> list[str]:
    return [found.word for found in unknown_words(prompt, known)]


@pytest.mark.parametrize(
    "prompt",
    [
        "a red apple on a blue background, 3d style",
        "two kittens AND (palm trees:1.3) <lora:odd:0.5>",
        "一只猫和苹果，蓝色背景",
        "一只 cat BREAK 蓝色背景",
        "",
        "!!! 123",
    ],
)
def test_what_was_taught_is_known(prompt: str, known: Known) -> None:
    assert words(prompt, known) == []


def test_what_was_not_taught_is_found_where_it_stands(known: Known) -> None:
    assert words("a fluffy Platypus and a cat", known) == ["fluffy", "platypus"]
    assert words("一只鸭嘴兽和猫，绿色背景", known) == ["鸭嘴兽", "绿色"]
    assert words("a palm on a tree", known) == ["palm", "tree"]
    found = unknown_words("a platypus", known)[0]
    assert (found.start, found.end) == (2, 10)


def test_the_nearest_in_meaning_comes_before_the_nearest_in_spelling(known: Known) -> None:
    for word, name in (("lynx", "cat"), ("pears", "apple"), ("aple", "apple"), ("豹", "cat")):
        thing = nearest_thing(word, known)
        assert thing is not None
        assert thing.en[0] == name
    assert nearest_thing("platypus", known) is None


def test_prompts_are_reworded_only_where_something_comes_near(known: Known) -> None:
    assert with_nearest("a lynx, 3d style", known) == ("a cat, 3d style", (("lynx", "cat"),))
    assert with_nearest("a pear and two pears", known) == (
        "an apple and two apples",
        (("pear", "apple"), ("pears", "apples")),
    )
    assert with_nearest("一只豹和梨", known) == ("一只猫和苹果", (("豹", "猫"), ("梨", "苹果")))
    assert with_nearest("a fluffy platypus", known) == ("a fluffy platypus", ())


def test_a_note_says_what_is_known(known: Known) -> None:
    assert notes_on("a cat", known) == []
    assert notes_on("a platypus, a platypus, 鸭", known) == [
        "the model was never taught 'platypus', '鸭'; it knows cat, apple, palm tree"
    ]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"names": 3}', '{"names": [], "words": [], "near": []}', "\0"])
def test_a_damaged_list_is_none(tmp_path: Path, text: str) -> None:
    assert read_known(tmp_path) is None
    (tmp_path / FILE).write_text(text)
    assert read_known(tmp_path) is None


def test_numbers_beyond_the_things_are_dropped(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({**TOLD, "near": {"lynx": 0, "pear": 99, "fig": -1}}))
    found = read_known(tmp_path)
    assert found is not None
    assert found.near == {"lynx": 0}


def test_the_built_in_model_lists_what_its_card_does() -> None:
    folder = builtin_model()
    known = read_known(folder)
    assert known is not None
    card = (folder / "README.md").read_text("utf-8")
    assert f"{len(known.things)} things" in card
    assert all(f"{thing.en[0]} ({thing.zh[0]})" in card for thing in known.things)
    assert unknown_words("a red apple on a blue background, 3d style", known) == []
    assert nearest_thing("wolf", known) in known.things
    assert len((folder / FILE).read_bytes()) < 200_000


def test_a_plan_says_what_its_model_was_never_taught() -> None:
    plan = Studio().plan(GenerationRequest(prompt="a platypus on a blue background, 3d style"))
    assert [note for note in plan.notes if "never taught 'platypus'; it knows" in note]
    plan = Studio().plan(GenerationRequest(prompt="a red apple on a blue background, 3d style"))
    assert not [note for note in plan.notes if "never taught" in note]
