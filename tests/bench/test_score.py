from __future__ import annotations

import numpy as np
import pytest

from pinxit.bench.cases import SD15, SDXL, Case, Numbers, distance, inputs_of
from pinxit.bench.driver import Sample, Series
from pinxit.bench.score import Spread, ratios_of, row_of
from pinxit.models.common.cost import unet_cost, vae_cost

CASE = Case(name="unet-64", kind="unet", height=64, width=64)
OURS = "pinxit-bf16"


def series(
    stack: str,
    *seconds: float,
    off: float | None = 0.0,
    foreign: tuple[float, ...] = (),
    numbers: Numbers = "float32",
    warming: int = 1,
    compared: bool = True,
) -> Series:
    loads = foreign or (0.0,) * len(seconds)
    samples = [Sample(seconds=s, foreign=f, off=off) for s, f in zip(seconds, loads, strict=True)]
    return Series(
        stack=stack,
        numbers=numbers,
        samples=samples,
        warming=warming,
        compared=compared,
        peak_bytes=5 * 2**20,
        held_bytes=4 * 2**20,
        work_bytes=3 * 2**20,
    )


def test_the_first_round_warms_up_and_does_not_count() -> None:
    row = row_of(CASE, series(OURS, 100.0, 2.0, 4.0, 3.0))
    assert (row.status, row.seconds) == ("ok", Spread(median=3.0, min=2.0, max=4.0))
    assert row.gflops == pytest.approx(803.2 / 3, rel=1e-3)
    assert (row.rounds, row.dropped_rounds, row.peak_mb, row.held_mb, row.work_mb) == (3, 0, 5, 4, 3)
    assert row.first_seconds == 100.0


def test_what_runs_once_counts_at_once() -> None:
    row = row_of(CASE, series(OURS, 100.0, warming=0))
    assert (row.rounds, row.first_seconds, row.seconds) == (1, None, Spread(median=100.0, min=100.0, max=100.0))


def test_rounds_beside_other_programs_are_dropped() -> None:
    row = row_of(CASE, series(OURS, 1.0, 2.0, 9.0, foreign=(0.0, 0.05, 0.5)))
    assert (row.seconds, row.dropped_rounds) == (Spread(median=2.0, min=2.0, max=2.0), 1)
    noisy = row_of(CASE, series(OURS, 1.0, 2.0, foreign=(0.0, 0.2)))
    assert (noisy.status, noisy.seconds, noisy.dropped_rounds) == ("noisy", None, 1)
    assert row_of(CASE, series(OURS, 1.0, 2.0, foreign=(0.0, 0.2)), limit=0.3).status == "ok"


@pytest.mark.parametrize("off", [2e-4, float("inf"), float("nan")])
def test_a_wrong_output_is_a_failure_and_never_a_time(off: float) -> None:
    row = row_of(CASE, series(OURS, 1.0, 2.0, off=off))
    assert (row.status, row.seconds, row.gflops) == ("failed", None, None)
    assert "off the reference, 1e-04 is allowed" in row.why


def test_each_format_has_its_own_tolerance() -> None:
    assert row_of(CASE, series(OURS, 1.0, 2.0, off=1.8e-2, numbers="bfloat16")).status == "ok"
    assert row_of(CASE, series(OURS, 1.0, 2.0, off=4e-2, numbers="bfloat16")).status == "failed"
    assert row_of(CASE, series("openvino-bf16", 1.0, 2.0, off=4e-2, numbers="bfloat16")).status == "ok"
    assert row_of(CASE, series("openvino-bf16", 1.0, 2.0, off=2e-1, numbers="bfloat16")).status == "failed"
    assert row_of(CASE, series("openvino-fp32", 1.0, 2.0, off=2e-4)).status == "failed"
    assert row_of(CASE, series(OURS, 1.0, 2.0, off=4e-2, numbers="int8")).status == "ok"
    assert row_of(CASE, series(OURS, 1.0, 2.0, off=0.9, numbers="int8")).status == "failed"


def test_an_output_that_nothing_judged_is_marked_and_makes_no_ratio() -> None:
    row = row_of(CASE, series(OURS, 1.0, 2.0, off=None))
    assert (row.status, row.why) == ("unchecked", "nothing to compare with")
    pair = [series(OURS, 1.0, 2.0, off=None), series("b", 1.0, 2.0, off=None)]
    assert ratios_of(CASE, pair, OURS) == []


