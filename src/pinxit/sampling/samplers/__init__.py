"""Every sampler: a generator over a Denoiser that yields one Step per step. Arithmetic only: plain numbers will do."""

from __future__ import annotations

from types import ModuleType

from pinxit.sampling.samplers import (
    dpm,
    dpm2,
    dpmpp,
    dpmpp_sde,
    er_sde,
    euler,
    gradient,
    heun,
    lms,
    plms,
    res,
    restart,
    sa,
    seeds,
    unipc,
)
from pinxit.sampling.samplers.spec import Sampler, SamplerOptions, SamplerSpec, Step, sampler, specs_of


def declared(*modules: ModuleType) -> tuple[SamplerSpec, ...]:
    """The specs of every sampler that is defined in these modules, in the order of their source."""
    return tuple(
        spec
        for module in modules
        for value in vars(module).values()
        if getattr(value, "__module__", None) == module.__name__
        for spec in specs_of(value)
    )


SAMPLERS: tuple[SamplerSpec, ...] = declared(
    euler, heun, dpm2, dpmpp, dpmpp_sde, unipc, dpm, lms, plms, restart, res, gradient, er_sde, seeds, sa
)

__all__ = ["SAMPLERS", "Sampler", "SamplerOptions", "SamplerSpec", "Step", "declared", "sampler", "specs_of"]
