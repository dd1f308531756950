"""Captions: what a composed picture shows, worded as people write prompts, in English, Chinese or both.

Sentences say `[count|colour|size] NAME [relation NAME] [scene] [, keywords] [, STYLE] [, background]`; beside them
stand bare names and comma-separated tags. What a caption leaves out the picture may show in any way; what it says is
true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from pinxit.train.data import chinese, english
from pinxit.train.data.concepts import first_keys
from pinxit.train.data.facts import SceneFacts
from pinxit.train.data.sources import PORTRAIT_STYLES, STYLES
from pinxit.train.data.split import chinese_is_held_out

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionSettings:
    """Shares of the forms, each in [0, 1].

    `chinese` of the captions are Chinese where every object has a Chinese name, `mixed` word a style or background in
    the other language. `bare` are names alone, `tags` comma-separated tags, the rest sentences. `style`, `background`
    and `white` say how often a style, a background and a white background are mentioned, `keywords` how often a keyword
    is added, `quality` how often praise is. `label` is how often a name other than the best is taken.
    With `reserved`, the sentence forms and Chinese names kept for evaluation are used, otherwise never.
    """

    chinese: float = 0.35
    mixed: float = 0.04
    bare: float = 0.12
    tags: float = 0.15
    style: float = 0.85
    background: float = 0.85
    white: float = 0.45
    keywords: float = 0.08
    quality: float = 0.05
    label: float = 0.35
    reserved: bool = False


DEFAULTS = CaptionSettings()
_FIRST = frozenset(first_keys(1000))
_STYLE_WORDS = {style.key: (style.en, style.zh) for style in (*STYLES, *PORTRAIT_STYLES)}


class Chooser:
    """Weighted choices from one random generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def chance(self, share: float) -> bool:
        """True in `share` of the cases."""
        return bool(self._rng.random() < share)

    def one(self, options: Sequence[T]) -> T:
        """Any of the options, alike."""
        return options[int(self._rng.random() * len(options))]

    def best_first(self, options: Sequence[T], other: float) -> T:
        """The first option, or with chance `other` one of the rest."""
        return self.one(options[1:]) if len(options) > 1 and self.chance(other) else options[0]


def caption(facts: SceneFacts, rng: np.random.Generator, settings: CaptionSettings = DEFAULTS) -> str:
    """Word what `facts` tell, by weighted random choices from `rng`. Never empty."""
    choose = Chooser(rng)
    in_chinese = choose.chance(settings.chinese) and all(
        thing.drawing.zh and _chinese_is_open(thing.drawing.concept, settings) for thing in facts.objects
    )
    language = chinese if in_chinese else english
    form = rng.random()
    things = language.things(facts, choose, settings.label)
    if form < settings.bare:
        return language.bare(things)
    parts: list[str] = []
    tagged = form < settings.bare + settings.tags
    style_words, before = _style(facts, choose, settings, in_chinese=in_chinese)
    scene = language.scene(facts.background, choose) if choose.chance(settings.background) else ""
    if tagged:
        parts.append(language.bare(things))
        parts += _keywords(facts, choose, 0.4, in_chinese=in_chinese)
        scene = language.scene_tag(facts.background, choose) if scene else ""
        parts += [scene] if scene else []
    else:
        parts.append(language.sentence(facts, things, scene, style_words if before else "", choose, settings.reserved))
        parts += _keywords(facts, choose, settings.keywords, in_chinese=in_chinese)
    if style_words and (tagged or not before):
        parts.append(style_words)
    share = settings.white if facts.background.kind == "white" else settings.background
    if facts.background.kind != "scene" and choose.chance(share):
        spoken = (english if in_chinese else chinese) if choose.chance(settings.mixed) else language
        parts.append(spoken.background(facts.background, choose))
    if choose.chance(settings.quality):
        parts.append(choose.one(language.QUALITY))
    return language.joined(parts)


def _chinese_is_open(concept: str, settings: CaptionSettings) -> bool:
    return settings.reserved or concept in _FIRST or not chinese_is_held_out(concept)


def _style(facts: SceneFacts, choose: Chooser, settings: CaptionSettings, *, in_chinese: bool) -> tuple[str, bool]:
    """Style words, empty when none are said or the styles differ, and whether they go before the noun."""
    styles = {thing.drawing.style for thing in facts.objects}
    if len(styles) > 1 or not choose.chance(settings.style):
        return "", False
    english_words, chinese_words = _STYLE_WORDS[styles.pop()]
    swapped = choose.chance(settings.mixed)
    words = choose.best_first(chinese_words if in_chinese != swapped else english_words, 0.6)
    return words, not swapped and len(facts.objects) == 1 and choose.chance(0.3)


def _keywords(facts: SceneFacts, choose: Chooser, share: float, *, in_chinese: bool) -> list[str]:
    drawing = facts.objects[0].drawing
    words = drawing.zh_keywords if in_chinese else drawing.en_keywords
    if not words or not choose.chance(share):
        return []
    return [choose.one(words)]
