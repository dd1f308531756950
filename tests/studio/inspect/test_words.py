from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

import pinxit.studio.inspect
from pinxit.schema.language import LANGUAGES, locale_texts
from pinxit.studio.inspect.words import TEXTS, Note, note, plain

FOLDER = Path(pinxit.studio.inspect.__file__).parent
SAME_EVERYWHERE = {"plain"}


def places(words: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(words) if name}


@pytest.mark.parametrize("lang", sorted(set(LANGUAGES) - {"en"}))
def test_no_text_is_missing_or_left_over(lang: str) -> None:
    theirs = locale_texts("pinxit.studio", lang)
    assert set(theirs) == set(TEXTS)
    assert {key for key in TEXTS if places(theirs[key]) != places(TEXTS[key])} == set()
    same = {key for key, words in theirs.items() if not re.search("[\u4e00-\u9fff]", words)}
    assert same == SAME_EVERYWHERE


def test_every_text_is_used() -> None:
    source = "\n".join(path.read_text("utf-8") for path in FOLDER.glob("*.py") if path.name != "words.py")
    quoted = set(re.findall(r"[\"']([a-z]+\.[a-z0-9-]+)[\"']", source))
    left = {key for key in TEXTS if key not in quoted and not key.startswith(("kind.", "commercial.", "advice."))}
    assert left == {"plain"}
    words = set(re.findall(r"[\"']([a-z0-9-]+)[\"']", source))
    assert {key for key in TEXTS if key.startswith("advice.")} <= quoted | {f"advice.{word}" for word in words}


def test_sentences_are_said_in_both_languages() -> None:
    told = note("advice.missing", part=note("part.vae"), source="a {place} with braces")
    assert told.text() == "The VAE is missing; it usually comes from a {place} with braces."
    assert told.text("zh_CN.UTF-8") == "缺少变分自编码器（VAE）；它通常来自 a {place} with braces。"
    assert plain("as it is").text("zh") == "as it is"
    assert Note("kind.vae").text("fr") == "VAE"
