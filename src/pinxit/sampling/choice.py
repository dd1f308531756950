"""From the names that people and programs use to our samplers, schedules and dialects."""

from __future__ import annotations

from collections.abc import Sequence

from pinxit.sampling.dialect import DIALECTS, PINXIT, DialectSpec
from pinxit.sampling.samplers import SamplerSpec
from pinxit.sampling.schedules import ScheduleSpec
from pinxit.schema.errors import BadInput
from pinxit.schema.methods import AUTOMATIC, FOREIGN_SAMPLERS, FOREIGN_SCHEDULES, Foreign, endings, plain_key
from pinxit.schema.registry import Registry

KARRAS_ENDING = "k"
"""InvokeAI ends a sampler's name in `_k` where it means the karras schedule."""


def sampler_named(
    name: str, samplers: Registry[SamplerSpec], schedules: Registry[ScheduleSpec]
) -> tuple[SamplerSpec, ScheduleSpec | None]:
    """The sampler of that name, and the schedule that the name implies: `DPM++ 2M Karras`, `dpmpp_2m_k`.

    Raises BadInput, naming the nearest, for a method of another program that we do not offer, and UnknownName for any
    other name.
    """
    if name in samplers:
        return samplers.get(name), None
    for front, last in endings(name):
        ending = "karras" if last.casefold() == KARRAS_ENDING else last
        if front in samplers and ending in schedules:
            return samplers.get(front), schedules.get(ending)
    _refuse_foreign(name, "sampler", FOREIGN_SAMPLERS)
    return samplers.get(name, field="sampler"), None


def schedule_named(name: str | None, schedules: Registry[ScheduleSpec]) -> ScheduleSpec | None:
    """The schedule of that name; None where it is left to the usual rule: no name, or `Automatic`. Raises as above."""
    if name is None or plain_key(name) in AUTOMATIC:
        return None
    if name not in schedules:
        _refuse_foreign(name, "schedule", FOREIGN_SCHEDULES)
    return schedules.get(name, field="schedule")


def dialect_named(name: str | None) -> DialectSpec:
    """The dialect of that name, our own for None. Raises UnknownName with the nearest."""
    if name is None:
        return PINXIT
    return Registry("dialect", DIALECTS, key=plain_key).get(name, field="dialect")


def _refuse_foreign(name: str, kind: str, foreign: Sequence[Foreign]) -> None:
    key = plain_key(name)
    for row in foreign:
        if row.explains(key):
            raise BadInput(
                f"pinxit does not offer {name!r}, a {kind} of {row.program}.",
                hint=f"The nearest it has is {row.nearest}.",
                field=kind,
            )
