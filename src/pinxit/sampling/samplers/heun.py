"""Second-order samplers that correct a straight step by the slope at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pinxit.sampling.denoiser import Denoiser
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers.common import churned, slope_of
from pinxit.sampling.samplers.spec import SamplerOptions, Step, sampler

if TYPE_CHECKING:
    from torch import Tensor


@sampler("heun", title="Heun", order=2, calls=2)
def heun(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """The mean of the slopes at a step's two ends (Karras et al. 2022, algorithm 2). Options: s_churn and its three."""
    for index, there in enumerate(sigmas[1:]):
        x, here = churned(x, sigmas, index, process, noise, options)
        clean = denoise(x, here, index).clean
        x = heun_step(denoise, x, clean, here, there, index)
        yield Step(index, there, x, clean)


def heun_step(denoise: Denoiser, x: Tensor, clean: Tensor, here: float, there: float, index: int) -> Tensor:
    """One corrected step; the last one, to 0, stays straight."""
    slope = slope_of(x, here, clean)
    guess = x + (there - here) * slope
    if there == 0:
        return guess
    corrected = slope_of(guess, there, denoise(guess, there, index).clean)
    return x + (there - here) * ((slope + corrected) / 2)


@sampler("heunpp2", title="HeunPP2", order=3, calls=3)
def heunpp2(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Up to three slopes, each weighted by its noise level. Options: s_churn and its three."""
    end = len(sigmas) - 1
    for index in range(end):
        x, here = churned(x, sigmas, index, process, noise, options)
        clean = denoise(x, here, index).clean
        slope = slope_of(x, here, clean)
        length = sigmas[index + 1] - here
        slopes, guess = [slope], x
        for ahead in range(index + 1, min(index + 3, end)):
            guess = guess + (sigmas[ahead] - (here if ahead == index + 1 else sigmas[ahead - 1])) * slopes[-1]
            slopes.append(slope_of(guess, sigmas[ahead], denoise(guess, sigmas[ahead], index).clean))
        weights = [sigmas[ahead] / (len(slopes) * sigmas[0]) for ahead in range(index + 1, index + len(slopes))]
        mixed = (1 - sum(weights)) * slopes[0]
        for weight, later in zip(weights, slopes[1:], strict=True):
            mixed = mixed + weight * later
        x = x + length * mixed
        yield Step(index, sigmas[index + 1], x, clean)
