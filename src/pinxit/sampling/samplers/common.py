"""What the samplers share: slopes, churn, and the mean of a field.

Legend: `x` the state, `sigma` its noise level, `clean` the estimated picture, `slope` the derivative dx / dsigma.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers.spec import SamplerOptions

if TYPE_CHECKING:
    from torch import Tensor

MAX_CHURN = math.sqrt(2) - 1


def slope_of(x: Tensor, sigma: float, clean: Tensor) -> Tensor:
    """dx / dsigma of the probability flow: the noise for alpha = 1, noise - picture for a rectified flow."""
    return (x - clean) / sigma


def churned(
    x: Tensor, sigmas: Sequence[float], index: int, process: NoiseProcess, noise: NoiseSource, options: SamplerOptions
) -> tuple[Tensor, float]:
    """Add a little noise back before a step (Karras et al. 2022, algorithm 2, lines 4 to 6): the new x and its level.

    In the a1111 dialect a noise is drawn in every step of a churned run, used or not: it matters to sources that count.
    """
    here = sigmas[index]
    acts = options.s_churn > 0 and options.s_tmin <= here <= options.s_tmax
    drawn = noise.draw(index) if acts or (options.s_churn > 0 and options.dialect == "a1111") else None
    if drawn is None or not acts:
        return x, here
    raised = here * (1 + min(options.s_churn / (len(sigmas) - 1), MAX_CHURN))
    if process.alpha(raised) <= 0:
        return x, here
    return process.raise_noise(x, options.s_noise * drawn, here, raised), raised


def mean(values: Tensor) -> float:
    """The mean of a tensor, an array or a plain number."""
    return float(values.mean()) if hasattr(values, "mean") else float(values)


def lambda_of(process: NoiseProcess, sigma: float) -> float:
    """Half the log signal-to-noise ratio, infinite at sigma 0."""
    return math.inf if sigma == 0 else process.half_log_snr(sigma)


def phi(order: int, h: float) -> float:
    """phi_k(-h) of exponential integrators: phi_1 = (1 - e^-h) / h, phi_2 = (phi_1 - 1) / -h ... (Hochbruck 2010)."""
    value = -math.expm1(-h) / h
    factorial = 1.0
    for k in range(1, order):
        factorial *= k
        value = (value - 1 / factorial) / -h
    return value


SHORT_RUN = 15
"""Below this many steps diffusers lowers the order towards the end."""


def lowered(sigmas: Sequence[float], index: int, options: SamplerOptions, order: int = 2) -> bool:
    """Whether the diffusers dialect denies this step the given order."""
    steps = len(sigmas) - 1
    return options.dialect == "diffusers" and steps < SHORT_RUN and steps - index < order
