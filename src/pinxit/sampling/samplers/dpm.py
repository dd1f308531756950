"""DPM-Solver in its first form: exponential integrators of the noise in t = -log(sigma) (Lu et al. 2022, 2206.00927).

Legend: `t` = -log(sigma), `h` a step in it, `eps` the slope dx / dsigma, `r1`, `r2` the places of the inner stages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pinxit.sampling.denoiser import Denoiser
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers.common import mean, slope_of
from pinxit.sampling.samplers.spec import SamplerOptions, Step, sampler
from pinxit.schema.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor


class _Stages:
    """One step's stages from (x, t): each slope is evaluated once, however many orders are built on it."""

    def __init__(self, denoise: Denoiser, x: Tensor, t: float, end: float, index: int) -> None:
        self._denoise, self._index = denoise, index
        self.x, self.t, self.h = x, t, end - t
        self.clean = denoise(x, math.exp(-t), index).clean
        self.eps = slope_of(x, math.exp(-t), self.clean)
        self._second: dict[float, Tensor] = {}

    def first(self, r: float = 1.0) -> Tensor:
        """The first-order state at a share of the step."""
        return self.x - math.exp(-self.t - r * self.h) * math.expm1(r * self.h) * self.eps

    def second(self, r1: float = 0.5) -> Tensor:
        """The second-order state at its end, by one inner stage."""
        end = math.exp(-self.t - self.h)
        return self.first() - end / (2 * r1) * math.expm1(self.h) * (self._inner(r1) - self.eps)

    def third(self, r1: float = 1 / 3, r2: float = 2 / 3) -> Tensor:
        """The third-order state at its end, by two inner stages."""
        stop, end = math.exp(-self.t - r2 * self.h), math.exp(-self.t - self.h)
        bend = math.expm1(r2 * self.h) / (r2 * self.h) - 1
        state = self.first(r2) - stop * r2 / r1 * bend * (self._inner(r1) - self.eps)
        eps = slope_of(state, stop, self._denoise(state, stop, self._index).clean)
        return self.first() - end / r2 * (math.expm1(self.h) / self.h - 1) * (eps - self.eps)

    def _inner(self, r: float) -> Tensor:
        if r not in self._second:
            level, state = math.exp(-self.t - r * self.h), self.first(r)
            self._second[r] = slope_of(state, level, self._denoise(state, level, self._index).clean)
        return self._second[r]


def _ends(sigmas: Sequence[float]) -> tuple[float, float]:
    """(first, last) t of a schedule, the last level above 0."""
    low = sigmas[-1] if sigmas[-1] > 0 else sigmas[-2]
    return -math.log(sigmas[0]), -math.log(low)


def _noised(process: NoiseProcess, t: float, there: float, end: float, eta: float) -> tuple[float, float, float]:
    """(where to step, its scale, how much noise to add) for an ancestral step from t to `there`, never past `end`."""
    if eta == 0:
        return there, 1.0, 0.0
    level = math.exp(-there)
    down, _ = process.split(math.exp(-t), level, eta)
    lands, _ = process.landing(level, down)
    lands = max(lands, math.exp(-end))
    scale = process.alpha(level) / process.alpha(lands)
    return -math.log(lands), scale, math.sqrt(max(level**2 - (scale * lands) ** 2, 0.0))


@sampler("dpm_fast", title="DPM fast", options=SamplerOptions(eta=0.0), order=3)
def dpm_fast(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """As many network calls as the schedule has steps, in third-order strides even in t. Options: eta, s_noise.

    Of the schedule it takes the ends alone, and it stops at the last level above 0.
    """
    start, end = _ends(sigmas)
    calls = len(sigmas) - 1
    strides = calls // 3 + 1
    orders = [3] * (strides - 2) + [2, 1] if calls % 3 == 0 else [3] * (strides - 1) + [calls % 3]
    times = [start + (end - start) * i / strides for i in range(strides + 1)]
    for index, ((t, there), order) in enumerate(zip(pairwise(times), orders, strict=True)):
        landed, scale, up = _noised(process, t, there, end, options.eta)
        stages = _Stages(denoise, x, t, landed, index)
        x = scale * (stages.first, stages.second, stages.third)[order - 1]()
        if up > 0:
            x = x + options.s_noise * up * noise.draw(index)
        yield Step(index, math.exp(-there), x, stages.clean)


@sampler("dpm_adaptive", title="DPM adaptive", options=SamplerOptions(eta=0.0, order=3), order=3, calls=3, alone=True)
def dpm_adaptive(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Steps as long as the error allows (Jolicoeur-Martineau et al. 2021).

    Options: eta, s_noise, order (2 or 3), rtol, atol, first_step. Of the schedule it takes the ends alone. Each attempt
    is a Step, also one that was taken back. Steps depend on the picture, so a batch would couple its images: raises
    BadInput for more than one.
    """
    images = getattr(x, "shape", (1,))[0]
    if images != 1:
        raise BadInput(
            f"DPM adaptive chooses its steps for one image at a time, it was given {images}.",
            hint="Sample the images one by one.",
            field="sampler",
        )
    t, end = _ends(sigmas)
    length, before, index, accepted = options.first_step, x, 0, 0
    exponent = 1 / (1.5 if options.eta > 0 else options.order)
    while t < end - 1e-5:
        there = min(end, t + length)
        landed, scale, up = _noised(process, t, there, end, options.eta)
        stages = _Stages(denoise, x, t, landed, index)
        low = stages.second(1 / 3) if options.order == 3 else stages.first()
        high = stages.third() if options.order == 3 else stages.second()
        error = _error(low, high, before, options)
        # An integral controller with Soederlind's smooth limiter, 1 + atan(factor - 1).
        factor = 1 + math.atan((1 / (error + 1e-8)) ** exponent - 1)
        if factor >= ACCEPTED:
            before, x = low, scale * high
            if up > 0:
                x = x + options.s_noise * up * noise.draw(accepted)
            t, accepted = there, accepted + 1
        length *= factor
        yield Step(index, math.exp(-t), x, stages.clean)
        index += 1


ACCEPTED = 0.81
"""The least factor by which the next step may be longer for this one to stand."""


def _error(low: Tensor, high: Tensor, before: Tensor, options: SamplerOptions) -> float:
    """The root mean square difference of two orders, in units of the allowed error at each element."""
    larger = (abs(low) + abs(before) + abs(abs(low) - abs(before))) / 2
    bound = options.rtol * larger
    bound = (bound + options.atol + abs(bound - options.atol)) / 2
    return math.sqrt(mean(((low - high) / bound) ** 2))
