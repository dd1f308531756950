"""The grammar of prompts, one dialect per row of a table.

text --adapter tags out--> --AND--> parts --schedules--> text at each step --brackets--> weighted spans
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from pinxit.prompts.attention import Span, check_weight, nested_spans, plain_spans, replacing_spans
from pinxit.prompts.chunks import Chunking, Emphasis
from pinxit.prompts.editing import Pass, Template, read_template, schedule
from pinxit.schema.errors import BadInput, UnknownName

TEXT_LIMIT = 1 << 16
PART_LIMIT = 32

_AND = re.compile(r"\bAND\b")
_PART_WEIGHT = re.compile(r"\s*([-+]?(?:\d+\.?|\d*\.\d+))\s*")
_TAG = re.compile(r"<(\w+):([^<>]+)>")
_TAG_ITEMS = ("te", "unet", "dyn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What one program's prompts mean.

    adapter_kinds: the tags `<kind:name:weight>` that are taken out of the text; others stay.
    has_parts, has_schedules: whether `AND` and `[from:to:when]` are more than text.
    """

    name: str
    aliases: tuple[str, ...]
    spans: Callable[[str, str], tuple[Span, ...]]
    adapter_kinds: tuple[str, ...]
    has_parts: bool
    has_schedules: bool
    chunking: Chunking
    emphasis: Emphasis


