from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pinxit.evaluate.asks import LANGUAGES, Domain, domain_of, make_asks, worded
from pinxit.studio.paths import builtin_model
from pinxit.train.data.concepts import keys_named

DOMAIN = Domain(concepts=keys_named(["apple", "cat", "dog", "house", "star"]), styles=("3d", "flat"), kinds=("single",))


def test_the_same_seed_asks_the_same() -> None:
    assert make_asks(DOMAIN, 40) == make_asks(DOMAIN, 40)
    assert make_asks(DOMAIN, 40) != make_asks(DOMAIN, 40, seed=1)
    assert make_asks(DOMAIN, 10) == make_asks(DOMAIN, 40)[:10]


def test_asks_are_spread_over_concepts_languages_and_kinds() -> None:
    asks = make_asks(DOMAIN, 100)
    for start in range(0, 100, 5):
        assert {ask.facts.objects[0].drawing.concept for ask in asks[start : start + 5]} == set(DOMAIN.concepts)
    assert {ask.language for ask in asks} == set(LANGUAGES)
    kinds = [ask.facts.kind for ask in asks]
    assert [kinds.count(kind) for kind in ("single", "pair", "count", "size")] == [60, 16, 12, 12]
    assert {ask.facts.objects[0].drawing.style for ask in asks} == {"3d", "flat"}
    assert not any(ask.facts.kind == "colour" for ask in asks)
    assert len({ask.seed for ask in asks}) == 100


def test_silhouettes_are_asked_for_in_colours() -> None:
    tintable = Domain(concepts=DOMAIN.concepts, styles=("3d", "silhouette"), kinds=("single",))
    coloured = [ask.facts for ask in make_asks(tintable, 60) if ask.facts.kind == "colour"]
    assert coloured
    for facts in coloured:
        assert facts.objects[0].drawing.style == "silhouette"
        assert facts.objects[0].colour not in (None, *facts.background.colours)


def test_prompts_say_what_is_asked() -> None:
    for ask in make_asks(DOMAIN, 60):
        thing = ask.facts.objects[0].drawing
        names = thing.zh if ask.language == "zh" else thing.en
        assert names[0] in ask.prompt
        assert any("一" <= letter <= "鿿" for letter in ask.prompt) == (ask.language == "zh")
        assert worded(ask.facts, ask.language, np.random.default_rng(3))


def test_a_model_tells_what_it_was_taught(tmp_path: Path) -> None:
    known = domain_of(builtin_model())
    assert known is not None
    assert keys_named(["apple"])[0] in known.concepts
    assert "3d" in known.styles
    assert domain_of(tmp_path) is None
    recipe = {"data": {"concepts": 7, "only": [], "styles": []}, "composing": {"kinds": {"single": 1.0}}}
    (tmp_path / "training.json").write_text(json.dumps({"unet": {"recipe": recipe}}))
    told = domain_of(tmp_path)
    assert told is not None
    assert len(told.concepts) == 7
    assert len(told.styles) > 5


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"unet": 3}', '{"unet": {"recipe": {"data": null}}}', "\0"])
def test_a_damaged_history_is_a_foreign_model(tmp_path: Path, text: str) -> None:
    (tmp_path / "training.json").write_text(text)
    assert domain_of(tmp_path) is None
