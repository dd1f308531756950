from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pinxit.bench import command
from pinxit.bench.builtin import Everyday
from pinxit.bench.cold import NoPicture
from pinxit.bench.command import main, parse
from pinxit.bench.page import record
from pinxit.bench.report import Report
from pinxit.bench.score import Ratio, Row
from pinxit.bench.session import Setting
from pinxit.engine.machine import Machine
from tests.bench.test_page import full, row, spread

MACHINE = Machine(cores=2, memory=2**34, available=2**33, flags=frozenset({"avx512_bf16"}))


@pytest.fixture(autouse=True)
def one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "this_machine", lambda: MACHINE)


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
    assert main(["quick", "--only", "unet-1"]) == 2
    assert "there are unet-32" in capsys.readouterr().err
    assert main(["quick", "--against", "nobody"]) == 2
    assert "there are pinxit-bf16" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "pip install diffusers==" in capsys.readouterr().out.replace("\n", " ")
    chosen = parse(["full", "--only", "pair-64", "--rounds", "2", "--against", "openvino-bf16"], MACHINE)
    (turn,) = chosen.tier.turns
    assert (turn.case.name, turn.rounds, turn.stacks) == ("pair-64", 2, ("pinxit-bf16", "openvino-bf16"))


def test_ours_is_what_users_of_the_machine_get() -> None:
    old = Machine(cores=2, memory=None, available=None, flags=frozenset({"avx2"}))
    assert parse([], MACHINE).default == "pinxit-bf16"
    assert parse([], old).default == "pinxit-fp32"
    assert parse(["gpu"], old).default == "pinxit-fp16"


def test_without_a_gpu_its_tier_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu"]) == 1
    assert "There is no GPU here" in capsys.readouterr().err


def test_a_run_goes_on_where_today_left_it(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    names = [turn.case.name for turn in parse(["full"], MACHINE).tier.turns]
    run = full(now, 2.5)
    run["rows"] = [{"date": now, **row("unet-64", name).to_json()} for name in _stacks("unet-64")]
    record(run, page)
    left = parse(["full", "--write-docs", str(page), "--resume"], MACHINE).tier.turns
    assert [turn.case.name for turn in left] == [name for name in names if name != "unet-64"]
    record({**run, "rows": [{**one, "date": "2020-01-01"} for one in run["rows"]]}, page)
    assert len(parse(["full", "--write-docs", str(page), "--resume"], MACHINE).tier.turns) == len(names)


def _stacks(case: str) -> tuple[str, ...]:
    return next(turn.stacks for turn in parse(["full"], MACHINE).tier.turns if turn.case.name == case)


@pytest.mark.parametrize(("step", "code", "said"), [(2.4, 0, ""), (2.0, 1, "Slower: ratio_vs_diffusers_fp32 is 2.00")])
def test_the_check_fails_where_ours_got_slower(
    step: float,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    record(full("2026-01-01 00:00 UTC", 2.5), tmp_path / "performance.md")

    def measured(report: Report, setting: Setting) -> None:
        report.ratios.append(
            Ratio(case="pair-64", ours="pinxit-bf16", peer="diffusers-fp32", times=spread(step), rounds=3)
        )
        setting.save()

    monkeypatch.setattr(command, "compare", measured)
    kept = str(tmp_path / "performance" / "full.json")
    assert main(["full", "--only", "pair-64", "--check", kept]) == code
    assert said in capsys.readouterr().err
    assert main(["full", "--only", "pair-64", "--check", str(tmp_path / "nothing.json")]) == 0
    assert "nothing is checked" in capsys.readouterr().err


def test_ours_being_wrong_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(report: Report, setting: Setting) -> None:
        report.rows.append(Row(case="unet-32", stack="pinxit-bf16", numbers="bfloat16", status="failed", why="off"))

    monkeypatch.setattr(command, "compare", wrong)
    assert main(["quick", "--only", "unet-32"]) == 1
