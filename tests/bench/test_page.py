from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pinxit.bench.builtin import Everyday
from pinxit.bench.goals import GOALS, NOTES, goal_rows
from pinxit.bench.page import gate, markdown, merge, record, recorded
from pinxit.bench.report import Report, machine_facts, text
from pinxit.bench.score import Ratio, Row, Spread
from pinxit.engine.machine import Gpu, Machine

MACHINE = Machine(
    cores=2,
    memory=2**34,
    available=2**33,
    flags=frozenset({"avx2", "avx512_bf16", "sse"}),
    gpus=(Gpu(name="Painter 9", device="cuda:0", memory=2**33, free=2**33, bfloat16=True),),
)
KEYS = {
    "tier",
    "date",
    "default",
    "headline_case",
    "ratio_vs_diffusers_fp32",
    "ratio_vs_diffusers_bf16",
    "fp32_ratio_vs_diffusers_fp32",
    "peak_rss_ratio_vs_diffusers_fp32",
    "peak_rss_ratio_vs_diffusers_bf16",
    "builtin_cold_seconds",
    "builtin_warm_seconds",
    "builtin_peak_rss_mb",
    "builtin_cold_seconds_4_steps",
    "builtin_warm_seconds_4_steps",
    "threads",
    "machine",
    "versions",
    "ceiling_gflops",
    "weights_sha256",
    "rows",
    "ratios",
    "skipped",
}


def spread(value: float) -> Spread:
    return Spread(median=value, min=value, max=value)


def row(case: str, stack: str, seconds: float = 2.0, **given: Any) -> Row:
    facts: dict[str, Any] = {"numbers": "bfloat16", "status": "ok", "seconds": spread(seconds), "rounds": 3}
    return Row(case=case, stack=stack, **(facts | given))


def report(tier: str = "quick", date: str = "2026-01-01 00:00 UTC", **given: Any) -> Report:
    machine = machine_facts(MACHINE)
    return Report(tier=tier, date=date, threads=1, default="pinxit-bf16", machine=machine, **given)


def full(date: str, step: float, **given: Any) -> dict[str, Any]:
    """A run of one guided step, `step` times as fast as diffusers in float32."""
    rows = [row("pair-64", "pinxit-bf16", 5.0, peak_mb=2000), row("pair-64", "diffusers-fp32", 12.0, peak_mb=4000)]
    ratios = [Ratio(case="pair-64", ours="pinxit-bf16", peer="diffusers-fp32", times=spread(step), rounds=3)]
    return report("full", date, rows=rows, ratios=ratios, **given).to_json()


def test_the_object_says_everything_once_and_null_for_what_was_not_measured() -> None:
    empty: dict[str, Any] = json.loads(json.dumps(report().to_json()))
    assert set(empty) == KEYS
    assert empty["ratio_vs_diffusers_fp32"] is None
    assert empty["builtin_cold_seconds"] is None
    found = full("2026-01-01", 2.5)
    assert (found["ratio_vs_diffusers_fp32"], found["peak_rss_ratio_vs_diffusers_fp32"]) == (2.5, 0.5)


def test_a_failed_row_shows_its_reason_instead_of_a_time() -> None:
    wrong = row("unet-32", "openvino-bf16", seconds=1.0, status="failed", why="5.0e-01 off")
    found = report(rows=[Row(case=wrong.case, stack=wrong.stack, numbers="bfloat16", status="failed", why=wrong.why)])
    found.skipped["compile-bf16"] = "not installed: x"
    (line,) = [line for line in text(found.to_json()).splitlines() if "openvino-bf16" in line]
    assert "FAILED" in line
    assert "5.0e-01 off" in line
    assert "skipped compile-bf16: not installed: x" in text(found.to_json())


def test_rows_tell_their_share_of_the_ceiling_and_when_the_first_step_was_done() -> None:
    found = report(
        ceiling={"bfloat16": 400.0},
        rows=[row("unet-32", "pinxit-bf16", gflops=300.0), row("cold-256", "pinxit-bf16", first_step_seconds=3.25)],
    )
    shown = text(found.to_json())
    assert "300 (75%)" in shown
    assert "first step done after 3.2 s" in shown


def test_a_run_takes_the_place_of_what_it_measured_again_and_of_nothing_else() -> None:
    first = full("2026-01-01 00:00 UTC", 2.5, skipped={"sdcpp-f16": "not installed: x", "diffusers-bf16": "late"})
    second = report(
        "full",
        "2026-01-02 00:00 UTC",
        rows=[row("pair-64", "pinxit-bf16", 4.0), row("unet-64", "diffusers-bf16")],
        builtin=[Everyday(steps=None, cold_seconds=4.0, warm_seconds=2.0, peak_mb=700)],
    ).to_json()
    merged = merge(first, second)
    assert [(one["date"][:10], one["case"], one["stack"]) for one in merged["rows"]] == [
        ("2026-01-02", "unet-64", "diffusers-bf16"),
        ("2026-01-02", "pair-64", "pinxit-bf16"),
        ("2026-01-01", "pair-64", "diffusers-fp32"),
    ]
    assert merged["ratio_vs_diffusers_fp32"] == 2.5
    assert merged["skipped"] == {"sdcpp-f16": "not installed: x"}
    assert merged["builtin_cold_seconds"] == 4.0
    assert merge(merged, first)["builtin_cold_seconds"] == 4.0
    assert "2026-01-01 00:00 UTC to 2026-01-02 00:00 UTC" in markdown(merged)


