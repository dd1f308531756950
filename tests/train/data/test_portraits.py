from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pinxit.evaluate.asks import drawing_of
from pinxit.schema.errors import BadInput, Missing
from pinxit.train.data.captions import CaptionSettings, caption
from pinxit.train.data.concepts import first_keys
from pinxit.train.data.drawings import read_package
from pinxit.train.data.facts import BackgroundFacts, ObjectFacts, SceneFacts
from pinxit.train.data.features import FEATURES
from pinxit.train.data.names import Labels, read_labels
from pinxit.train.data.portraits import portrait_words
from pinxit.train.data.sources import PORTRAIT_STYLES, SOURCES, source_named
from tests.train.data import fakes

PIXIE = {"hair": "pixie", "hairColor": "#fc909f", "glasses": "round", "mouth": "smile", "shirt": "crew"}
SVG = '<svg viewBox="0 0 9 9"><metadata>a\nb</metadata><path d="M0 0h9v9z" fill="{}"/></svg>'


def micah(**changes: str) -> dict[str, str]:
    return {**PIXIE, "shirtColor": "#6bd9e9", **changes}


def test_attributes_become_words() -> None:
    words = portrait_words(FEATURES["micah"], micah())
    assert words is not None
    assert words.en == (
        "person with pink bobbed hair and round glasses",
        "avatar of a person with pink bobbed hair and round glasses",
        "portrait of a smiling person with pink bobbed hair and round glasses wearing a light blue shirt",
    )
    assert words.zh[0] == "粉色波波头、戴圆框眼镜的人"
    assert words.zh[-1] == "微笑、粉色波波头、戴圆框眼镜、穿浅蓝色衬衫的人物肖像"
    assert "smiling" in words.en_keywords
    three = portrait_words(FEATURES["micah"], micah(facialHair="beard"))
    assert three is not None
    assert three.en[0] == "person with pink bobbed hair, a beard and round glasses"


def test_nothing_worth_saying_is_a_person() -> None:
    words = portrait_words(FEATURES["notionists"], {"hair": "variant07"})
    assert words is not None
    assert (words.en[0], words.en[-1], words.zh[0]) == ("person", "portrait of a person", "人")


def test_unwanted_faces_are_left_out() -> None:
    assert portrait_words(FEATURES["open-peeps"], {"head": "afro", "face": "cyclops"}) is None


def test_long_hair_behind_hides_what_the_front_is_called() -> None:
    words = portrait_words(FEATURES["toon-head"], {"hair": "spiky", "rearHair": "longWavy", "hairColor": "#2c1b18"})
    assert words is not None
    assert words.en[0] == "person with long wavy black hair"


def test_every_portrait_set_has_a_style_and_words() -> None:
    sets = {source.name for source in SOURCES if source.reader == "portraits"}
    assert sets == set(FEATURES) == {style.key for style in PORTRAIT_STYLES}
    assert len(sets) == 10
    rows = [feature for table in FEATURES.values() for feature in table]
    assert all(feature.en and feature.zh for feature in rows if feature.kind != "unwanted")


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    return read_labels(fakes.pack(tmp_path / "labels", fakes.label_files()))


@pytest.fixture
def packages(tmp_path: Path) -> tuple[Path, Path]:
    licence = b"Licenses\nSource: Faces (x)\nDesigner: A. Fake\nLicense: CC BY 4.0\n"
    style = fakes.pack(tmp_path / "style", {"lib/index.js": b"", "LICENSE": licence, "package.json": b"{}"})
    return style, fakes.pack(tmp_path / "core", {"lib/index.js": b""})


def test_node_draws_each_portrait_once(
    tmp_path: Path, labels: Labels, packages: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[object] = [{"svg": SVG.format(colour), "extra": micah()} for colour in ("red", "blue", "red")]
    monkeypatch.setenv("PATH", f"{fakes.node(tmp_path / 'bin', drawn)}:/usr/bin:/bin")
    package = read_package(source_named("micah"), packages[0], labels, packages[1])
    assert [candidate.id for candidate in package.candidates] == ["micah/0", "micah/1"]
    assert b"metadata" not in package.candidates[0].data
    assert len({candidate.concept for candidate in package.candidates}) == 1
    assert package.attribution == "LICENSE: Source: Faces (x); Designer: A. Fake; License: CC BY 4.0"


def test_without_node_it_is_named(
    tmp_path: Path, labels: Labels, packages: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(Missing, match="draws its portraits with node, which is not installed") as caught:
        read_package(source_named("micah"), packages[0], labels, packages[1])
    assert "leave out the source 'micah'" in caught.value.hint


def test_a_package_that_node_cannot_run_is_said(
    tmp_path: Path, labels: Labels, packages: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fakes.node(tmp_path / "bin", [], error="SyntaxError: what is this")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    with pytest.raises(BadInput, match="could not be run by node: SyntaxError: what is this"):
        read_package(source_named("micah"), packages[0], labels, packages[1])


def test_portraits_are_captioned_as_people_in_both_languages() -> None:
    words = portrait_words(FEATURES["micah"], micah())
    assert words is not None
    drawing = replace(
        drawing_of(first_keys(1)[0], "micah"), en=words.en, zh=words.zh, group=words.group, concept="micah:x"
    )
    thing = ObjectFacts(row=0, drawing=drawing, box=(0.0, 0.0, 1.0, 1.0))
    facts = SceneFacts(kind="single", objects=(thing,), background=BackgroundFacts(kind="colour", colours=("blue",)))
    plain = CaptionSettings(chinese=0, mixed=0, bare=0, tags=0, style=0, background=0, quality=0, label=0)
    said = {caption(facts, np.random.default_rng(seed), plain) for seed in range(20)}
    assert "a person with pink bobbed hair and round glasses" in said
    styled = replace(plain, style=1, chinese=1, reserved=True)
    for seed in range(20):
        text = caption(facts, np.random.default_rng(seed), styled)
        assert "粉色波波头" in text
        assert any(style in text for style in ("描边头像风格", "描边人物风格"))
