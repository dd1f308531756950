"""SA-Solver: stochastic Adams predictor and corrector (Xue et al. 2023, arXiv 2309.05019).

Legend: `tau` the share of fresh noise at a level, `mu` = 1 + tau^2 the exponent of the integrals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pinxit.sampling.denoiser import Denoiser
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers.dpmpp_sde import finite_start
from pinxit.sampling.samplers.lms import lagrange
from pinxit.sampling.samplers.spec import SamplerOptions, Step, sampler

if TYPE_CHECKING:
    from torch import Tensor

STOCHASTIC = (0.2, 0.8)
"""The part of the denoising in which noise is added, as shares of the training time."""


@sampler("sa_solver", title="SA Solver", options=SamplerOptions(order=3), order=3, uses_noise=True)
def sa_solver(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Predict, evaluate, correct (algorithm 1). Options: eta (tau), s_noise, order, corrector_order, simple_order_2."""
    return _adams(denoise, x, sigmas, process, noise, options, again=False)


@sampler("sa_solver_pece", title="SA Solver PECE", options=SamplerOptions(order=3), order=3, calls=2, uses_noise=True)
def sa_solver_pece(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Predict, evaluate, correct, evaluate again. Options: as for SA Solver."""
    return _adams(denoise, x, sigmas, process, noise, options, again=True)


def _adams(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
    *,
    again: bool,
) -> Iterator[Step]:
    levels = finite_start(sigmas, process)
    steps = len(levels) - 1
    window = process.at_progress(STOCHASTIC[0]), process.at_progress(STOCHASTIC[1])
    cleans: list[Tensor] = []
    guess, tau, added = x, 0.0, None
    for index in range(steps):
        here, there = levels[index], levels[index + 1]
        clean = denoise(guess, here, index).clean
        cleans = [*cleans, clean][-max(options.order, options.corrector_order) :]
        predictor, corrector = _orders(levels, index, len(cleans), options, again=again)
        if corrector == 0:
            x = guess
        else:
            x = _integrated(process, x, cleans[-corrector:], levels, index - 1, tau, options, corrects=True)
            if added is not None:
                x = x + added
            if again:
                clean = denoise(x, here, index).clean
                cleans[-1] = clean
        if there == 0:
            guess = clean
        else:
            tau = options.eta if window[0] >= (here if options.dialect == "diffusers" else there) >= window[1] else 0.0
            guess = _integrated(process, x, cleans[-predictor:], levels, index, tau, options, corrects=False)
            added = None
            if tau > 0 and options.s_noise > 0:
                h = process.half_log_snr(there) - process.half_log_snr(here)
                up = there * math.sqrt(-math.expm1(-2 * tau**2 * h))
                added = options.s_noise * up * noise.between(index, here, there)
                guess = guess + added
        yield Step(index, there, guess, clean)


def _orders(
    levels: Sequence[float], index: int, known: int, options: SamplerOptions, *, again: bool
) -> tuple[int, int]:
    """The predictor's and the corrector's order in this step: what is known, and less towards a last level of 0."""
    left = len(levels) - 1 - index
    skips = index == 0 or (levels[index + 1] == 0 and not again)
    predictor, corrector = min(options.order, known), 0 if skips else min(options.corrector_order, known)
    if levels[-1] == 0:
        return min(predictor, left - 1), min(corrector, left)
    if options.dialect == "diffusers":
        return min(predictor, left), min(corrector, left + 1)
    return predictor, corrector


def _integrated(
    process: NoiseProcess,
    x: Tensor,
    cleans: Sequence[Tensor],
    levels: Sequence[float],
    index: int,
    tau: float,
    options: SamplerOptions,
    *,
    corrects: bool,
) -> Tensor:
    """x over step `index`, with the estimates at the levels up to its start or (correcting) up to its end (eq. 14)."""
    here, there = levels[index], levels[index + 1]
    newest = index + 1 if corrects else index
    start, end = process.half_log_snr(here), process.half_log_snr(there)
    knots = [process.half_log_snr(levels[newest - k]) for k in reversed(range(len(cleans)))]
    mu = 1 + tau**2
    if options.simple_order_2 and len(cleans) == 2:
        whole = -math.expm1(-(end - start) * mu)
        if corrects:
            second = 0.5 * mu * (end - start)
            weights = [whole - second, second]
        else:
            first = 0.5 * mu * (end - start) ** 2 / (knots[0] - start)
            weights = [first, whole - first]
    else:
        weights = [_moment([knot - end for knot in knots], j, start - end, mu) for j in range(len(knots))]
    result = there / here * math.exp(-(tau**2) * (end - start)) * x
    for weight, clean in zip(weights, cleans, strict=True):
        result = result + process.alpha(there) * weight * clean
    return result


def _moment(knots: Sequence[float], j: int, start: float, mu: float) -> float:
    """The integral of mu e^(mu l) times the j-th Lagrange polynomial over l from `start` (below 0) to 0, by parts."""
    basis, total, sign = lagrange(knots, j), 0.0, 1.0
    for k in range(basis.degree() + 1):
        total += sign / mu**k * float(basis(0.0) - math.exp(mu * start) * basis(start))
        basis, sign = basis.deriv(), -sign
    return total
