"""Refined exponential multistep samplers (Zhang et al. 2023, arXiv 2308.02157)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pinxit.sampling.denoiser import Denoiser, Prediction
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers.common import phi
from pinxit.sampling.samplers.euler import unconditional
from pinxit.sampling.samplers.spec import SamplerOptions, Step, sampler

if TYPE_CHECKING:
    from torch import Tensor


@sampler("res_multistep", title="RES Multistep", options=SamplerOptions(eta=0.0), order=2)
@sampler("res_multistep_ancestral", title="RES Multistep a", order=2, uses_noise=True)
def res_multistep(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """A two-step exponential integrator in -log(sigma), with an ancestral share of noise. Options: eta, s_noise."""

    def alone(x: Tensor, sigma: float, index: int, /) -> Prediction:
        return Prediction(denoise(x, sigma, index).clean)

    return _multistep(alone, x, sigmas, process, noise, options)


@sampler("res_2s", title="RES 2S", order=2, calls=2)
def res_2s(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """A two-stage exponential integrator in -log(sigma), the stage at a share r of the step (eq. 27). Options: r."""
    del noise
    for index, (here, there) in enumerate(pairwise(sigmas)):
        clean = denoise(x, here, index).clean
        if there == 0:
            x = clean
        else:
            h = math.log(here / there)
            middle = here * math.exp(-options.r * h)
            inner = process.move(x, clean, here, middle, middle)
            second = denoise(inner, middle, index).clean
            weight = phi(2, h) / options.r
            x = there / here * x + h * ((phi(1, h) - weight) * clean + weight * second)
        yield Step(index, there, x, clean)


@sampler(
    "res_multistep_cfg_pp", title="RES Multistep CFG++", options=SamplerOptions(eta=0.0), order=2, needs_uncond=True
)
@sampler("res_multistep_ancestral_cfg_pp", title="RES Multistep a CFG++", order=2, uses_noise=True, needs_uncond=True)
def res_multistep_cfg_pp(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """The same solver over the unconditional estimate, shifted by the guidance (Chung et al. 2024, CFG++)."""
    return _multistep(denoise, x, sigmas, process, noise, options)


def _multistep(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """The solver's loop, over the unconditional estimate where there is one, with the state shifted by the guidance."""
    before: Tensor | None = None
    landed = 0.0
    for index, (here, there) in enumerate(pairwise(sigmas)):
        prediction = denoise(x, here, index)
        clean = prediction.clean
        base = unconditional(prediction.uncond, clean)
        down, up = process.split(here, there, options.eta)
        level, scale = process.landing(there, down)
        r = level / here
        if r == 0 or before is None:
            x = process.alpha(level) * clean + r * (x - process.alpha(here) * base)
        else:
            # Lengths are measured in -log(sigma) for flows too: that is the sampler that its users know.
            h = -math.log(r)
            second = phi(2, h) / (math.log(landed / sigmas[index - 1]) / h)
            x = r * (x + clean - base) + h * ((phi(1, h) - second) * base + second * before)
        x = scale * x
        if up > 0 and there > 0:
            x = x + options.s_noise * up * noise.draw(index)
        before, landed = base, level
        yield Step(index, there, x, clean)
