"""DPM-Solver-2: second-order steps through the geometric middle of two levels (Karras et al. 2022, Lu et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pinxit.sampling.denoiser import Denoiser
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers.common import churned, slope_of
from pinxit.sampling.samplers.spec import SamplerOptions, Step, sampler

if TYPE_CHECKING:
    from torch import Tensor


def midpoint_step(denoise: Denoiser, x: Tensor, clean: Tensor, here: float, there: float, index: int) -> Tensor:
    """One step along the slope at sqrt(here * there); the last one, to 0, is straight."""
    slope = slope_of(x, here, clean)
    if there > 0:
        middle = math.sqrt(here * there)
        guess = x + (middle - here) * slope
        slope = slope_of(guess, middle, denoise(guess, middle, index).clean)
    return x + (there - here) * slope


@sampler("dpm_2", title="DPM2", order=2, calls=2, schedule="karras", discard_next_to_last=True)
def dpm_2(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Follow the slope at the geometric middle of each step. Options: s_churn and its three."""
    for index, there in enumerate(sigmas[1:]):
        x, here = churned(x, sigmas, index, process, noise, options)
        clean = denoise(x, here, index).clean
        x = midpoint_step(denoise, x, clean, here, there, index)
        yield Step(index, there, x, clean)


@sampler(
    "dpm_2_ancestral", title="DPM2 a", order=2, calls=2, uses_noise=True, schedule="karras", discard_next_to_last=True
)
def dpm_2_ancestral(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """The same slope towards an ancestral step's lower level, then fresh noise. Options: eta, s_noise."""
    for index, (here, there) in enumerate(pairwise(sigmas)):
        clean = denoise(x, here, index).clean
        down, up = process.split(here, there, options.eta)
        level, scale = process.landing(there, down)
        x = scale * midpoint_step(denoise, x, clean, here, level, index)
        if up > 0 and there > 0:
            x = x + options.s_noise * up * noise.draw(index)
        yield Step(index, there, x, clean)
