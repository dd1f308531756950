"""UniPC: a multistep predictor whose next evaluation also corrects it (Zhao et al. 2023, arXiv 2302.04867).

Legend: `h` the step in lambda, `rks` the places of past estimates in units of it, `B` the paper's free function of h.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pinxit.sampling.denoiser import Denoiser
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers.common import lambda_of
from pinxit.sampling.samplers.spec import SamplerOptions, Solver, Step, sampler

if TYPE_CHECKING:
    from torch import Tensor

LAST_LEVEL = 0.001
"""Where bh1's last step ends instead of 0, at which its weights are not finite."""
LAST_LEVEL_COMFYUI = 2.0**-10
"""What that level becomes in ComfyUI, which computes sqrt(1 - 1 / (1 + sigma^2)) in float32."""


@dataclass(frozen=True, slots=True)
class _Known:
    """One past estimate (of the picture, or of the noise) and the level it was made at."""

    sigma: float
    value: Tensor


@sampler("uni_pc", title="UniPC", options=SamplerOptions(order=3, solver="bh1"), order=3, discard_next_to_last=True)
@sampler(
    "uni_pc_bh2", title="UniPC BH2", options=SamplerOptions(order=3, solver="bh2"), order=3, discard_next_to_last=True
)
def uni_pc(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Predict with past estimates, correct with the new one; lower orders at both ends.

    Options: order, solver (bh1: B = h, bh2: B = e^h - 1), predict_noise. A last level of 0 becomes 0.001, except for
    bh2 in the diffusers dialect, which steps onto the picture.
    """
    del noise
    levels = [process.offset(sigmas[0]), *sigmas[1:]]
    if levels[-1] == 0 and not (options.dialect == "diffusers" and options.solver == "bh2"):
        levels[-1] = LAST_LEVEL_COMFYUI if options.dialect == "comfyui" else LAST_LEVEL
    steps = len(levels) - 1
    top = options.order if options.dialect == "diffusers" else max(min(options.order, steps - 1), 1)
    known: list[_Known] = []
    start, order = x, 1
    for index in range(steps):
        here, there = levels[index], levels[index + 1]
        clean = denoise(x, here, index).clean
        value = _estimate(process, x, clean, here, options)
        if known:
            x = _advance(process, start, known, here, order, options, fresh=value)
        known = [_Known(here, value), *known][:top]
        order = min(top, index + 1, steps - index)
        start = x
        x = _advance(process, start, known, there, order, options, fresh=None)
        yield Step(index, there, x, clean)


def _estimate(process: NoiseProcess, x: Tensor, clean: Tensor, sigma: float, options: SamplerOptions) -> Tensor:
    return (x - process.alpha(sigma) * clean) / sigma if options.predict_noise else clean


def _advance(
    process: NoiseProcess,
    x: Tensor,
    known: Sequence[_Known],
    there: float,
    order: int,
    options: SamplerOptions,
    *,
    fresh: Tensor | None,
) -> Tensor:
    """x moved from known[0]'s level to `there`: predicted, or corrected by the estimate at `there` (eq. 3)."""
    here, last = known[0].sigma, known[0].value
    h = lambda_of(process, there) - process.half_log_snr(here)
    scale = there if options.predict_noise else process.alpha(there)
    hh = h if options.predict_noise else -h
    ratio = process.alpha(there) / process.alpha(here) if options.predict_noise else there / here
    result = ratio * x - scale * math.expm1(hh) * last
    past = known[1:order]
    rks = [(process.half_log_snr(entry.sigma) - process.half_log_snr(here)) / h for entry in past]
    weights = _weights(rks, hh, options.solver, corrects=fresh is not None)
    b = scale * _free(hh, options.solver)
    for weight, rk, entry in zip(weights, rks, past, strict=False):
        result = result - b * weight / rk * (entry.value - last)
    if fresh is not None:
        result = result - b * weights[-1] * (fresh - last)
    return result


def _free(hh: float, solver: Solver) -> float:
    return hh if solver == "bh1" else math.expm1(hh)


def _weights(rks: Sequence[float], hh: float, solver: Solver, *, corrects: bool) -> list[float]:
    """The solution of the order conditions (eq. 5); the first orders have it in closed form, as users know them."""
    count = len(rks) + corrects
    if count == 0:
        return []
    if count == 1:
        return [0.5]
    places = np.array([*rks, 1.0][:count])
    value, factorial, right = math.expm1(hh) / hh - 1, 1.0, []
    for k in range(1, count + 1):
        right.append(value * factorial / _free(hh, solver))
        factorial *= k + 1
        value = value / hh - 1 / factorial
    return np.linalg.solve(np.vander(places, increasing=True).T, np.array(right)).tolist()
