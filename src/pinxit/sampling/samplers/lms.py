"""Linear multistep samplers: the slope's polynomial through the last steps, integrated over the next one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial import Polynomial

from pinxit.sampling.denoiser import Denoiser
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers.common import lowered, slope_of
from pinxit.sampling.samplers.spec import SamplerOptions, Step, sampler

if TYPE_CHECKING:
    from torch import Tensor

Weights = Callable[[Sequence[float], int, int], Sequence[float]]
"""Levels, the step's index and the order to the weight of each slope, newest first."""


def lagrange(knots: Sequence[float], j: int) -> Polynomial:
    """The polynomial that is 1 at knot j and 0 at the others."""
    basis = Polynomial([1.0])
    for k, knot in enumerate(knots):
        if k != j:
            basis = basis * Polynomial([-knot, 1.0]) / (knots[j] - knot)
    return basis


def adams_bashforth(sigmas: Sequence[float], index: int, order: int) -> list[float]:
    """The exact integrals of the Lagrange polynomials of the last `order` levels over the step."""
    here, there = sigmas[index], sigmas[index + 1]
    # Measured from `here` in units of the step, the polynomials stay well conditioned at every noise level.
    knots = [(sigmas[index - k] - here) / (there - here) for k in range(order)]
    return [float(lagrange(knots, j).integ()(1.0)) * (there - here) for j in range(order)]


def equal_steps(sigmas: Sequence[float], index: int, order: int) -> list[float]:
    """Adams & Bashforth's weights for even steps, used whatever the spacing."""
    table = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))
    return [weight * (sigmas[index + 1] - sigmas[index]) for weight in table[order - 1]]


def stretched_steps(sigmas: Sequence[float], index: int, order: int) -> list[float]:
    """The weights of the variable-step variant as its users know it (Zhang & Chen 2022).

    From order 3 on it is not the exact integral: a factor stands inside a bracket that the derivation has outside.
    """
    h = [sigmas[index + 1 - k] - sigmas[index - k] for k in range(order)]
    length = h[0]
    if order == 1:
        return [length]
    near = h[0] / h[1]
    weights = [(2 + near) / 2, -near / 2, 0.0, 0.0]
    if order >= 3:
        ratio = h[0] * (h[0] + h[1]) / (h[1] * (h[1] + h[2]))
        bend = (1 - h[0] / (3 * (h[0] + h[1])) * ratio) / 2
        far = h[1] / h[2]
        weights = [weights[0] + bend, weights[1] - (1 + far) * bend, far * bend, 0.0]
        if order >= 4:
            weights = _fourth(h, weights)
    return [weight * length for weight in weights[:order]]


def _fourth(h: Sequence[float], weights: Sequence[float]) -> list[float]:
    both, three = h[0] + h[1], h[0] + h[1] + h[2]
    share = (1 - h[0] / (3 * both)) / 2 + (1 - h[0] / (2 * both)) * h[0] / (6 * three)
    bend = share * (h[0] * both * three) / (h[1] * (h[1] + h[2]) * (h[1] + h[2] + h[3]))
    far = h[1] / h[2]
    deep = h[1] * (h[1] + h[2]) / (h[2] * (h[2] + h[3]))
    return [
        weights[0] + bend,
        weights[1] - (1 + far + deep) * bend,
        weights[2] + (far + deep * (1 + h[2] / h[3])) * bend,
        -deep * far * bend,
    ]


def multistep(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    options: SamplerOptions,
    weights: Weights,
    *,
    jump: bool,
    settles: bool = False,
) -> Iterator[Step]:
    """The loop they share.

    `jump` takes the picture itself as the last state instead of integrating to 0; `settles` ends short runs with a
    first-order step in the diffusers dialect.
    """
    slopes: list[Tensor] = []
    for index, (here, there) in enumerate(pairwise(sigmas)):
        clean = denoise(x, here, index).clean
        slopes = [slope_of(x, here, clean), *slopes][: options.order]
        order = 1 if settles and lowered(sigmas, index, options) else len(slopes)
        if there == 0 and jump:
            x = clean
        else:
            for weight, slope in zip(weights(sigmas, index, order), slopes, strict=False):
                x = x + weight * slope
        yield Step(index, there, x, clean)


