from __future__ import annotations

import numpy as np
import pytest

from pinxit.evaluate import statistics
from pinxit.evaluate.statistics import frechet_distance, kernel_distance, paired_difference, wilson


def test_wilson_intervals() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(50, 100)
    assert (low, high) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(10, 10)[1] == pytest.approx(1.0)


def test_a_paired_difference_knows_its_sign() -> None:
    better = [True] * 60 + [False] * 40
    worse = [True] * 30 + [False] * 70
    change, (low, high) = paired_difference(worse, better)
    assert change == pytest.approx(0.3)
    assert 0 < low < 0.3 < high
    assert paired_difference(better, better) == (0.0, (0.0, 0.0))
    assert paired_difference([], []) == (0.0, (-1.0, 1.0))


def test_the_kernel_distance_is_unbiased() -> None:
    draw = np.random.default_rng(0)
    same = [kernel_distance(draw.normal(size=(60, 8)), draw.normal(size=(60, 8)))[0] for _ in range(40)]
    assert abs(float(np.mean(same))) < 2.5 * float(np.std(same)) / len(same) ** 0.5
    far, error = kernel_distance(draw.normal(size=(200, 8)), draw.normal(1.0, 1.0, size=(200, 8)))
    assert far > 5 * error > 0


def test_the_kernel_distance_of_the_formula() -> None:
    x, y = np.array([[1.0], [2.0]]), np.array([[3.0], [5.0]])
    # Within: k(1,2) = 27, k(3,5) = 4096; across: k(1,3) = 64, k(1,5) = 216, k(2,3) = 343, k(2,5) = 1331.
    assert kernel_distance(x, y)[0] == pytest.approx(27 + 4096 - 2 * (64 + 216 + 343 + 1331) / 4)


def test_the_frechet_distance_of_two_gaussians() -> None:
    draw = np.random.default_rng(1)
    first = draw.normal(0, 1, size=(20_000, 3))
    second = draw.normal(2, 3, size=(20_000, 3))
    assert frechet_distance(first, second) == pytest.approx(3 * 4 + 3 * (3 - 1) ** 2, rel=0.05)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)


def test_the_frechet_distance_of_few_and_of_many_is_one_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(2)
    first, second = draw.normal(size=(40, 6)), draw.normal(0.5, 2, size=(50, 6))
    few = frechet_distance(first, second)
    monkeypatch.setattr(statistics, "_FEW", 0)
    assert frechet_distance(first, second) == pytest.approx(few, rel=1e-9)
