from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pinxit.bench import command
from pinxit.bench.builtin import Everyday, NoPicture
from pinxit.bench.cases import TIERS, Case, Dtype
from pinxit.bench.command import compare, main, parse
from pinxit.bench.driver import StackSpec
from pinxit.bench.report import Report, machine_facts, markdown, text, write_page
from pinxit.engine.machine import Machine
from tests.bench.fakes import fake

MACHINE = Machine(cores=2, memory=2**34, available=2**33, flags=frozenset({"avx2", "avx512_bf16", "sse"}))
KEYS = {
    "tier",
    "date",
    "ratio_vs_diffusers_fp32",
    "ratio_vs_diffusers_bf16",
    "builtin_cold_seconds",
    "builtin_warm_seconds",
    "builtin_peak_rss_mb",
    "builtin_cold_seconds_4_steps",
    "builtin_warm_seconds_4_steps",
    "headline_case",
    "threads",
    "rounds",
    "machine",
    "versions",
    "ceiling_gflops",
    "weights_sha256",
    "rows",
    "ratios",
    "skipped",
}


def report(tier: str = "quick", **given: Any) -> Report:
    machine = machine_facts(MACHINE)
    return Report(tier=tier, date="2026-01-01 00:00 UTC", threads=1, rounds=1, machine=machine, **given)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A comparison of fakes: ours is right, and one peer is not."""
    log = tmp_path_factory.mktemp("bench") / "log"
    case = Case(name="unet-32", kind="unet", height=32, width=32)
    tier = replace(TIERS["quick"], cases=(case,), rounds=1, peers=("diffusers", "absent", "wrong", "late"))
    options = replace(parse(["quick", "--threads", "1", "--noise", "99"]), tier=tier)

    def spec(name: str, dtype: Dtype) -> StackSpec:
        value = 1.5 if name == "wrong" else 1.0
        return fake(name, log, dtype, value=value, broken="start" if name == "late" else "")

    found = report(cases=(case,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "why_absent", lambda name: "not installed: x" if name == "absent" else "")
        patch.setattr(command, "CEILING", 64)
        compare(found, options, spec)
    return found


def test_a_comparison_says_everything_once(compared: Report) -> None:
    found: dict[str, Any] = json.loads(json.dumps(compared.to_json()))
    assert set(found) == KEYS
    status = {(row["dtype"], row["stack"]): row["status"] for row in found["rows"]}
    assert status == {
        (dtype, stack): "failed" if stack == "wrong" else "ok"
        for dtype in ("float32", "bfloat16")
        for stack in ("pinxit", "diffusers", "wrong")
    }
    assert found["skipped"]["absent"] == "not installed: x"
    assert found["skipped"]["late (bfloat16)"] == "RuntimeError: cannot start"
    assert [(one["dtype"], one["peer"]) for one in found["ratios"]] == [
        ("float32", "diffusers"),
        ("bfloat16", "diffusers"),
    ]
    assert found["ratio_vs_diffusers_fp32"] > 0
    assert found["ratio_vs_diffusers_bf16"] > 0
    assert found["versions"] == {"pinxit": "1.0", "diffusers": "1.0", "wrong": "1.0"}
    assert set(found["ceiling_gflops"]) == {"float32", "bfloat16"}


def test_a_failed_row_shows_its_reason_instead_of_a_time(compared: Report) -> None:
    shown = text(compared.to_json())
    (line,) = [line for line in shown.splitlines() if "| float32 | wrong |" in line]
    assert "FAILED" in line
    assert "5.0e-01 off the reference, 1e-04 is allowed" in line
    assert "skipped absent: not installed: x" in shown


def test_the_page_keeps_the_last_run_of_every_tier(compared: Report, tmp_path: Path) -> None:
    page = tmp_path / "docs" / "performance.md"
    everyday = [
        Everyday(steps=None, cold_seconds=4.0, warm_seconds=2.0, peak_mb=700),
        Everyday(steps=4, cold_seconds=3.0, warm_seconds=0.5, peak_mb=690),
    ]
    write_page(report("builtin", builtin=everyday).to_json(), page)
    write_page(compared.to_json(), page)
    write_page(compared.to_json(), page)
    written = page.read_text("utf-8")
    assert written.count("## `pinxit bench quick`") == 1
    assert "| its own | 4.00 | 2.00 | 700 |" in written
    assert "| 4 | 3.00 | 0.50 |  |" in written
    assert "2 cores (avx2, avx512_bf16), 16.0 GiB; 1 threads" in written
    assert {path.name for path in (tmp_path / "docs" / "performance").iterdir()} == {"quick.json", "builtin.json"}


def test_numbers_that_were_not_measured_are_null() -> None:
    found = report("builtin").to_json()
    assert found["ratio_vs_diffusers_fp32"] is None
    assert found["builtin_cold_seconds"] is None
    assert "## `pinxit bench builtin`" in markdown(found)


def test_the_built_in_model_that_is_missing_is_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def missing(*, steps: int | None, rounds: int) -> Everyday:
        raise NoPicture("There is no model.")

    monkeypatch.setattr(command, "measure_builtin", missing)
    output = tmp_path / "found.json"
    assert main(["builtin", "--json", "--output", str(output)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["skipped"] == {"built-in model": "There is no model."}
    assert json.loads(output.read_text("utf-8")) == printed


def test_the_command_line_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["slow"]) == 2
    assert main(["quick", "--rounds", "0"]) == 2
    assert main(["quick", "--threads", "0"]) == 2
    assert main(["quick", "--case", "unet-1"]) == 2
    assert "there are unet-32" in capsys.readouterr().err
    assert main(["quick", "--peer", "nobody"]) == 2
    assert "there are pinxit, diffusers" in capsys.readouterr().err
    assert main(["--help"]) == 0
    chosen = parse(["full", "--case", "pair-64", "--rounds", "2", "--dtype", "bfloat16", "--peer", "openvino"])
    assert chosen.tier.peers == ("openvino",)
    assert [case.name for case in chosen.tier.cases] == ["pair-64"]
    assert (chosen.tier.rounds, chosen.dtypes, chosen.tier.builtin) == (2, ("bfloat16",), False)
