from __future__ import annotations

import importlib
import pkgutil

import pytest

import pinxit.schema
from pinxit.schema.errors import UnknownName
from pinxit.schema.field import Part
from pinxit.schema.i18n import DECLARED, LANGUAGES, catalogue, language, translate


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_text_is_missing_or_left_over(lang: str) -> None:
    assert set(catalogue(lang)) == set(catalogue("en"))
    assert all(text.strip() == text and text for text in catalogue(lang).values())


def test_every_chinese_text_is_chinese() -> None:
    same = {key for key, text in catalogue("zh-CN").items() if not any("\u4e00" <= char <= "\u9fff" for char in text)}
    assert same == {"record.torch.title", "request.eta.title", "request.sigma_data.title"}


def test_every_part_of_the_schema_is_declared() -> None:
    for module in pkgutil.iter_modules(pinxit.schema.__path__, "pinxit.schema."):
        importlib.import_module(module.name)
    ours = {one for one in Part.__subclasses__() if one.__module__.startswith("pinxit.schema")}
    assert ours == set(DECLARED)
    assert len({one.text_prefix for one in DECLARED}) == len(DECLARED)


def test_texts_are_translated() -> None:
    assert translate("request.steps.title") == "Steps"
    assert translate("request.steps.title", "zh-CN") == "步数"
    assert translate("group.sampling", "zh_CN.UTF-8") == "采样"
    assert translate("request.steps.title", "fr") == "Steps"


@pytest.mark.parametrize(("tag", "ours"), [("ZH", "zh-CN"), ("zh-Hans-CN", "zh-CN"), ("en_GB", "en"), ("", "en")])
def test_tags_find_their_language(tag: str, ours: str) -> None:
    assert language(tag) == ours


def test_unknown_texts_and_languages_are_named() -> None:
    with pytest.raises(
        UnknownName, match=r"no text named 'request\.stps\.title'\. Did you mean 'request\.steps\.title'"
    ):
        translate("request.stps.title")
    with pytest.raises(UnknownName, match=r"There is no language named 'xx'\. Known: en, zh-CN"):
        catalogue("xx")