@sampler("lms", title="LMS", options=SamplerOptions(order=4), order=4)
def lms(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Adams-Bashforth in sigma with exact weights. The comfyui dialect ends at the picture. Options: order (1 to 4)."""
    del process, noise
    return multistep(denoise, x, sigmas, options, adams_bashforth, jump=options.dialect == "comfyui")


@sampler("ipndm", title="iPNDM", options=SamplerOptions(order=4), order=4)
def ipndm(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Pseudo linear multistep with the weights of even steps (Zhang & Chen 2022). Options: order (1 to 4)."""
    del process, noise
    return multistep(denoise, x, sigmas, options, equal_steps, jump=True)


@sampler("ipndm_v", title="iPNDM v", options=SamplerOptions(order=4), order=4)
def ipndm_v(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Pseudo linear multistep with weights for uneven steps (Zhang & Chen 2022). Options: order (1 to 4)."""
    del process, noise
    return multistep(denoise, x, sigmas, options, stretched_steps, jump=True)


@sampler("deis", title="DEIS", options=SamplerOptions(order=3), order=3)
def deis(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """The slope as a polynomial in the training time (Zhang & Chen 2022, tAB-DEIS), straight to 0. Options: order.

    In the diffusers dialect it is a polynomial in log(sigma), and the last step is like the others.
    """
    del process, noise
    weights = log_weights if options.dialect == "diffusers" else time_weights
    return multistep(denoise, x, sigmas, options, weights, jump=True, settles=True)


def log_weights(sigmas: Sequence[float], index: int, order: int) -> list[float]:
    """Integrals over sigma of the Lagrange polynomials in log(sigma), by sigma = e^l and parts."""
    here, there = math.log(sigmas[index]), math.log(sigmas[index + 1])
    knots = [math.log(sigmas[index - k]) - here for k in range(order)]
    result: list[float] = []
    for j in range(order):
        basis, total, sign = lagrange(knots, j), 0.0, 1.0
        while True:
            total += sign * float(basis(there - here) * sigmas[index + 1] - basis(0.0) * sigmas[index])
            if basis.degree() == 0:
                break
            basis, sign = basis.deriv(), -sign
        result.append(total)
    return result


TIME_POINTS = 10_000
"""The points of the sum that stands for an integral over time; part of the numbers its users know."""
TIME_ENDS = (0.002, 80.0, 1e-3)
"""The lowest and highest sigma of the time that the polynomials live in, and the lowest time."""


def time_weights(sigmas: Sequence[float], index: int, order: int) -> list[float]:
    """Sums over the time t of sigma(t)^2 + 1 = exp(beta_d t^2 / 2 + beta_0 t) (Song et al. 2021, appendix C)."""
    if order == 1:
        return [sigmas[index + 1] - sigmas[index]]
    low, high, first = TIME_ENDS
    beta_d = 2 * (math.log(low**2 + 1) / first - math.log(high**2 + 1)) / (first - 1)
    beta_0 = math.log(high**2 + 1) - 0.5 * beta_d

    def time(sigma: float) -> float:
        return (math.sqrt(beta_0**2 + 2 * beta_d * math.log(sigma**2 + 1)) - beta_0) / beta_d

    knots = [time(sigmas[index - k]) for k in range(order)]
    end = time(sigmas[index + 1])
    t = np.linspace(knots[0], end, TIME_POINTS)
    abar = np.exp(-0.5 * t**2 * beta_d - t * beta_0)
    speed = 0.5 * (t * beta_d + beta_0) / np.sqrt(abar * (1 - abar))
    spacing = (end - knots[0]) / TIME_POINTS
    return [float(np.sum(speed * lagrange(knots, j)(t)) * spacing) for j in range(order)]
