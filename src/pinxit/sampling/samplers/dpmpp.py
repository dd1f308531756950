"""DPM-Solver++: exponential integrators that extrapolate the picture in lambda (Lu et al. 2022, arXiv 2211.01095)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pinxit.sampling.denoiser import Denoiser
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers.common import lowered
from pinxit.sampling.samplers.euler import unconditional
from pinxit.sampling.samplers.spec import SamplerOptions, Step, sampler

if TYPE_CHECKING:
    from torch import Tensor


@sampler("dpmpp_2m", title="DPM++ 2M", order=2, schedule="karras")
@sampler(
    "dpm_2m",
    title="DPM 2M",
    options=SamplerOptions(predict_noise=True),
    order=2,
    summary="The two-step multistep solver over the noise, the form for unguided models (Lu et al. 2022, 2206.00927).",
)
def dpmpp_2m(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """The two-step multistep solver, algorithm 2. `solver` heun weighs the last difference by the step's true integral.

    Lengths are measured in -log(sigma) for flows too, which is how the field runs this sampler on them. In the
    diffusers dialect a run of fewer than 15 steps ends with a first-order step.
    """
    del noise
    before: Tensor | None = None
    length = 0.0
    for index, (here, there) in enumerate(pairwise(sigmas)):
        clean = denoise(x, here, index).clean
        # The estimate that is extrapolated, and its share in a first-order step.
        value = (x - process.alpha(here) * clean) / here if options.predict_noise else clean
        x = process.move(x, clean, here, there, there)
        if there > 0:
            h = math.log(here / there)
            if before is not None and not lowered(sigmas, index, options):
                past = process.alpha(here) * there / here
                gain = (
                    there * (1 - process.alpha(there) / past) if options.predict_noise else process.alpha(there) - past
                )
                x = x + gain * length_ratio(h, options) * h / length * (value - before)
            length = h
        before = value
        yield Step(index, there, x, clean)


def length_ratio(h: float, options: SamplerOptions) -> float:
    """The weight of the last difference: a half (midpoint), or the exact integral of a linear function (heun)."""
    return (1 + math.expm1(-h) / h) / -math.expm1(-h) if options.solver == "heun" else 0.5


@sampler("dpmpp_2m_v2", title="DPM++ 2M v2", order=2, schedule="karras")
def dpmpp_2m_v2(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """DPM++ 2M with the longer of two steps over the shorter in its weights, and their mean as the length.

    A change to algorithm 2 that its users made and kept. At even lengths the two are one; where neighbouring lengths
    differ much it is biased, so that it wants the karras schedule.
    """
    del noise, options
    before: Tensor | None = None
    length = 0.0
    for index, (here, there) in enumerate(pairwise(sigmas)):
        clean = denoise(x, here, index).clean
        if before is None or there == 0:
            x = process.move(x, clean, here, there, there)
        else:
            h = math.log(here / there)
            share = min(h, length) / max(h, length) / 2
            x = there / here * x - math.expm1(-(h + length) / 2) * ((1 + share) * clean - share * before)
        length = math.log(here / there) if there > 0 else 0.0
        before = clean
        yield Step(index, there, x, clean)


@sampler("dpmpp_2s", title="DPM++ 2S", order=2, schedule="karras")
def dpmpp_2s(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """The two-stage solver over pairs of steps: to the first level, then from the start to the second (algorithm 1)."""
    del noise, options
    start, first, top = x, x, sigmas[0]
    for index, (here, there) in enumerate(pairwise(sigmas)):
        clean = denoise(x, here, index).clean
        if index % 2 == 1 and there > 0:
            place = (process.half_log_snr(here) - process.half_log_snr(top)) / (
                process.half_log_snr(there) - process.half_log_snr(top)
            )
            x = process.move(start, first + (clean - first) / (2 * place), top, there, there)
        else:
            start, first, top = x, clean, process.offset(here)
            x = process.move(x, clean, here, there, there)
        yield Step(index, there, x, clean)


@sampler("dpmpp_2s_ancestral", title="DPM++ 2S a", order=2, calls=2, uses_noise=True, schedule="karras")
def dpmpp_2s_ancestral(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """A two-stage step through the middle in lambda, to an ancestral level. Options: eta, s_noise."""
    for index, (here, there) in enumerate(pairwise(sigmas)):
        clean = denoise(x, here, index).clean
        down, up = process.split(here, there, options.eta)
        if down == 0:
            x = process.move(x, clean, here, there, down)
        else:
            level, scale = process.landing(there, down)
            middle = middle_of(process, here, level)
            inner = process.move(x, clean, here, middle, middle)
            x = scale * process.move(x, denoise(inner, middle, index).clean, here, level, level)
        if up > 0 and there > 0:
            x = x + options.s_noise * up * noise.draw(index)
        yield Step(index, there, x, clean)


NEARLY_PURE = 0.9999
"""The middle of a step that starts at pure noise, where lambda is infinite."""


def middle_of(process: NoiseProcess, here: float, there: float) -> float:
    """The level halfway in lambda."""
    if process.alpha(here) == 0:
        return NEARLY_PURE * here
    return process.sigma_of((process.half_log_snr(here) + process.half_log_snr(there)) / 2)


@sampler(
    "dpmpp_2s_ancestral_cfg_pp",
    title="DPM++ 2S a CFG++",
    order=2,
    calls=2,
    uses_noise=True,
    needs_uncond=True,
    schedule="karras",
)
def dpmpp_2s_ancestral_cfg_pp(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """DPM++ 2S a with the unconditional noise of CFG++ (Chung et al. 2024). Options: eta, s_noise."""
    for index, (here, there) in enumerate(pairwise(sigmas)):
        prediction = denoise(x, here, index)
        clean = prediction.clean
        down, up = process.split(here, there, options.eta)
        if down == 0:
            x = clean
        else:
            level, scale = process.landing(there, down)
            middle = middle_of(process, here, level)
            shift = clean - unconditional(prediction.uncond, clean)
            inner = process.move(x + shift, clean, here, middle, middle)
            second = denoise(inner, middle, index)
            shift = clean - unconditional(second.uncond, second.clean)
            x = scale * process.move(x + shift, second.clean, here, level, level)
        if up > 0 and there > 0:
            x = x + options.s_noise * up * noise.draw(index)
        yield Step(index, there, x, clean)


@sampler("dpmpp_2m_cfg_pp", title="DPM++ 2M CFG++", order=2, needs_uncond=True, schedule="karras")
def dpmpp_2m_cfg_pp(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """DPM++ 2M with the unconditional noise of CFG++ (Chung et al. 2024)."""
    del noise, options
    before: Tensor | None = None
    length = 0.0
    for index, (here, there) in enumerate(pairwise(sigmas)):
        prediction = denoise(x, here, index)
        clean, uncond = prediction.clean, unconditional(prediction.uncond, prediction.clean)
        r = there / here
        x = process.alpha(there) * clean + r * (x - process.alpha(here) * uncond)
        if there > 0:
            h = -math.log(r)
            if before is not None:
                gain = process.alpha(there) - process.alpha(here) * r
                x = x + gain * h / (2 * length) * (clean - before)
            length = h
        before = uncond
        yield Step(index, there, x, clean)
