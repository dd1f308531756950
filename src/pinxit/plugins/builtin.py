"""The built-in plugin: the one file that names every family, sampler, schedule and source of noise we bring."""

from __future__ import annotations

from pinxit.models.contract import AnyFamily
from pinxit.models.pinxit.family import FAMILY as PINXIT
from pinxit.models.sd1.family import FAMILY as SD1
from pinxit.models.sd2.family import FAMILY as SD2
from pinxit.plugins.hookspecs import hookimpl
from pinxit.sampling.compat import NOISE_SOURCES, NoiseSpec
from pinxit.sampling.samplers import SAMPLERS, SamplerSpec
from pinxit.sampling.schedules import SCHEDULES, ScheduleSpec


@hookimpl
def register_families() -> list[AnyFamily]:
    return [PINXIT, SD1, SD2]


@hookimpl
def register_samplers() -> list[SamplerSpec]:
    return list(SAMPLERS)


@hookimpl
def register_schedules() -> list[ScheduleSpec]:
    return list(SCHEDULES)


@hookimpl
def register_noises() -> list[NoiseSpec]:
    return list(NOISE_SOURCES)
