"""What a plugin may offer. Each hook returns a list; ours in `builtin` answer the same ones."""

from __future__ import annotations

import pluggy

from pinxit.adapters.contract import AdapterKind
from pinxit.models.contract import AnyFamily
from pinxit.models.kinds import AnyKind
from pinxit.sampling.compat import NoiseSpec
from pinxit.sampling.samplers import SamplerSpec
from pinxit.sampling.schedules import ScheduleSpec

PROJECT = "pinxit"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_families() -> list[AnyFamily]:
    """Model families: how their files look and how their networks are built and called."""
    return []


@hookspec
def register_kinds() -> list[AnyKind]:
    """Kinds of single network file that are no whole model: autoencoders, ControlNets, LoRAs and the like."""
    return []


@hookspec
def register_adapters() -> list[AdapterKind]:
    """Kinds of adapter: how a file of that kind is bound to a model."""
    return []


@hookspec
def register_samplers() -> list[SamplerSpec]:
    """Samplers: the specs that `@sampler` attached."""
    return []


@hookspec
def register_schedules() -> list[ScheduleSpec]:
    """Schedules: the specs that `@schedule` attached."""
    return []


@hookspec
def register_noises() -> list[NoiseSpec]:
    """Sources of noise: ways to draw it from a seed, such as those of other programs."""
    return []
