"""The stochastic DPM-Solver++ family: exponential integrators of the reverse SDE (Lu et al. 2022, arXiv 2211.01095).

Legend: `h` a step in lambda = log(alpha / sigma), `eta` the share of fresh noise: the SDE's exponent is h (1 + eta).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pinxit.sampling.denoiser import Denoiser
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers.common import lowered
from pinxit.sampling.samplers.spec import SamplerOptions, Step, sampler

if TYPE_CHECKING:
    from torch import Tensor


def finite_start(sigmas: Sequence[float], process: NoiseProcess) -> list[float]:
    """The same levels, the first lowered a little where its lambda is infinite."""
    return [process.offset(sigmas[0]), *sigmas[1:]]


def fresh(process: NoiseProcess, here: float, there: float, eta: float) -> float:
    """The standard deviation of the noise that the SDE adds between two levels."""
    h = process.half_log_snr(there) - process.half_log_snr(here)
    return there * math.sqrt(-math.expm1(-2 * eta * h))


@sampler("dpmpp_sde", title="DPM++ SDE", order=2, calls=2, uses_noise=True, schedule="karras")
def dpmpp_sde(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """A stochastic two-stage step: to a point within it, then the whole. Options: eta, s_noise, r."""
    for index, (here, there) in enumerate(pairwise(finite_start(sigmas, process))):
        clean = denoise(x, here, index).clean
        if there == 0:
            x = clean
        else:
            start = process.half_log_snr(here)
            middle = process.sigma_of(start + options.r * (process.half_log_snr(there) - start))
            down, up = process.diffuse(here, middle, options.eta)
            inner = process.move(x, clean, here, middle, down)
            if up > 0:
                inner = inner + options.s_noise * up * noise.between(index, here, middle)
            share = 1 / (2 * options.r)
            mixed = (1 - share) * clean + share * denoise(inner, middle, index).clean
            down, up = process.diffuse(here, there, options.eta)
            x = process.move(x, mixed, here, there, down)
            if up > 0:
                x = x + options.s_noise * up * noise.between(index, here, there)
        yield Step(index, there, x, clean)


@sampler("dpmpp_2m_sde", title="DPM++ 2M SDE", order=2, uses_noise=True, schedule="exponential")
@sampler(
    "dpmpp_2m_sde_heun",
    title="DPM++ 2M SDE Heun",
    options=SamplerOptions(solver="heun"),
    order=2,
    uses_noise=True,
    schedule="exponential",
)
def dpmpp_2m_sde(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """The two-step multistep solver of the SDE. Options: eta, s_noise, solver (midpoint or heun)."""
    before: Tensor | None = None
    length = 0.0
    for index, (here, there) in enumerate(pairwise(finite_start(sigmas, process))):
        clean = denoise(x, here, index).clean
        if there == 0:
            x = clean
        else:
            h = process.half_log_snr(there) - process.half_log_snr(here)
            whole = h * (1 + options.eta)
            x = process.move(x, clean, here, there, there * math.exp(-options.eta * h))
            if before is not None:
                gain = process.alpha(there) * -math.expm1(-whole)
                share = process.alpha(there) * (1 + math.expm1(-whole) / whole)
                x = x + (share if options.solver == "heun" else gain / 2) * h / length * (clean - before)
            if options.eta > 0:
                up = fresh(process, here, there, options.eta)
                x = x + options.s_noise * up * noise.between(index, here, there)
            length = h
        before = clean
        yield Step(index, there, x, clean)


@sampler(
    "dpmpp_3m_sde", title="DPM++ 3M SDE", order=3, uses_noise=True, schedule="exponential", discard_next_to_last=True
)
@sampler(
    "dpmpp_3m",
    title="DPM++ 3M",
    options=SamplerOptions(eta=0.0),
    order=3,
    schedule="karras",
    summary="The three-step multistep solver without fresh noise.",
)
def dpmpp_3m_sde(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """The three-step multistep solver of the SDE. Options: eta, s_noise. In diffusers' dialect short runs end low."""
    cleans: list[Tensor] = []
    lengths: list[float] = []
    for index, (here, there) in enumerate(pairwise(finite_start(sigmas, process))):
        clean = denoise(x, here, index).clean
        cleans = [clean, *cleans][: 2 if lowered(sigmas, index, options, order=3) else 3]
        if there == 0:
            x = clean
        else:
            h = process.half_log_snr(there) - process.half_log_snr(here)
            whole = h * (1 + options.eta)
            x = process.move(x, clean, here, there, there * math.exp(-options.eta * h))
            if not lowered(sigmas, index, options):
                flat = options.dialect == "diffusers"
                bend = _bend(cleans, [length / h for length in lengths], whole, flat=flat)
                x = x + process.alpha(there) * bend
            if options.eta > 0:
                up = fresh(process, here, there, options.eta)
                x = x + options.s_noise * up * noise.between(index, here, there)
            lengths = [h, *lengths][:2]
        yield Step(index, there, x, clean)


def _bend(cleans: Sequence[Tensor], ratios: Sequence[float], whole: float, *, flat: bool) -> Tensor | float:
    """The second and third terms of the integrator from divided differences; `ratios` are past lengths over this one.

    `flat` weighs a lone first difference as the midpoint solver does.
    """
    if len(cleans) < 2:
        return 0.0
    phi_2 = math.expm1(-whole) / whole + 1
    first = (cleans[0] - cleans[1]) / ratios[0]
    if len(cleans) < 3:
        return (-math.expm1(-whole) / 2 if flat else phi_2) * first
    second = (cleans[1] - cleans[2]) / ratios[1]
    curve = (first - second) / (ratios[0] + ratios[1])
    return phi_2 * (first + ratios[0] * curve) - (phi_2 / whole - 0.5) * curve
