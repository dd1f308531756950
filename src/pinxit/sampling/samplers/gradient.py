"""Gradient estimation: Euler along a slope that is extrapolated from the last one (Permenter & Yuan 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pinxit.sampling.denoiser import Denoiser
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers.common import slope_of
from pinxit.sampling.samplers.euler import unconditional
from pinxit.sampling.samplers.spec import SamplerOptions, Step, sampler

if TYPE_CHECKING:
    from torch import Tensor


@sampler("gradient_estimation", title="Gradient Estimation", order=2)
def gradient_estimation(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Steps along the slope plus (gamma - 1) times its change since the last step (section 4). Options: gamma."""
    del process, noise
    return _estimated(denoise, x, sigmas, options.gamma, guided=False)


@sampler("gradient_estimation_cfg_pp", title="Gradient Estimation CFG++", order=2, needs_uncond=True)
def gradient_estimation_cfg_pp(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """The same along the unconditional slope, from the guided picture (Chung et al. 2024, CFG++). Options: gamma."""
    del process, noise
    return _estimated(denoise, x, sigmas, options.gamma, guided=True)


def _estimated(denoise: Denoiser, x: Tensor, sigmas: Sequence[float], gamma: float, *, guided: bool) -> Iterator[Step]:
    before: Tensor | None = None
    for index, (here, there) in enumerate(pairwise(sigmas)):
        prediction = denoise(x, here, index)
        clean = prediction.clean
        base = unconditional(prediction.uncond, clean) if guided else clean
        slope = slope_of(x, here, base)
        if there == 0:
            x = clean
        else:
            # The guided picture plus the unconditional noise; without guidance this is Euler's step.
            x = clean + there * slope
            if before is not None:
                x = x + (there - here) * (gamma - 1) * (slope - before)
        before = slope
        yield Step(index, there, x, clean)
