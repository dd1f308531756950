from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pinxit.train.data import chinese, english
from pinxit.train.data.bank import Drawing
from pinxit.train.data.captions import CaptionSettings, Chooser, caption
from pinxit.train.data.facts import BackgroundFacts, Kind, ObjectFacts, Relation, SceneFacts
from pinxit.train.data.split import chinese_is_held_out

CAT = Drawing(
    id="fluent-3d/1f431",
    source="fluent-3d",
    style="3d",
    family="fluent",
    concept="1F431",
    en=("cat", "cat face"),
    zh=("猫", "猫脸"),
    en_keywords=("pet",),
    zh_keywords=("宠物",),
    measure="只",
    group="animals-nature",
    subgroup="animal-mammal",
    square=False,
    plural=False,
    countable=True,
    monochrome=False,
    split="train",
    weight=1.0,
    twin=0,
    rim=(255, 200, 60),
    fill=0.7,
    licence="MIT",
    author="A",
)
EGG = replace(CAT, concept="1F95A", en=("egg",), zh=("鸡蛋",), measure="个", subgroup="food", group="food-drink")
BLUE = BackgroundFacts(kind="colour", colours=("blue",))
BEACH = BackgroundFacts(kind="scene", place="beach", time="sunset")
SURE = CaptionSettings(
    chinese=0, mixed=0, bare=0, tags=0, style=1, background=1, white=1, keywords=0, quality=0, label=0
)


def thing(drawing: Drawing, colour: str | None = None, size: str | None = None) -> ObjectFacts:
    told = {"big": "big", "small": "small"}.get(str(size))
    return ObjectFacts(row=0, drawing=drawing, box=(0.1, 0.1, 0.9, 0.9), colour=colour, size=told)  # pyright: ignore[reportArgumentType] one of the literals


def scene(
    kind: Kind, *things: ObjectFacts, background: BackgroundFacts = BLUE, relation: Relation | None = None
) -> SceneFacts:
    return SceneFacts(kind=kind, objects=things, background=background, relation=relation)


def many(facts: SceneFacts, settings: CaptionSettings, count: int = 300) -> list[str]:
    draws = np.random.default_rng(4)
    return [caption(facts, draws, settings) for _ in range(count)]


def test_a_caption_is_a_function_of_the_seed() -> None:
    facts = scene("single", thing(CAT))
    assert many(facts, CaptionSettings(), 20) == many(facts, CaptionSettings(), 20)


def test_an_english_sentence_says_name_style_and_background() -> None:
    said = many(scene("single", thing(CAT)), SURE)
    assert all("cat" in text and "blue" in text and re.search("3d|fluent", text) for text in said)
    assert "a picture of a cat, 3d, blue background" in said
    assert any("a 3d cat" in text for text in said)
    assert all(text.isascii() for text in said)


def test_a_chinese_sentence_says_name_style_and_background() -> None:
    said = many(scene("single", thing(CAT)), replace(SURE, chinese=1))
    assert all("猫" in text and "蓝色" in text and re.search("风格|渲染|表情", text) for text in said)
    assert any("一只猫" in text for text in said)
    assert any("3D风格的猫" in text for text in said)


def test_shares_of_the_forms_are_kept() -> None:
    said = many(scene("single", thing(CAT)), CaptionSettings(), 2000)
    chinese_share = sum(bool(re.search("[一-鿿]", text)) for text in said) / len(said)
    bare = sum(text in ("cat", "cat face", "猫", "猫脸") for text in said) / len(said)
    assert 0.33 < chinese_share < 0.43
    assert 0.11 < bare < 0.17
    assert any("宠物" in text for text in said)
    assert any("high quality" in text for text in said)
    assert len(set(said)) > 500


def test_tags_are_separated_by_commas() -> None:
    said = many(scene("single", thing(CAT), background=BEACH), replace(SURE, tags=1))
    assert all(text.startswith("cat, ") and " on " not in text for text in said)


def test_counts_are_worded_in_both_languages() -> None:
    facts = scene("count", *([thing(CAT)] * 3))
    assert {"three cats", "3 cats"} <= {english.bare(english.things(facts, _first(), 0.0)), "3 cats"}
    assert all(re.search("three cats|3 cats", text) for text in many(facts, SURE))
    assert all(re.search("[三3]只猫", text) for text in many(facts, replace(SURE, chinese=1)))
    pair = scene("count", thing(EGG), thing(EGG))
    assert all(re.search("[两2]个鸡蛋", text) for text in many(pair, replace(SURE, chinese=1)))


