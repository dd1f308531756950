"""The request's flags, read from its declaration: what `knob()` says is all that the command line knows of a field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pinxit.cli.parser import Arguments, Flag
from pinxit.schema.complaints import bounds, choices, listed, lists, members, models, spelt
from pinxit.schema.field import Knob, Part, knobs
from pinxit.schema.parts import AdapterUse, Extent, ImageRef, Interval, Size
from pinxit.schema.request import GenerationRequest

LISTED: Mapping[str | None, str] = {
    "model": "models",
    "adapter": "adapters",
    "sampler": "samplers",
    "schedule": "schedules",
}
"""Which `pinxit list` shows the names of a catalogue."""
_WHOLE = re.compile(r"[+-]?[0-9]{1,30}", re.ASCII)
_DIGITS_MAX = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One flag of the request. `path` is where its value belongs: `("steps",)`, `("source", "strength")`, or for a list
    of parts `("passes", "refine", "model")` with the part's kind.
    """

    flag: Flag
    path: tuple[str, ...]
    annotation: object


def settings() -> Iterator[Setting]:
    """Every flag of the request. A field that is a choice of parts gives one flag for each field of those parts."""
    for knob in knobs(GenerationRequest):
        among = listed(knob.info.annotation)
        if AdapterUse in among:
            yield _setting(knob, (knob.name,), knob)
            continue
        parts = [
            part
            for part in (*among, *models(knob.info.annotation))
            if issubclass(part, Part) and "kind" in part.model_fields
        ]
        if not parts:
            yield _setting(knob, (knob.name,), knob)
            continue
        for part in parts:
            place = (knob.name, *choices(part.model_fields["kind"].annotation)) if among else (knob.name,)
            for inner in knobs(part):
                if inner.name != "kind":
                    yield _setting(inner, (*place, inner.name), knob)


def request_flags(*, without: tuple[str, ...] = ()) -> tuple[Flag, ...]:
    """The flags themselves, the everyday ones first; `without` names those that a command takes in another way."""
    flags = [setting.flag for setting in settings() if setting.flag.name not in without]
    return tuple(sorted(flags, key=lambda flag: flag.group == "group.advanced"))


def adapter_flag() -> Flag:
    """The flag that names an adapter, for commands that take no other field of the request."""
    return next(flag for flag in request_flags() if flag.many)


def given(arguments: Arguments, *only: str) -> dict[str, object]:
    """The values of plain fields that were given, as `validated` wants them; parts of the source are left out.

    `only` names the fields that are wanted; none means all.
    """
    found: dict[str, object] = {}
    for setting in settings():
        if only and setting.path[0] not in only:
            continue
        value = arguments.value(setting.flag.name)
        if value is not None and len(setting.path) == 1:
            found[setting.path[0]] = read_value(value, setting.annotation)
        if setting.flag.many and (values := arguments.lists.get(setting.flag.name)):
            found[setting.path[0]] = values
    return found


def given_source(arguments: Arguments) -> Mapping[str, object]:
    """The values that were given for the source's fields; the picture stays the path of its file."""
    return {
        setting.path[1]: read_value(value, setting.annotation)
        for setting in settings()
        if setting.path[0] == "source" and (value := arguments.value(setting.flag.name)) is not None
    }


def given_passes(arguments: Arguments, before: Sequence[Part] = ()) -> tuple[Mapping[str, object], ...] | None:
    """The passes with the values that were given, over those of `before`; None where no flag is about one.

    A kind of pass that is not there yet comes last.
    """
    passes = {str(one.model_dump()["kind"]): dict(one.model_dump()) for one in before}
    changed = False
    for setting in settings():
        value = arguments.value(setting.flag.name)
        if len(setting.path) == 3 and value is not None:
            field, kind, name = setting.path
            changed = changed or field == "passes"
            passes.setdefault(kind, {"kind": kind})[name] = read_value(value, setting.annotation)
    return tuple(passes.values()) if changed else None


def read_value(word: str, annotation: object) -> object:
    """`word` as the kind of number that the field holds; a word that is none stays text, for the schema to refuse."""
    kinds = members(annotation)
    if int in kinds and _WHOLE.fullmatch(word):
        return int(word)
    if float in kinds and len(word) <= _DIGITS_MAX and "_" not in word:
        try:
            return float(word)
        except ValueError:
            return word
    return word


def _setting(knob: Knob, path: tuple[str, ...], outer: Knob) -> Setting:
    annotation = knob.info.annotation
    default = knob.info.get_default()
    words = choices(annotation)
    low, high = bounds(knob.info)
    limits = "|".join(words)
    if low is not None and high is not None:
        limits = f"{spelt(low)}–{spelt(high)}"
    if knob.names in LISTED:
        limits = f"pinxit list {LISTED[knob.names]}"
    flag = Flag(
        name=knob.flag,
        text=f"{knob.key}.help",
        metavar=_metavar(annotation, knob),
        group="group.advanced" if outer.advanced or knob.advanced else f"group.{outer.group}",
        limits=limits,
        default=str(default) if isinstance(default, str | int | float) and default != "" else "",
        many=AdapterUse in listed(annotation),
    )
    return Setting(flag=flag, path=path, annotation=annotation)


def _metavar(annotation: object, knob: Knob) -> str:
    kinds = models(annotation)
    if Size in kinds or Extent in kinds:
        return "WxH"
    if Interval in kinds:
        return "LO,HI"
    if ImageRef in kinds:
        return "FILE"
    if AdapterUse in listed(annotation):
        return "NAME[@X]"
    if lists(annotation):
        return "X,X,..."
    if choices(annotation):
        return "WORD"
    if str in members(annotation):
        return "NAME" if knob.names else "TEXT"
    return "N" if int in members(annotation) else "X"
