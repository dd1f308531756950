"""Everything that can vary, by name: a frozen value that is built once and passed as an argument."""

from __future__ import annotations

from dataclasses import dataclass

from pinxit.adapters.contract import AdapterKind
from pinxit.models.contract import AnyFamily
from pinxit.models.kinds import AnyKind
from pinxit.sampling.compat import NoiseSpec
from pinxit.sampling.samplers import SamplerSpec
from pinxit.sampling.schedules import ScheduleSpec
from pinxit.schema.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The families, kinds of file, adapters, samplers, schedules and sources of noise that plugins registered, ours
    first.
    """

    families: Registry[AnyFamily]
    kinds: Registry[AnyKind]
    adapters: Registry[AdapterKind]
    samplers: Registry[SamplerSpec]
    schedules: Registry[ScheduleSpec]
    noises: Registry[NoiseSpec]
