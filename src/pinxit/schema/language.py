"""Which languages pinxit speaks, and how a catalogue of another language is read; standard library only.

English stands in the declarations; each other language is one flat JSON file in the `locale` folder of a package.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

LANGUAGES: tuple[str, ...] = ("en", "zh-CN")


def language(tag: str) -> str:
    """The language of ours that answers to `tag`: any Chinese tag gives `zh-CN`, everything else `en`."""
    return "zh-CN" if tag.replace("_", "-").split("-")[0].lower() == "zh" else "en"


@cache
def locale_texts(package: str, lang: str) -> Mapping[str, str]:
    """The texts in `locale/<lang>.json` of `package`, by text id."""
    import json
    from importlib import resources

    source = resources.files(package).joinpath("locale", f"{lang}.json").read_text("utf-8")
    return MappingProxyType(dict(json.loads(source)))
