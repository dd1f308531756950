"""Extended reverse-time SDE solvers (Cui et al. 2023, arXiv 2309.06169)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from pinxit.sampling.denoiser import Denoiser
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers.dpmpp_sde import finite_start
from pinxit.sampling.samplers.spec import SamplerOptions, Step, sampler

if TYPE_CHECKING:
    from torch import Tensor

POINTS = 200
"""Points of the left sums that stand for the two integrals; part of the numbers its users know."""


def scaler(ratio: float) -> float:
    """How the noise is scaled at sigma / alpha = ratio: the function that the paper recommends (table 6, ER SDE 5)."""
    return ratio * (math.exp(ratio**0.3) + 10)


@sampler("er_sde", title="ER SDE", options=SamplerOptions(order=3), order=3, uses_noise=True)
@sampler("er_sde_2", title="ER SDE 2", options=SamplerOptions(order=2), order=2, uses_noise=True)
@sampler("er_sde_1", title="ER SDE 1", options=SamplerOptions(order=1), uses_noise=True)
def er_sde(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """A Taylor solver of up to three terms (algorithms 1 to 3). Options: order (1 to 3), s_noise."""
    levels = finite_start(sigmas, process)
    ratios = [level / process.alpha(level) for level in levels]
    before: Tensor | None = None
    slope_before: Tensor | None = None
    for index, (here, there) in enumerate(pairwise(levels)):
        clean = denoise(x, here, index).clean
        if there == 0:
            x = clean
        else:
            start, end = ratios[index], ratios[index + 1]
            keep, alpha = scaler(end) / scaler(start), process.alpha(there)
            x = alpha / process.alpha(here) * keep * x + alpha * (1 - keep) * clean
            if before is not None and options.order >= 2:
                first, second = _integrals(start, end)
                slope = (clean - before) / (start - ratios[index - 1])
                x = x + alpha * (end - start + first * scaler(end)) * slope
                if slope_before is not None and options.order >= 3:
                    bend = (slope - slope_before) / ((start - ratios[index - 2]) / 2)
                    x = x + alpha * ((end - start) ** 2 / 2 + second * scaler(end)) * bend
                slope_before = slope
            up = math.sqrt(max(end**2 - (start * keep) ** 2, 0.0))
            if up > 0 and options.s_noise > 0:
                x = x + options.s_noise * alpha * up * noise.between(index, here, there)
        before = clean
        yield Step(index, there, x, clean)


def _integrals(start: float, end: float) -> tuple[float, float]:
    """The sums of 1 / scaler(r) and (r - start) / scaler(r) over r from `end` towards `start`."""
    width = (start - end) / POINTS
    r = end + np.arange(POINTS) * width
    scaled = r * (np.exp(r**0.3) + 10)
    return float(np.sum(1 / scaled) * width), float(np.sum((r - start) / scaled) * width)
