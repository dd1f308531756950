"""First-order samplers. One formula covers epsilon, velocity and flow models, and most names are settings of it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pinxit.sampling.denoiser import Denoiser
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers.common import churned
from pinxit.sampling.samplers.spec import SamplerOptions, Step, sampler

if TYPE_CHECKING:
    from torch import Tensor


@sampler("euler", title="Euler")
def euler(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Straight steps along the probability flow (Karras et al. 2022, algorithm 2). Options: s_churn and its three."""
    for index, there in enumerate(sigmas[1:]):
        x, here = churned(x, sigmas, index, process, noise, options)
        clean = denoise(x, here, index).clean
        x = process.move(x, clean, here, there, there)
        yield Step(index, there, x, clean)


@sampler("euler_ancestral", title="Euler a", uses_noise=True)
@sampler(
    "ddim",
    title="DDIM",
    options=SamplerOptions(eta=0.0),
    summary="The deterministic implicit model; eta above 0 adds its noise (Song et al. 2020, eq. 12).",
)
@sampler(
    "ddpm",
    title="DDPM",
    uses_noise=True,
    summary="The reverse of the training process itself (Ho et al. 2020, algorithm 2).",
)
def euler_ancestral(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Step down the noise levels, replacing part of the noise each time (Song et al. 2020, eq. 16).

    Options: eta, s_noise, variance. With eta 1 it is the reverse process of Ho et al. 2020, with eta 0 it is Euler.
    """
    for index, (here, there) in enumerate(pairwise(sigmas)):
        clean = denoise(x, here, index).clean
        down, up = process.split(here, there, options.eta)
        x = process.move(x, clean, here, there, down)
        if options.variance == "large":
            up = math.sqrt((here**2 - there**2) / (1 + here**2) * (1 + there**2))
        if up > 0 and there > 0:
            x = x + options.s_noise * up * noise.draw(index)
        yield Step(index, there, x, clean)


@sampler("euler_ancestral_cfg_pp", title="Euler a CFG++", needs_uncond=True, uses_noise=True)
@sampler(
    "euler_cfg_pp",
    title="Euler CFG++",
    needs_uncond=True,
    options=SamplerOptions(eta=0.0),
    summary="Euler that returns along the unconditional noise, for guidance scales near 1 (Chung et al. 2024).",
)
def euler_ancestral_cfg_pp(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Guided picture, unconditional noise (Chung et al. 2024, CFG++, algorithm 2), with ancestral noise."""
    for index, (here, there) in enumerate(pairwise(sigmas)):
        prediction = denoise(x, here, index)
        clean, uncond = prediction.clean, unconditional(prediction.uncond, prediction.clean)
        if there == 0:
            x = clean
        else:
            start = process.offset(here)
            down, up = process.diffuse(start, there, options.eta)
            direction = (x - process.alpha(here) * uncond) / here
            x = process.alpha(there) * clean + down * direction
            if up > 0:
                x = x + options.s_noise * up * noise.draw(index)
        yield Step(index, there, x, clean)


def unconditional(uncond: Tensor | None, clean: Tensor) -> Tensor:
    """The unconditional estimate, or the only one where guidance is off: CFG++ is then the plain sampler."""
    return clean if uncond is None else uncond


@sampler("lcm", title="LCM", uses_noise=True, schedule="sgm_uniform")
def lcm(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Jump to the picture and noise it afresh, for consistency models (Luo et al. 2023, algorithm 3)."""
    for index, (here, there) in enumerate(pairwise(sigmas)):
        clean = denoise(x, here, index).clean
        x = clean if there == 0 else process.add_noise(clean, options.s_noise * noise.draw(index), there)
        yield Step(index, there, x, clean)


@sampler("tcd", title="TCD", options=SamplerOptions(eta=0.3), uses_noise=True, schedule="sgm_uniform")
def tcd(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Jump past the next timestep and noise back up to it, for trajectory-consistent models (Zheng et al. 2024).

    Algorithm 3 there; eta is the share of the next timestep that is jumped over; the last step is never noised.
    """
    last = len(sigmas) - 2
    for index, (here, there) in enumerate(pairwise(sigmas)):
        clean = denoise(x, here, index).clean
        if index == last or options.eta == 0:
            x = process.move(x, clean, here, there, there)
        else:
            place = bisect_right(process.levels, there * (1 + 1e-9)) - 1
            level = process.levels[math.floor((1 - options.eta) * max(place, 0) + 1e-6)]
            x = process.move(x, clean, here, level, level)
            x = process.raise_noise(x, options.s_noise * noise.draw(index), level, there)
        yield Step(index, there, x, clean)
