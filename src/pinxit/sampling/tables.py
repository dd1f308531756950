"""The discrete noise tables that the networks were trained on: betas, cumulative alphas, noise levels.

Legend: `beta` the variance added by a training step, `abar` the cumulative product of `1 - beta` (alpha bar),
`sigma = sqrt((1 - abar) / abar)` the noise level of the variance-exploding form. Everything is float64.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pinxit.sampling.dialect import Dialect

STEPS = 1000
LAST_ABAR = 4.8973451890853435e-08
"""Where a zero-terminal-SNR table really ends: sigma 4518.76, so that the variance-exploding form stays finite."""
LAST_ABAR_DIFFUSERS = 2.0**-24

Floats = NDArray[np.float64]


def scaled_linear_betas(start: float = 0.00085, end: float = 0.012, steps: int = STEPS) -> Floats:
    """Linear in the square root: the table of every Stable Diffusion 1, 2 and XL model.

    The x4 upscaler's runs from 1e-4 to 2e-2. Its configuration says "linear", by which that family means this.
    """
    return np.linspace(math.sqrt(start), math.sqrt(end), steps, dtype=np.float64) ** 2


def linear_betas(start: float = 1e-4, end: float = 2e-2, steps: int = STEPS) -> Floats:
    """Linear in beta itself (Ho et al. 2020, section 4)."""
    return np.linspace(start, end, steps)


def cosine_betas(steps: int = STEPS, *, offset: float = 0.008, ceiling: float = 0.999) -> Floats:
    """Nichol & Dhariwal 2021, eq. 17; the unCLIP noise augmentation's table."""

    def level(t: float) -> float:
        return math.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2

    return np.array([min(1 - level((i + 1) / steps) / level(i / steps), ceiling) for i in range(steps)])


def cumulative(betas: Floats) -> Floats:
    """abar of a table of betas."""
    return np.cumprod(1.0 - betas, dtype=np.float64)


def zero_terminal(abar: Floats, dialect: Dialect = "pinxit") -> Floats:
    """Shift and scale sqrt(abar) so that the last step is pure noise (Lin et al. 2023, algorithm 1).

    The last entry is a small positive number instead of 0, which the variance-exploding form cannot hold.
    """
    root = np.sqrt(abar)
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    rescaled = root**2
    rescaled[-1] = LAST_ABAR_DIFFUSERS if dialect == "diffusers" else LAST_ABAR
    return rescaled


def levels(abar: Floats) -> tuple[float, ...]:
    """The noise levels of a table, rising."""
    return tuple(np.sqrt((1 - abar) / abar).tolist())


@lru_cache(maxsize=1)
def standard_levels() -> tuple[float, ...]:
    """The 1,000 noise levels of Stable Diffusion 1, 2 and XL: 0.0292 to 14.61."""
    return levels(cumulative(scaled_linear_betas()))


@lru_cache(maxsize=4)
def zero_terminal_levels(dialect: Dialect = "pinxit") -> tuple[float, ...]:
    """The standard table rescaled to zero terminal SNR: 0.0292 to 4518.76 (4096 in the diffusers dialect)."""
    return levels(zero_terminal(cumulative(scaled_linear_betas()), dialect))


def shifted(t: float, shift: float) -> float:
    """The flow models' time shift towards noise (Esser et al. 2024, eq. 23); t and the result in 0..1."""
    return shift * t / (1 + (shift - 1) * t)


@lru_cache(maxsize=16)
def flow_levels(shift: float, steps: int = STEPS) -> tuple[float, ...]:
    """The noise levels 1/steps .. 1 of a rectified flow after its shift."""
    return tuple(shifted((i + 1) / steps, shift) for i in range(steps))


@lru_cache(maxsize=16)
def geometric_levels(low: float, high: float, steps: int = STEPS) -> tuple[float, ...]:
    """Noise levels evenly spaced in log(sigma), for processes that were trained on continuous levels."""
    return tuple(np.exp(np.linspace(math.log(low), math.log(high), steps)).tolist())