DIALECTS: tuple[Dialect, ...] = (
    Dialect(
        name="a1111",
        aliases=("automatic1111", "webui", "forge"),
        spans=nested_spans,
        adapter_kinds=("lora", "lyco", "hypernet"),
        has_parts=True,
        has_schedules=True,
        chunking=Chunking(comma_backtrack=20),
        emphasis="keep_mean",
    ),
    Dialect(
        name="comfyui",
        aliases=("comfy",),
        spans=replacing_spans,
        adapter_kinds=(),
        has_parts=False,
        has_schedules=False,
        chunking=Chunking(whole_below=8),
        emphasis="from_empty",
    ),
    Dialect(
        name="plain",
        aliases=("none", "diffusers", "invokeai"),
        spans=plain_spans,
        adapter_kinds=(),
        has_parts=False,
        has_schedules=False,
        chunking=Chunking(),
        emphasis="keep_mean",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterTag:
    """`<kind:name:weight>` or `<kind:name:text_weight:image_weight>`.

    The weights may also be written `te=0.5` and `unet=1`. A fourth item (`dyn`) and other `key=value` items are
    options.
    """

    kind: str
    name: str
    text_weight: float = 1.0
    image_weight: float = 1.0
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One prompt of those that `AND` joins. Its guidance counts `weight` times; weights may be negative."""

    template: Template
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """The text of every part, up to and including `last_step` (counted from 1)."""

    last_step: int
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt that has been read: at least one part, and the adapters that its tags ask for."""

    dialect: Dialect
    parts: tuple[Part, ...]
    adapters: tuple[AdapterTag, ...]
    field: str

    def timeline(self, clock: Pass) -> tuple[Stretch, ...]:
        """The texts through the steps of one pass; stretches with equal texts are one."""
        schedules = [dict(schedule(part.template, clock)) for part in self.parts]
        current = [""] * len(schedules)
        stretches: list[Stretch] = []
        for end in sorted(set().union(*schedules), reverse=True):
            current = [known.get(end, text) for known, text in zip(schedules, current, strict=True)]
            if not stretches or stretches[-1].texts != tuple(current):
                stretches.append(Stretch(last_step=end, texts=tuple(current)))
        return tuple(reversed(stretches))

    def spans(self, text: str) -> tuple[Span, ...]:
        """The weighted spans of one text of the timeline. Raises BadInput when a weight is out of range."""
        return self.dialect.spans(text, self.field)


def dialect(name: str, *, field: str | None = None) -> Dialect:
    """The row of that name or alias, compared without case. Raises UnknownName with the nearest."""
    known = {key: row for row in DIALECTS for key in (row.name, *row.aliases)}
    found = known.get(name.casefold())
    if found is None:
        raise UnknownName("prompt dialect", name, known, field=field)
    return found


def read_prompt(text: str, rules: Dialect, *, field: str = "prompt", has_parts: bool = True) -> Prompt:
    """`text` by the rules of its dialect. Empty text and loose brackets are fine.

    Pass `has_parts=False` for a negative prompt, in which `AND` is a word. Raises BadInput, naming `field`, for a text
    of more than 65,536 characters, brackets that lie too deep, weights out of range and tags that say nothing usable.
    """
    if len(text) > TEXT_LIMIT:
        raise BadInput(
            f"The {field} has {len(text):,} characters; at most {TEXT_LIMIT:,} are read.",
            hint="Shorten it.",
            field=field,
        )
    plain, adapters = read_tags(text, rules.adapter_kinds, field)
    weighted = split_parts(plain, field) if rules.has_parts and has_parts else ((plain, 1.0),)
    parts: list[Part] = []
    for piece, weight in weighted:
        rules.spans(piece, field)
        parts.append(Part(template=read_template(piece, field) if rules.has_schedules else (piece,), weight=weight))
    return Prompt(dialect=rules, parts=tuple(parts), adapters=adapters, field=field)


def split_parts(text: str, field: str) -> tuple[tuple[str, float], ...]:
    """The texts between the words `AND`, each with the weight that a colon and a number at its end give it.

    Raises BadInput when there are more than 32, each of which would cost a pass through the network.
    """
    pieces = _AND.split(text)
    if len(pieces) > PART_LIMIT:
        raise BadInput(
            f"The {field} joins {len(pieces):,} parts with AND; at most {PART_LIMIT} are painted together.",
            hint="Join some of them with commas.",
            field=field,
        )
    parts: list[tuple[str, float]] = []
    for piece in pieces:
        words, colon, tail = piece.rpartition(":")
        number = _PART_WEIGHT.fullmatch(tail) if colon else None
        if number is None:
            parts.append((piece.rstrip(), 1.0))
        else:
            parts.append((words.rstrip(), check_weight(float(number.group(1)), field)))
    return tuple(parts)


def read_tags(text: str, kinds: tuple[str, ...], field: str) -> tuple[str, tuple[AdapterTag, ...]]:
    """`text` without the tags of these kinds, and what they say. Raises BadInput for a tag that cannot be used."""
    tags: list[AdapterTag] = []

    def take(match: re.Match[str]) -> str:
        kind = match.group(1).casefold()
        if kind not in kinds:
            return match.group()
        tags.append(_tag(kind, match, field))
        return ""

    return _TAG.sub(take, text), tuple(tags)


def _tag(kind: str, match: re.Match[str], field: str) -> AdapterTag:
    items = [item.strip() for item in match.group(2).split(":")]
    given = [item for item in items if "=" not in item]
    named = {key.strip(): value.strip() for key, _, value in (item.partition("=") for item in items if "=" in item)}
    if not given or not given[0] or len(given) > 1 + len(_TAG_ITEMS):
        raise BadInput(
            f"The tag {match.group()[:80]!r} in the {field} is not of the form <{kind}:name:weight>.",
            hint=f"Write <{kind}:name:0.8>, or take the tag out.",
            field=field,
        )
    options = {**dict(zip(_TAG_ITEMS, given[1:], strict=False)), **named}
    text_weight = _tag_weight(options.pop("te", "1"), match, field)
    image_weight = _tag_weight(options.pop("unet"), match, field) if "unet" in options else text_weight
    return AdapterTag(
        kind=kind,
        name=given[0],
        text_weight=text_weight,
        image_weight=image_weight,
        options=tuple(options.items()),
    )


def _tag_weight(text: str, match: re.Match[str], field: str) -> float:
    try:
        weight = float(text)
    except ValueError as error:
        raise BadInput(
            f"The weight {text[:40]!r} in the tag {match.group()[:80]!r} of the {field} is not a number.",
            hint="Write a number such as 0.8.",
            field=field,
        ) from error
    return check_weight(weight, field)
