"""The reference table of the request's fields, made from their declarations."""

from __future__ import annotations

from pinxit.schema.complaints import bounds, choices, listed, lists, members, models, spelt
from pinxit.schema.field import GROUPS, Knob, Part, knobs
from pinxit.schema.i18n import translate
from pinxit.schema.parts import AdapterUse, Extent, Interval, Size
from pinxit.schema.request import GenerationRequest


def fields_table(lang: str = "en") -> str:
    """Every field of the request as Markdown tables, one for each group, in the language `lang`."""
    head = " | ".join(translate(f"table.{word}", lang) for word in ("field", "title", "values", "default", "help"))
    sections: list[str] = []
    for group in GROUPS:
        rows = [_row(knob, lang) for knob in knobs(GenerationRequest) if knob.group == group]
        if rows:
            title = translate(f"group.{group}", lang)
            sections.append("\n".join((f"### {title}", "", f"| {head} |", "|---|---|---|---|---|", *rows)))
    return "\n\n".join(sections) + "\n"


def _row(knob: Knob, lang: str) -> str:
    title, meaning = (translate(f"{knob.key}.{part}", lang) for part in ("title", "help"))
    cells = (f"`{knob.name}`", title, _values(knob, lang), _default(knob, lang), meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _values(knob: Knob, lang: str) -> str:
    """What the field accepts: its words, or its kind with the bounds."""
    annotation = knob.info.annotation
    if words := choices(annotation):
        return ", ".join(f"`{word}`" for word in words)
    kinds = models(annotation)
    if {Size, Extent, Interval} & set(kinds):
        return translate("values.interval" if Interval in kinds else "values.size", lang)
    if AdapterUse in listed(annotation):
        return translate("values.adapters", lang)
    if parts := listed(annotation):
        return ", ".join(f"`{tag}`" for kind in parts for tag in choices(kind.model_fields["kind"].annotation))
    if lists(annotation):
        return translate("values.sigmas", lang)
    if kinds:
        return ", ".join(f"`{tag}`" for kind in kinds for tag in choices(kind.model_fields["kind"].annotation))
    if str in members(annotation):
        return translate("values.name" if knob.names else "values.text", lang)
    low, high = bounds(knob.info)
    word = translate("values.whole" if int in members(annotation) else "values.number", lang)
    return word if low is None or high is None else f"{word}, {spelt(low)}–{spelt(high)}"


def _default(knob: Knob, lang: str) -> str:
    default = knob.info.default
    if default is None:
        return translate("table.automatic", lang)
    if default in ("", ()):
        return translate("table.empty", lang)
    return f"`{default.model_dump()['kind'] if isinstance(default, Part) else default}`"