def _first() -> Chooser:
    return Chooser(np.random.default_rng(0))


@pytest.mark.parametrize("relation", ["left", "right", "above", "below"])
def test_relations_are_never_said_the_wrong_way(relation: Relation) -> None:
    facts = scene("pair", thing(CAT), thing(EGG), relation=relation)
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}[relation]
    for text in many(facts, SURE):
        assert not re.search(f"cat (?:to the |on the )?{opposite}", text)
        assert not re.search(f"cat on the {opposite} and an egg", text)
    sides = {"left": "左", "right": "右", "above": "上", "below": "下"}
    told = [text for text in many(facts, replace(SURE, chinese=1)) if re.search("[左右上下][边侧面方]", text)]
    assert len(told) > 100
    for text in told:
        assert re.search(
            f"猫在.*鸡蛋的?{sides[relation]}|{sides[relation]}[边面]是.*猫，|{sides[relation]}[边面]是.*猫", text
        )


def test_sizes_and_colours_go_before_the_name() -> None:
    sized = scene("size", thing(CAT, size="big"), thing(EGG, size="small"), relation="left")
    assert all(re.search(r"(?:big|large|huge) cat", text) for text in many(sized, SURE))
    assert all(re.search(r"大的猫.*小的鸡蛋|小的鸡蛋.*大的猫", text) for text in many(sized, replace(SURE, chinese=1)))
    tinted = scene("colour", thing(replace(EGG, style="silhouette"), colour="red"))
    assert all("red egg" in text for text in many(tinted, SURE))
    assert all("红色的鸡蛋" in text for text in many(tinted, replace(SURE, chinese=1)))


def test_scenes_and_gradients_are_described() -> None:
    for text in many(scene("single", thing(CAT), background=BEACH), SURE):
        assert "beach" in text
        assert re.search("sunset|dusk|evening", text)
        assert "background" not in text
    ramp = BackgroundFacts(kind="gradient", colours=("red", "white"))
    said = many(scene("single", thing(CAT), background=ramp), SURE)
    assert any("red to white gradient background" in text for text in said)
    assert any(
        "从红色到白色的渐变背景" in text
        for text in many(scene("single", thing(CAT), background=ramp), replace(SURE, chinese=1))
    )


def test_plurals_and_uncounted_things_take_no_article() -> None:
    grapes = replace(CAT, en=("grapes",), plural=True)
    fire = replace(CAT, en=("fire",), countable=False)
    for drawing, name in ((grapes, "grapes"), (fire, "fire")):
        assert not any(re.search(rf"\ban? {name}", text) for text in many(scene("single", thing(drawing)), SURE))
    assert any("an egg" in text for text in many(scene("single", thing(EGG)), SURE))


def test_reserved_words_are_used_only_when_asked() -> None:
    held = next(f"{code:X}" for code in range(0x1FA00, 0x1FB00) if chinese_is_held_out(f"{code:X}"))
    drawing = replace(CAT, concept=held)
    wanted = replace(SURE, chinese=1)
    assert all(text.isascii() for text in many(scene("single", thing(drawing)), wanted))
    reserved = many(scene("single", thing(drawing)), replace(wanted, reserved=True))
    assert all("给我看" in text or "请画出" in text for text in reserved)
    english_reserved = many(scene("single", thing(CAT)), replace(SURE, reserved=True))
    assert all(re.search("show me|please|would like", text) for text in english_reserved)


def test_mixed_captions_keep_both_languages() -> None:
    said = many(scene("single", thing(CAT)), replace(SURE, mixed=1))
    assert all(re.search("[一-鿿]", text) and "cat" in text for text in said)


def test_styles_that_differ_are_not_named() -> None:
    facts = scene("pair", thing(CAT), thing(replace(EGG, style="noto")), relation="left")
    assert not any(re.search("3d|noto|cartoon", text) for text in many(facts, SURE))


def test_no_caption_has_loose_ends() -> None:
    kinds = [
        scene("single", thing(CAT), background=background)
        for background in (BLUE, BEACH, BackgroundFacts(kind="white", colours=("white",)))
    ]
    shares = Counter(text for facts in kinds for text in many(facts, CaptionSettings(), 500))
    for text in shares:
        assert text == text.strip(" ,，")
        assert "{" not in text
        assert "  " not in text
        assert not re.search("，，|, ,", text)
    assert chinese.joined(["猫", "", "蓝色背景"]) == "猫，蓝色背景"
