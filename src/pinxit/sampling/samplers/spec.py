"""What every sampler takes and gives, and how one is declared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar, cast

from pinxit.sampling.denoiser import Denoiser
from pinxit.sampling.dialect import Dialect
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.schema.methods import sampler_aliases

if TYPE_CHECKING:
    from torch import Tensor

Solver = Literal["midpoint", "heun", "bh1", "bh2"]


@dataclass(frozen=True, slots=True)
class Step:
    """One finished step: its index from 0, the level reached, the state there, and the picture estimated on the way."""

    index: int
    sigma: float
    x: Tensor
    clean: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerOptions:
    """The knobs of all samplers; each uses the few that its docstring names. A spec holds its sampler's defaults."""

    eta: float = 1.0
    """The share of fresh noise: 0 deterministic, 1 the true reverse process."""
    s_noise: float = 1.0
    """A factor on every fresh noise."""
    s_churn: float = 0.0
    """How much noise to add back before a step, spread over the run (Karras et al. 2022, algorithm 2)."""
    s_tmin: float = 0.0
    """The lowest level at which `s_churn` acts."""
    s_tmax: float = math.inf
    """The highest level at which `s_churn` acts."""
    order: int = 2
    """How many estimates a multistep solver combines."""
    corrector_order: int = 4
    """The same for the corrector of a predictor-corrector pair."""
    solver: Solver = "midpoint"
    """Which of two equally accurate forms a solver takes."""
    r: float = 0.5
    """Where in the step an inner evaluation lies, as a share of the step in lambda."""
    gamma: float = 2.0
    """The strength of gradient estimation."""
    rtol: float = 0.05
    """The relative error that an adaptive step may make."""
    atol: float = 0.0078
    """The absolute error that an adaptive step may make."""
    first_step: float = 0.05
    """The first step of an adaptive run, in lambda."""
    predict_noise: bool = False
    """Whether a multistep solver extrapolates the noise instead of the picture."""
    simple_order_2: bool = False
    """Whether an Adams solver takes the short form of its second order."""
    variance: Literal["small", "large"] = "small"
    """Which of the two variances of Ho et al. 2020, section 3.2, ancestral noise has."""
    dialect: Dialect = "pinxit"


Sampler = Callable[[Denoiser, "Tensor", Sequence[float], NoiseProcess, NoiseSource, SamplerOptions], Iterator[Step]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerSpec:
    """One entry of the catalogue: a sampler's names and the facts a plan needs.

    `order` is its order of accuracy, `calls` its network calls per step of the schedule (rounded up), `uses_noise`
    whether fresh noise enters with the default options, `needs_uncond` whether it reads `Prediction.uncond`, `schedule`
    the one it is usually run with (None: the model's own), `discard_next_to_last` whether that schedule should leave
    out its lowest level above 0, `alone` whether it must be given one image at a time because it chooses its own steps.
    """

    name: str
    title: str
    aliases: tuple[str, ...]
    run: Sampler
    options: SamplerOptions
    order: int
    calls: int
    uses_noise: bool
    needs_uncond: bool
    schedule: str | None
    discard_next_to_last: bool
    alone: bool
    summary: str


F = TypeVar("F", bound=Sampler)


def sampler(
    name: str,
    *,
    title: str,
    aliases: tuple[str, ...] = (),
    options: SamplerOptions | None = None,
    order: int = 1,
    calls: int = 1,
    uses_noise: bool = False,
    needs_uncond: bool = False,
    schedule: str | None = None,
    discard_next_to_last: bool = False,
    alone: bool = False,
    summary: str = "",
) -> Callable[[F], F]:
    """Attach a SamplerSpec to a generator function, which may carry several: the same formula, other defaults.

    The title is an alias too, and so are other programs' names of built-in samplers, which `schema.methods` lists.
    """

    def attach(function: F) -> F:
        spec = SamplerSpec(
            name=name,
            title=title,
            aliases=tuple(dict.fromkeys((title, *sampler_aliases(name), *aliases))),
            run=function,
            options=options or SamplerOptions(),
            order=order,
            calls=calls,
            uses_noise=uses_noise,
            needs_uncond=needs_uncond,
            schedule=schedule,
            discard_next_to_last=discard_next_to_last,
            alone=alone,
            summary=summary or (function.__doc__ or "").partition("\n")[0],
        )
        vars(function)["specs"] = (spec, *specs_of(function))
        return function

    return attach


def specs_of(function: object) -> tuple[SamplerSpec, ...]:
    """The specs that `sampler` attached to this object; empty for anything else."""
    return cast(tuple[SamplerSpec, ...], getattr(function, "specs", ()))
