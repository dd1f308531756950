"""Texts in the user's language. English stands in the declarations; each other language is one flat JSON file.

Text ids read `request.steps.title`, `request.steps.help` and `group.sampling`. A test fails on any text id that a
language lacks or has too many.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from pinxit.schema.errors import UnknownName
from pinxit.schema.field import GROUPS, Part, knobs
from pinxit.schema.jobs import Paint
from pinxit.schema.language import LANGUAGES, language, locale_texts
from pinxit.schema.parts import AdapterUse, Blank, Extent, FromImage, ImageRef, Interval, Refine, Size
from pinxit.schema.record import AdapterFacts, ModelFacts, ModelFile, Record
from pinxit.schema.request import GenerationRequest

__all__ = ["DECLARED", "LANGUAGES", "WORDS", "catalogue", "language", "translate"]

DECLARED: tuple[type[Part], ...] = (
    GenerationRequest,
    Size,
    Extent,
    Interval,
    ImageRef,
    Blank,
    FromImage,
    Refine,
    AdapterUse,
    Paint,
    Record,
    ModelFacts,
    ModelFile,
    AdapterFacts,
)
"""Every class that declares fields."""
WORDS: Mapping[str, str] = MappingProxyType(
    {
        "table.field": "Field",
        "table.title": "Title",
        "table.values": "Values",
        "table.default": "Default",
        "table.help": "Meaning",
        "table.automatic": "automatic",
        "table.empty": "empty",
        "values.whole": "whole number",
        "values.number": "number",
        "values.text": "text",
        "values.name": "name",
        "values.size": "size such as 512x768",
        "values.interval": "interval such as 0.3,6",
        "values.sigmas": "noise levels such as 14.6,7,3,0",
        "values.adapters": "adapters such as dreamy@0.8",
    }
)
"""English texts that belong to no declaration."""


def translate(key: str, lang: str = "en") -> str:
    """The text called `key` in the language `lang`, a tag such as `zh-CN`, `zh_CN.UTF-8` or `en`.

    Languages that pinxit does not speak get English. Raises UnknownName for a text id that does not exist.
    """
    texts = catalogue(language(lang))
    if key not in texts:
        raise UnknownName("text", key, texts)
    return texts[key]


@cache
def catalogue(lang: str) -> Mapping[str, str]:
    """All texts of one of LANGUAGES by text id. Raises UnknownName for any other tag."""
    if lang not in LANGUAGES:
        raise UnknownName("language", lang, LANGUAGES)
    if lang == "en":
        return MappingProxyType(dict(_english()))
    return locale_texts("pinxit.schema", lang)


def _english() -> list[tuple[str, str]]:
    texts = [*WORDS.items(), *((f"group.{name}", title) for name, title in GROUPS.items())]
    for model in DECLARED:
        for knob in knobs(model):
            texts += [(f"{knob.key}.title", knob.title), (f"{knob.key}.help", knob.help)]
    return texts