def test_what_another_machine_measured_is_forgotten() -> None:
    first = full("2026-01-01 00:00 UTC", 2.5)
    second = {**full("2026-01-02 00:00 UTC", 2.0), "ratios": [], "machine": {**first["machine"], "cores": 64}}
    assert merge(first, second)["ratios"] == []
    assert merge(first, {**second, "machine": first["machine"], "threads": 2})["ratios"] == []
    assert merge(None, first) == first


def test_the_page_has_every_tier_and_every_goal(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "performance.md"
    everyday = [
        Everyday(steps=None, cold_seconds=4.0, warm_seconds=2.0, peak_mb=700),
        Everyday(steps=4, cold_seconds=3.0, warm_seconds=0.5, peak_mb=690),
    ]
    record(report("builtin", builtin=everyday).to_json(), page)
    (page.with_suffix("") / NOTES).write_text('step-512-diffusers-fp32 = "Tried this and that."\n', "utf-8")
    record(full("2026-01-01 00:00 UTC", 2.5), page)
    record(full("2026-01-01 00:00 UTC", 2.5), page)
    written = page.read_text("utf-8")
    assert written.count("## `pinxit bench full`") == 1
    assert "| its own | 4.00 | 2.00 | 700 |" in written
    assert "| 4 | 3.00 | 0.50 |  |" in written
    assert "2 cores (avx2, avx512_bf16), 16.0 GiB, Painter 9; 1 threads" in written
    assert "at least 2.7x | 2.5x | no | Tried this and that. |" in written
    assert {path.name for path in page.with_suffix("").iterdir()} == {"full.json", "builtin.json", NOTES}
    assert (recorded(page.with_suffix("") / "full.json") or {})["ratio_vs_diffusers_fp32"] == 2.5


def test_goals_say_whether_they_are_met() -> None:
    found = full("2026-01-01", 2.75)
    rows = {name: told for name, *told in goal_rows({"full": found}, {"memory-512": "It is large."})}
    assert rows["ours on pair-64, times as fast as diffusers-fp32: at least 2.7x"] == ["2.75x", "yes", ""]
    assert rows["peak memory of a 512 px picture: at most 2600 MB"] == ["", "not measured", "It is large."]
    slower = {name: told for name, *told in goal_rows({"full": full("2026-01-01", 2.6)}, {})}
    assert slower["ours on pair-64, times as fast as diffusers-fp32: at least 2.7x"] == ["2.6x", "no", ""]


def test_goals_of_memory_times_and_first_steps_are_read_from_their_rows() -> None:
    cold = [
        row("cold-512", "pinxit-bf16", 20.0, peak_mb=2300, first_step_seconds=8.0),
        row("cold-512", "pinxit-int8", 15.0, peak_mb=1400),
        row("cold-512", "compile-bf16", 180.0, peak_mb=4600, first_step_seconds=160.0),
        row("decode-64", "pinxit-bf16", 6.0, work_mb=260),
        row("pair-64", "sdcpp-f16", 50.0),
    ]
    ratios = [
        Ratio(case="pair-64", ours="pinxit-bf16", peer=name, times=spread(value), rounds=1)
        for name, value in (("sdcpp-f16", 9.5), ("sdcpp-q8_0", 20.0))
    ]
    found = report("full", rows=cold, ratios=ratios).to_json()
    measured = {goal.name: goal.measure(found) for goal in GOALS}
    assert measured["memory-512"] == 2300
    assert measured["memory-512-int8"] == 1400
    assert measured["memory-compile"] == 0.5
    assert measured["first-step-compile"] == 20.0
    assert (measured["decode-512"], measured["decode-512-memory"]) == (6.0, 260)
    assert measured["step-512-sdcpp"] == 9.5
    met = {goal.name: goal.met(value) for goal in GOALS if (value := measured[goal.name]) is not None}
    assert (met["memory-512"], met["decode-512-memory"], met["first-step-compile"]) == (True, False, False)


def test_every_goal_has_its_own_name_and_every_note_its_goal() -> None:
    names = [goal.name for goal in GOALS]
    assert len(set(names)) == len(names)


def test_the_gate_says_no_under_nine_tenths_of_what_is_recorded() -> None:
    before = full("2026-01-01", 2.5)
    assert gate(full("2026-01-02", 2.3), before) == []
    (told,) = gate(full("2026-01-02", 2.2), before)
    assert told == "ratio_vs_diffusers_fp32 is 2.20, under 0.9 of the recorded 2.50"
    assert gate(report().to_json(), before) == []
