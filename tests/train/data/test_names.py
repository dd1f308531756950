from __future__ import annotations

from pathlib import Path

import pytest

from pinxit.schema.errors import BadInput
from pinxit.train.data.concepts import first_concepts, first_keys, named_concepts
from pinxit.train.data.names import (
    Labels,
    article_for,
    concept_key,
    has_tone,
    is_plural,
    plural_of,
    read_labels,
    slugged,
    tone_named,
)
from tests.train.data import fakes


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Labels:
    return read_labels(fakes.pack(tmp_path_factory.mktemp("labels") / "p", fakes.label_files()))


def test_concept_keys_lose_tones_and_presentation() -> None:
    assert concept_key("1f44d-1f3fb") == "1F44D"
    assert concept_key("2764-fe0f") == "2764"
    assert concept_key("0023-FE0F-20E3") == "0023-20E3"
    assert has_tone("1F44D-1F3FD")
    assert not has_tone("1F44D")
    assert tone_named("adult-medium-dark-skin-tone")
    assert not tone_named("light-bulb")


@pytest.mark.parametrize(
    ("one", "several"),
    [
        ("cat", "cats"),
        ("cherry", "cherries"),
        ("key", "keys"),
        ("peach", "peaches"),
        ("mouse", "mice"),
        ("tropical fish", "tropical fish"),
        ("slice of pizza", "slices of pizza"),
        ("face savoring food", "faces savoring food"),
        ("man raising hand", "men raising hand"),
        ("open mailbox with lowered flag", "open mailboxes with lowered flag"),
    ],
)
def test_plurals(one: str, several: str) -> None:
    assert plural_of(one) == several


@pytest.mark.parametrize("name", ["grapes", "french fries", "people hugging", "houses"])
def test_plural_nouns_are_known(name: str) -> None:
    assert is_plural(name)


@pytest.mark.parametrize("name", ["bus", "nest with eggs", "cactus", "dress", "glass", "woman’s", "stack of books"])
def test_singular_nouns_are_known(name: str) -> None:
    assert not is_plural(name)


@pytest.mark.parametrize(
    ("phrase", "article"),
    [("cat", "a"), ("apple", "an"), ("unicorn", "a"), ("umbrella", "an"), ("hourglass", "an"), ("one-piece", "a")],
)
def test_articles_follow_the_sound(phrase: str, article: str) -> None:
    assert article_for(phrase) == article


def test_labels_are_found_under_every_spelling(labels: Labels) -> None:
    for name in ("cat-face", "catface", "kitty-face", "cat-face-2", "Cat Face"):
        assert labels.key_of(name) == fakes.CAT
    assert labels.key_of("flag-for-flag-nowhere") == fakes.FLAG
    assert labels.key_of("dog") is None
    assert labels.split("redapplegrapes") == ["red", "apple", "grapes"]
    assert labels.split("redxq") is None


def test_labels_read_as_people_say_them(labels: Labels) -> None:
    assert labels.words[fakes.FLAG].en == ("Nowhere flag",)
    assert labels.words[fakes.FLAG].zh == ("无处国旗",)
    assert not labels.words[fakes.FLAG].countable
    assert labels.words[fakes.GRAPES].plural


def test_a_package_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"has no package/en/data\.json"):
        read_labels(fakes.pack(tmp_path / "p", {"README": b""}))


def test_slugs() -> None:
    assert slugged("Piñata & “Woman’s” hat") == "pinata-womans-hat"


def test_the_first_concepts_are_whole() -> None:
    assert len(first_keys()) == 120
    assert len(first_keys(1000)) == len(first_concepts()) == len({concept.key for concept in first_concepts()})
    assert first_keys()[:2] == ("1F431", "1F436")
    for concept in named_concepts().values():
        assert concept.en
        assert concept.zh
        assert concept.measure
        assert all(name == name.strip() and name for name in (*concept.en, *concept.zh))
        assert all(name.isascii() for name in concept.en)
        assert not any(name.isascii() for name in concept.zh), concept.zh
        assert concept.plural == is_plural(concept.en[0]), concept.en
