"""What an evaluation asks a model to paint: prompts with the facts that the picture must then show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from pinxit.train.data.bank import Drawing
from pinxit.train.data.captions import CaptionSettings, caption
from pinxit.train.data.colours import COLOURS, WHITE
from pinxit.train.data.concepts import first_keys, keys_named, named_concepts
from pinxit.train.data.facts import BackgroundFacts, Box, Kind, ObjectFacts, Relation, SceneFacts
from pinxit.train.data.sources import STYLES

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
TASKS = ("single_object", "two_objects", "count", "position", "size", "colour", "background", "style")
"""In the order of reports. Every picture of one thing answers for its background and its style as well."""
SHARES: dict[Kind, float] = {"single": 0.6, "pair": 0.16, "count": 0.12, "size": 0.12}
COUNTS = (2, 4)
"""The fewest and the most things of one kind that a prompt asks for."""

TINTABLE = "silhouette"
_ANYWHERE: Box = (0.0, 0.0, 1.0, 1.0)
_RELATIONS: tuple[Relation, ...] = ("left", "right", "above", "below")


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """What a model was taught: concepts and styles by their keys, and the kinds of picture it saw."""

    concepts: tuple[str, ...]
    styles: tuple[str, ...]
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One picture to paint. `facts` say what the prompt demands; boxes in them mean nothing."""

    prompt: str
    language: Language
    seed: int
    facts: SceneFacts


def domain_of(folder: Path) -> Domain | None:
    """What the model in `folder` was taught, from the recipe it carries; None for a model that was not trained here."""
    try:
        told: Any = json.loads((folder / "training.json").read_text("utf-8"))
        recipe: dict[str, Any] = told["unet"]["recipe"]
        data, kinds = recipe["data"], recipe["composing"]["kinds"]
        count, only = data["concepts"], tuple(cast("list[str]", data["only"]))
        concepts = keys_named(only) if only else first_keys(1000 if count is None else count)
        styles = tuple(data["styles"]) or tuple(style.key for style in STYLES)
        return Domain(concepts=concepts, styles=styles, kinds=tuple(kinds))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def make_asks(domain: Domain, count: int, *, seed: int = 0, languages: Sequence[Language] = LANGUAGES) -> list[Ask]:
    """`count` asks in all, spread evenly over the languages and the domain's concepts; the same for the same seed."""
    rng = np.random.default_rng(seed)
    asks: list[Ask] = []
    for kind, things in zip(_kinds(count, domain), _concepts(domain, rng), strict=False):
        facts = _facts(kind, things, domain, rng)
        language = languages[len(asks) % len(languages)]
        asks.append(Ask(prompt=worded(facts, language, rng), language=language, seed=seed + len(asks), facts=facts))
    return asks


def worded(facts: SceneFacts, language: Language, rng: np.random.Generator) -> str:
    """A plain prompt that says all of `facts`, in words that training captions use."""
    settings = CaptionSettings(
        chinese=float(language == "zh"), mixed=0, bare=0, tags=0, style=1, background=1, white=1, keywords=0,
        quality=0, label=0,
    )  # fmt: skip
    return caption(facts, rng, settings)


def _kinds(count: int, domain: Domain) -> list[Kind]:
    """Kinds interleaved, so that any beginning of the list holds each in its share."""
    shares = dict(SHARES)
    if TINTABLE in domain.styles:
        shares["colour"] = 0.1
    owed = dict.fromkeys(shares, 0.0)
    kinds: list[Kind] = []
    for _ in range(count):
        for kind, share in shares.items():
            owed[kind] += share
        kinds.append(max(owed, key=lambda kind: owed[kind]))
        owed[kinds[-1]] -= sum(shares.values())
    return kinds


def _concepts(domain: Domain, rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Pairs of different concepts; every concept comes first once before any does twice."""
    while True:
        order = [domain.concepts[at] for at in rng.permutation(len(domain.concepts))]
        for at, concept in enumerate(order):
            yield concept, order[at - 1]


def _facts(kind: Kind, things: tuple[str, str], domain: Domain, rng: np.random.Generator) -> SceneFacts:
    free = [style for style in domain.styles if style != TINTABLE] or list(domain.styles)
    style = TINTABLE if kind == "colour" else free[int(rng.integers(len(free)))]
    colour = (*COLOURS, WHITE)[int(rng.integers(len(COLOURS) + 1))].key
    ground = BackgroundFacts(kind="white" if colour == WHITE.key else "colour", colours=(colour,))
    first, second = (drawing_of(concept, style) for concept in things)
    relation: Relation | None = None
    if kind == "pair" and len(set(things)) == 2:
        relation = _RELATIONS[int(rng.integers(4))]
        objects = (_thing(first), _thing(second))
    elif kind == "size" and len(set(things)) == 2:
        objects = (_thing(first, size="big"), _thing(second, size="small"))
    elif kind == "count" and first.countable and not first.plural:
        objects = (_thing(first),) * int(rng.integers(COUNTS[0], COUNTS[1] + 1))
    elif kind == "colour":
        tints = [tint.key for tint in COLOURS if tint.key != colour]
        objects = (_thing(first, colour=tints[int(rng.integers(len(tints)))]),)
    else:
        kind, objects = "single", (_thing(first),)
    return SceneFacts(kind=kind, objects=objects, background=ground, relation=relation)


def _thing(drawing: Drawing, *, colour: str | None = None, size: Literal["big", "small"] | None = None) -> ObjectFacts:
    return ObjectFacts(row=-1, drawing=drawing, box=_ANYWHERE, colour=colour, size=size)


def drawing_of(concept: str, style: str) -> Drawing:
    """A drawing that exists in words only: the concept's hand-checked names."""
    known = named_concepts()[concept]
    return Drawing(
        id="", source="", style=style, family="", concept=concept, en=known.en, zh=known.zh, en_keywords=(),
        zh_keywords=(), measure=known.measure, group="", subgroup="", square=False, plural=known.plural,
        countable=known.countable, monochrome=style == TINTABLE, split="train", weight=1.0, twin=-1, rim=(0, 0, 0),
        fill=1.0, licence="", author="",
    )  # fmt: skip
