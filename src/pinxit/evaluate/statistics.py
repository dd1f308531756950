"""Intervals and distances: what a score of so many pictures is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]
_Z = 1.959964
"""Two-sided 95 %."""

_RESAMPLINGS = 4000

_FEW = 4_000_000
"""Pairs of features up to which their products are laid out."""


def wilson(right: int, count: int) -> Interval:
    """The 95 % interval of a share of `right` in `count` (Wilson 1927). The whole range for no observations."""
    if not count:
        return 0.0, 1.0
    share, z2 = right / count, _Z**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def paired_difference(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> tuple[float, Interval]:
    """Mean of second - first over the same asks, and its 95 % interval by resampling the asks."""
    change = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    if not len(change):
        return 0.0, (-1.0, 1.0)
    rng = np.random.default_rng(seed)
    means = change[rng.integers(0, len(change), (_RESAMPLINGS, len(change)))].mean(axis=1)
    return float(change.mean()), _middle(means)


def paired_kernel_difference(
    first: NDArray[np.float64], second: NDArray[np.float64], real: NDArray[np.float64], *, seed: int = 0
) -> tuple[float, Interval]:
    """KID of `second` less KID of `first`, each against `real`, and its 95 % interval; all [N, D], row by row alike.

    Rows are resampled together. A pair of one row with itself never counts, so that repeated rows do not look alike.
    """
    rng = np.random.default_rng(seed)
    count = len(real)
    weights = np.stack([np.bincount(row, minlength=count) for row in rng.integers(0, count, (_RESAMPLINGS, count))])
    weights = np.concatenate([np.ones((1, count)), weights])
    within = (_kernel(second, second) - _kernel(first, first)) * (1 - np.eye(count))
    across = _kernel(second, real) - _kernel(first, real)
    pairs = np.square(weights.sum(1)) - np.square(weights).sum(1)
    values = ((weights @ within) * weights).sum(1) / np.maximum(pairs, 1)
    values -= 2 * ((weights @ across) * weights).sum(1) / np.square(weights.sum(1))
    return float(values[0]), _middle(values[1:])


def _middle(values: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def kernel_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """KID of two sets of features [N, D] and [M, D], and its standard error over ten splits.

    The unbiased squared maximum mean discrepancy with the kernel (x y / D + 1)^3 (Binkowski et al. 2018, sec. 4).
    Near 0, or below it by chance, where the sets are alike.
    """
    values: list[float] = []
    parts = 10 if min(len(first), len(second)) >= 100 else 2
    for at in range(parts):
        values.append(_mmd2(first[at::parts], second[at::parts]))
    return _mmd2(first, second), float(np.std(values) / math.sqrt(parts))


def _kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _mmd2(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    n, m = len(x), len(y)
    if n < 2 or m < 2:
        return float("nan")
    within_x, within_y = _kernel(x, x), _kernel(y, y)
    own = (within_x.sum() - np.trace(within_x)) / (n * (n - 1)) + (within_y.sum() - np.trace(within_y)) / (m * (m - 1))
    return float(own - 2 * _kernel(x, y).mean())


def frechet_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The Frechet distance of two sets of features as Gaussians (Heusel et al. 2017, eq. 6); small sets raise it."""
    mean = first.mean(axis=0) - second.mean(axis=0)
    a, b = ((values - values.mean(axis=0)) / math.sqrt(len(values) - 1) for values in (first, second))
    # The covariances are a'a and b'b; the trace of the square root of their product is the sum of ab's singular values.
    roots = np.linalg.svd(a @ b.T, compute_uv=False).sum() if len(a) * len(b) <= _FEW else _roots(a, b)
    return float(mean @ mean + np.square(a).sum() + np.square(b).sum() - 2 * roots)


def _roots(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The same sum from the eigenvalues of the covariances' product, for sets much larger than their features."""
    return float(np.sqrt(np.clip(np.linalg.eigvals(a.T @ a @ b.T @ b).real, 0, None)).sum())
