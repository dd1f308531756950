from __future__ import annotations

import numpy as np
import pytest

from pinxit.bench.cases import TIERS, UNET, VAE, Case, distance, inputs_of
from pinxit.bench.driver import Sample, Series
from pinxit.bench.score import Spread, ratios_of, row_of
from pinxit.models.common.cost import unet_cost, vae_cost

CASE = Case(name="unet-64", kind="unet", height=64, width=64)


def series(stack: str, *seconds: float, off: float | None = 0.0, foreign: tuple[float, ...] = ()) -> Series:
    loads = foreign or (0.0,) * len(seconds)
    samples = [Sample(seconds=s, foreign=f, off=off) for s, f in zip(seconds, loads, strict=True)]
    return Series(stack=stack, dtype="float32", samples=samples, peak_bytes=5 * 2**20)


def test_the_first_round_warms_up_and_does_not_count() -> None:
    row = row_of(CASE, series("pinxit", 100.0, 2.0, 4.0, 3.0))
    assert (row.status, row.seconds) == ("ok", Spread(median=3.0, least=2.0, most=4.0))
    assert row.gflops == pytest.approx(803.2 / 3, rel=1e-3)
    assert (row.rounds, row.dropped, row.peak_mb) == (3, 0, 5)


def test_rounds_beside_other_programs_are_dropped() -> None:
    row = row_of(CASE, series("pinxit", 1.0, 2.0, 9.0, foreign=(0.0, 0.05, 0.5)))
    assert (row.seconds, row.dropped) == (Spread(median=2.0, least=2.0, most=2.0), 1)
    noisy = row_of(CASE, series("pinxit", 1.0, 2.0, foreign=(0.0, 0.2)))
    assert (noisy.status, noisy.seconds, noisy.dropped) == ("noisy", None, 1)
    assert row_of(CASE, series("pinxit", 1.0, 2.0, foreign=(0.0, 0.2)), limit=0.3).status == "ok"


@pytest.mark.parametrize("off", [2e-4, float("inf"), float("nan")])
def test_a_wrong_output_is_a_failure_and_never_a_time(off: float) -> None:
    row = row_of(CASE, series("pinxit", 1.0, 2.0, off=off))
    assert (row.status, row.seconds, row.gflops) == ("failed", None, None)
    assert "off the reference, 1e-04 is allowed" in row.why


def test_an_output_that_nothing_judged_is_marked() -> None:
    row = row_of(CASE, series("pinxit", 1.0, 2.0, off=None))
    assert (row.status, row.why) == ("unchecked", "no reference to compare with")
    assert ratios_of(CASE, [series("pinxit", 1.0, 2.0, off=None), series("b", 1.0, 2.0, off=None)]) == []


def test_a_stack_that_broke_is_a_failure_with_its_reason() -> None:
    row = row_of(CASE, Series(stack="b", dtype="float32", error="it fell"))
    assert (row.status, row.why) == ("failed", "it fell")


def test_ratios_are_paired_round_by_round() -> None:
    ours = series("pinxit", 9.0, 1.0, 2.0, 4.0)
    peer = series("diffusers", 1.0, 3.0, 4.0, 4.0)
    (ratio,) = ratios_of(CASE, [ours, peer])
    assert (ratio.peer, ratio.times, ratio.rounds) == ("diffusers", Spread(median=2.0, least=1.0, most=3.0), 3)


def test_a_round_in_which_either_was_disturbed_makes_no_ratio() -> None:
    ours = series("pinxit", 9.0, 1.0, 2.0, foreign=(0.0, 0.9, 0.0))
    peer = series("diffusers", 1.0, 3.0, 4.0)
    (ratio,) = ratios_of(CASE, [ours, peer])
    assert (ratio.times.median, ratio.rounds) == (2.0, 1)
    wrong = series("wrong", 1.0, 0.1, 0.1, off=1.0)
    assert [one.peer for one in ratios_of(CASE, [ours, wrong, peer])] == ["diffusers"]
    assert ratios_of(CASE, [peer, wrong]) == []


def test_operations_are_those_counted_by_hand_for_sd_1_5() -> None:
    assert unet_cost(UNET, 64, 64).flops / 1e9 == pytest.approx(803, rel=0.005)
    assert unet_cost(UNET, 32, 32).flops / 1e9 == pytest.approx(180, rel=0.005)
    assert vae_cost(VAE, 64, 64).flops / 1e9 == pytest.approx(2480 + 35, rel=0.005)
    image = Case(name="image", kind="image", height=64, width=64, steps=20)
    assert image.flops / 1e12 == pytest.approx(34.6, rel=0.01)


def test_distance_is_relative_and_infinite_where_outputs_cannot_be_compared() -> None:
    ones = np.ones((2, 3), np.float32)
    assert distance(ones * 1.5, ones) == pytest.approx(0.5)
    assert distance(ones[:1], ones) == float("inf")
    assert distance(ones * np.nan, ones) == float("inf")


def test_inputs_are_the_same_every_time_and_differ_by_size() -> None:
    small = Case(name="s", kind="unet", height=2, width=4)
    assert np.array_equal(inputs_of(small).latent, inputs_of(small).latent)
    assert inputs_of(small).latent.shape == (1, 4, 2, 4)
    assert inputs_of(small).tokens.shape == (2, 77, 768)
    assert inputs_of(CASE).latent[0, 0, 0, 0] != inputs_of(small).latent[0, 0, 0, 0]


def test_every_headline_is_a_case_of_its_tier() -> None:
    for tier in TIERS.values():
        assert not tier.cases or tier.headline in {case.name for case in tier.cases}
