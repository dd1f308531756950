"""SEEDS: stochastic exponential solvers with two or three stages (Gonzalez et al. 2023, arXiv 2305.14267).

Legend: `h` the step in lambda, `r` a stage's place as a share of it, `whole` = h (1 + eta) the SDE's exponent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pinxit.sampling.denoiser import Denoiser
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers.dpmpp_sde import finite_start, fresh
from pinxit.sampling.samplers.spec import SamplerOptions, Step, sampler

if TYPE_CHECKING:
    from torch import Tensor


@sampler("seeds_2", title="SEEDS 2", order=2, calls=2, uses_noise=True)
def seeds_2(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """The two-stage solver (algorithm 2). Options: eta, s_noise, r."""
    return _staged(denoise, x, sigmas, process, noise, options, (options.r,))


@sampler("seeds_3", title="SEEDS 3", order=3, calls=3, uses_noise=True)
def seeds_3(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """The three-stage solver with stages at 1/3 and 2/3 (algorithm 3). Options: eta, s_noise."""
    return _staged(denoise, x, sigmas, process, noise, options, (1 / 3, 2 / 3))


def _staged(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
    places: tuple[float, ...],
) -> Iterator[Step]:
    """Every stage starts at x and corrects by the difference that the stage before it found."""
    for index, (here, there) in enumerate(pairwise(finite_start(sigmas, process))):
        clean = denoise(x, here, index).clean
        if there == 0:
            x = clean
        else:
            start = process.half_log_snr(here)
            h = process.half_log_snr(there) - start
            stops = [process.sigma_of(start + place * h) for place in places]
            path: Tensor | float = 0.0
            level, difference, before = here, None, 0.0
            state = x
            for place, stop in zip((*places, 1.0), (*stops, there), strict=True):
                state = process.move(x, clean, here, stop, stop * math.exp(-options.eta * place * h))
                if difference is not None:
                    weight = _weight(place, before, h * (1 + options.eta), two=len(places) == 1)
                    state = state + process.alpha(stop) * weight * difference
                if options.eta > 0 and options.s_noise > 0:
                    path = _carried(process, path, level, stop, options.eta)
                    path = path + fresh(process, level, stop, options.eta) * noise.between(index, level, stop)
                    state = state + options.s_noise * path
                if place < 1:
                    difference, before = denoise(state, stop, index).clean - clean, place
                level = stop
            x = state
        yield Step(index, there, x, clean)


def _weight(place: float, before: float, whole: float, *, two: bool) -> float:
    """The share of a stage's difference: e^-h integrated flat (two stages), or against a line (three stages)."""
    flat = -math.expm1(-place * whole)
    if two:
        return flat / (2 * before)
    return place / before * (1 - flat / (place * whole))


def _carried(process: NoiseProcess, path: Tensor | float, here: float, there: float, eta: float) -> Tensor | float:
    """The noise of earlier stages as it stands at the next one."""
    h = process.half_log_snr(there) - process.half_log_snr(here)
    return there / here * math.exp(-eta * h) * path
