"""Restart: go back up to a medium noise level and come down again (Xu et al. 2023, arXiv 2306.14878)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pinxit.sampling.denoiser import Denoiser
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers.heun import heun_step
from pinxit.sampling.samplers.spec import SamplerOptions, Step, sampler

if TYPE_CHECKING:
    from torch import Tensor

LOW, HIGH = 0.1, 2.0
"""The levels between which the sampler restarts, as noise per picture: sigma / alpha."""


def karras_levels(n: int, low: float, high: float) -> list[float]:
    """n falling levels, even in the seventh root (Karras et al. 2022, eq. 5)."""
    roots = high ** (1 / 7), low ** (1 / 7)
    return [(roots[0] + (roots[1] - roots[0]) * i / max(n - 1, 1)) ** 7 for i in range(n)]


def restarts(sigmas: Sequence[float], process: NoiseProcess) -> list[tuple[float, float]]:
    """The steps (from, to) of a run: from 20 steps on, 9 of them (a quarter, twice, from 36 on) go to restarts."""
    steps = len(sigmas) - 1
    if steps < 20:
        return list(pairwise(sigmas))
    again, times = (steps // 4, 2) if steps >= 36 else (9, 1)
    levels = [*karras_levels(steps - again * times, sigmas[-2], sigmas[0]), 0.0]
    low, high = (process.sigma_of(-math.log(ratio)) for ratio in (LOW, HIGH))
    bottom = min(range(len(levels)), key=lambda i: abs(levels[i] - low))
    top = min(range(len(levels)), key=lambda i: abs(levels[i] - high))
    path = list(pairwise(levels[: bottom + 1]))
    if top < bottom:
        path += [*pairwise(karras_levels(again + 1, levels[bottom], levels[top]))] * times
    return path + list(pairwise(levels[bottom:]))


@sampler("restart", title="Restart", order=2, calls=2, uses_noise=True, schedule="karras")
def restart(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Heun's steps with restarts between noise ratios 0.1 and 2; from 20 steps on it takes only the schedule's ends."""
    reached = sigmas[0]
    for index, (here, there) in enumerate(restarts(sigmas, process)):
        if here > reached:
            x = process.raise_noise(x, options.s_noise * noise.draw(index), reached, here)
        clean = denoise(x, here, index).clean
        x = heun_step(denoise, x, clean, here, there, index)
        reached = there
        yield Step(index, there, x, clean)