def test_a_program_whose_output_cannot_be_compared_is_labelled_and_still_held_against_ours() -> None:
    peer = series("sdcpp-f16", 1.0, 6.0, off=None, compared=False, numbers="float16")
    assert (row_of(CASE, peer).status, row_of(CASE, peer).why) == ("unchecked", "not compared")
    (ratio,) = ratios_of(CASE, [series(OURS, 1.0, 2.0), peer], OURS)
    assert ratio.times.median == 3.0


def test_a_stack_that_broke_is_a_failure_with_its_reason() -> None:
    row = row_of(CASE, Series(stack="b", numbers="float32", error="it fell"))
    assert (row.status, row.why) == ("failed", "it fell")


def test_ratios_are_paired_round_by_round() -> None:
    ours = series(OURS, 9.0, 1.0, 2.0, 4.0)
    peer = series("diffusers-fp32", 1.0, 3.0, 4.0, 4.0)
    (ratio,) = ratios_of(CASE, [ours, peer], OURS)
    assert (ratio.ours, ratio.peer, ratio.rounds) == (OURS, "diffusers-fp32", 3)
    assert ratio.times == Spread(median=2.0, min=1.0, max=3.0)


def test_a_round_in_which_either_was_disturbed_makes_no_ratio() -> None:
    ours = series(OURS, 9.0, 1.0, 2.0, foreign=(0.0, 0.9, 0.0))
    peer = series("diffusers-fp32", 1.0, 3.0, 4.0)
    (ratio,) = ratios_of(CASE, [ours, peer], OURS)
    assert (ratio.times.median, ratio.rounds) == (2.0, 1)
    wrong = series("wrong", 1.0, 0.1, 0.1, off=1.0)
    assert [one.peer for one in ratios_of(CASE, [ours, wrong, peer], OURS)] == ["diffusers-fp32"]
    assert ratios_of(CASE, [peer, wrong], OURS) == []


def test_what_users_get_is_held_against_all_and_the_rest_of_ours_against_its_like() -> None:
    group = [
        series(OURS, 1.0, 1.0, numbers="bfloat16"),
        series("pinxit-fp32", 1.0, 1.0),
        series("pinxit-int8", 1.0, 1.0, numbers="int8"),
        series("diffusers-fp32", 1.0, 1.0),
        series("openvino-int8", 1.0, 1.0, numbers="int8"),
    ]
    assert [(one.ours, one.peer) for one in ratios_of(CASE, group, OURS)] == [
        (OURS, "diffusers-fp32"),
        (OURS, "openvino-int8"),
        ("pinxit-fp32", "diffusers-fp32"),
        ("pinxit-int8", "diffusers-fp32"),
        ("pinxit-int8", "openvino-int8"),
    ]


def test_operations_are_those_counted_by_hand_for_sd_1_5() -> None:
    assert unet_cost(SD15.unet, 64, 64).flops / 1e9 == pytest.approx(803, rel=0.005)
    assert unet_cost(SD15.unet, 32, 32).flops / 1e9 == pytest.approx(180, rel=0.005)
    assert unet_cost(SDXL.unet, 128, 128).flops / 1e9 == pytest.approx(6761, rel=0.005)
    assert vae_cost(SD15.vae, 64, 64).flops / 1e9 == pytest.approx(2480 + 35, rel=0.005)
    image = Case(name="image", kind="image", height=64, width=64, steps=20)
    assert (image.flops or 0) / 1e12 == pytest.approx(34.6, rel=0.01)
    assert Case(name="text", kind="text").flops is None


def test_distance_is_relative_and_infinite_where_outputs_cannot_be_compared() -> None:
    ones = np.ones((2, 3), np.float32)
    assert distance(ones * 1.5, ones) == pytest.approx(0.5)
    assert distance(ones[:1], ones) == float("inf")
    assert distance(ones * np.nan, ones) == float("inf")


def test_inputs_are_the_same_every_time_and_differ_by_size() -> None:
    small = Case(name="s", kind="unet", height=2, width=4)
    assert np.array_equal(inputs_of(small).latent, inputs_of(small).latent)
    assert inputs_of(small).latent.shape == (1, 4, 2, 4)
    assert inputs_of(small).picture.shape == (1, 3, 16, 32)
    assert np.abs(inputs_of(small).picture).max() <= 1
    assert inputs_of(small).tokens.shape == (2, 77, 768)
    assert inputs_of(small).words.shape == (2, 77)
    assert inputs_of(small).pooled.size == 0
    assert inputs_of(Case(name="x", kind="pair", model="sdxl")).pooled.shape == (2, 1280)
    assert inputs_of(CASE).latent[0, 0, 0, 0] != inputs_of(small).latent[0, 0, 0, 0]
