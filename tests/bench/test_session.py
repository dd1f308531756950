from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pinxit.bench import session
from pinxit.bench.cases import Case
from pinxit.bench.driver import StackSpec
from pinxit.bench.report import Report, machine_facts
from pinxit.bench.session import Setting, compare, groups
from pinxit.bench.stacks import STACKS, Stack, why_absent
from pinxit.bench.tiers import GPU, QUICK, Tier, Turn
from pinxit.engine.machine import Machine
from tests.bench.fakes import fake

MACHINE = Machine(cores=2, memory=2**34, available=2**33, flags=frozenset({"avx2", "avx512_bf16", "sse"}))
UNET = Case(name="unet-32", kind="unet", height=32, width=32)
IMAGE = Case(name="image-256-20", kind="image", height=32, width=32, steps=20)


def report() -> Report:
    return Report(
        tier="quick", date="2026-01-01 00:00 UTC", threads=1, default="pinxit-bf16", machine=machine_facts(MACHINE)
    )


def tier(*turns: Turn) -> Tier:
    return replace(QUICK, turns=turns, builtin=False)


class Stage:
    """A comparison of fakes. `behave` are the options of single stacks, `log` is where they note their turns."""

    def __init__(self, folder: Path, behave: Mapping[str, dict[str, Any]]) -> None:
        self.folder, self.behave, self.log, self.saved = folder, behave, folder / "log", 0

    def run(self, *turns: Turn, ceiling: bool = False) -> Report:
        """Compare, without measuring the machine's ceiling unless it is asked for."""
        found = report()
        found.ceiling |= {} if ceiling else {"float32": 1.0}
        compare(found, self.setting(*turns))
        return found

    def setting(self, *turns: Turn) -> Setting:
        def spec(name: str, root: Path, device: str) -> StackSpec:
            stack = STACKS[name]
            return fake(name, self.log, stack.numbers, compared=stack.compared, **self.behave.get(name, {}))

        return Setting(
            tier=tier(*turns),
            threads=1,
            noise=99.0,
            cache=self.folder,
            default="pinxit-bf16",
            machine=MACHINE,
            save=self._save,
            spec=spec,
        )

    def _save(self) -> None:
        self.saved += 1


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Stack]:
    """All stacks as if they were installed, needing neither weights nor conversions."""
    found = {name: replace(stack, needs=(), weights="", converter="") for name, stack in STACKS.items()}
    monkeypatch.setattr(session, "STACKS", found)
    monkeypatch.setattr("pinxit.bench.stacks.STACKS", found)
    monkeypatch.setattr(session, "CEILING", 64)
    return found


@pytest.mark.usefixtures("stacks")
def test_a_comparison_measures_every_stack_and_says_what_is_wrong(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {"openvino-bf16": {"value": 1.5}, "compile-bf16": {"broken": "start"}})
    names = ("pinxit-bf16", "pinxit-fp32", "diffusers-fp32", "openvino-bf16", "compile-bf16")
    found = stage.run(Turn(case=UNET, stacks=names, rounds=1), ceiling=True)
    assert {row.stack: row.status for row in found.rows} == {
        "pinxit-bf16": "ok",
        "pinxit-fp32": "ok",
        "diffusers-fp32": "ok",
        "openvino-bf16": "failed",
    }
    assert found.skipped == {"compile-bf16": "RuntimeError: cannot start"}
    assert [(one.ours, one.peer) for one in found.ratios] == [
        ("pinxit-bf16", "diffusers-fp32"),
        ("pinxit-fp32", "diffusers-fp32"),
    ]
    assert set(found.ceiling) == {"float32", "bfloat16"}
    assert stage.saved > 0


@pytest.mark.usefixtures("stacks")
def test_the_reference_is_computed_apart_where_it_takes_no_part_and_kept(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {})
    turn = Turn(case=UNET, stacks=("pinxit-bf16",), rounds=1)
    assert [row.status for row in stage.run(turn).rows] == ["ok"]
    assert stage.log.read_text("ascii").count("diffusers-fp32") == 1
    stage.run(turn)
    assert stage.log.read_text("ascii").count("diffusers-fp32") == 1


def test_what_runs_once_is_not_run_again_beside_other_stacks(tmp_path: Path, stacks: dict[str, Stack]) -> None:
    for name in ("diffusers-fp32", "openvino-bf16"):
        stacks[name] = replace(stacks[name], gib=12.0)
    names = ("pinxit-bf16", "diffusers-fp32", "openvino-bf16")
    stage = Stage(tmp_path, {})
    found = stage.run(Turn(case=IMAGE, stacks=names, rounds=0))
    turns = stage.log.read_text("ascii").splitlines()
    painted = sorted(line for line in turns if line.endswith(IMAGE.name))
    assert painted == sorted(f"{name} {IMAGE.name}" for name in names)
    assert sum(line.endswith("-warm") for line in turns) == len(names)
    assert [one.peer for one in found.ratios] == ["diffusers-fp32", "openvino-bf16"]


@pytest.mark.usefixtures("stacks")
def test_whole_pictures_warm_up_once_for_a_size(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {})
    more = replace(IMAGE, name="image-256-4", steps=4)
    stage.run(*(Turn(case=case, stacks=("pinxit-bf16",), rounds=0) for case in (IMAGE, more)))
    ours = [line for line in stage.log.read_text("ascii").splitlines() if line.startswith("pinxit")]
    assert ours == [f"pinxit-bf16 {name}" for name in ("image-256-20-warm", "image-256-20", "image-256-4")]


def test_stacks_side_by_side_fit_and_have_ours_for_company() -> None:
    names = ["pinxit-bf16", "pinxit-fp32", "pinxit-int8", "diffusers-fp32", "openvino-int8", "sdcpp-f16"]
    for budget in (0.0, 10.0, 18.0, 99.0):
        found = groups(names, "pinxit-bf16", budget)
        assert {name for group in found for name in group} == set(names)
        assert all(group[0] == "pinxit-bf16" for group in found)
        assert next(group for group in found if "openvino-int8" in group).count("pinxit-int8") == 1
        assert next(group for group in found if "diffusers-fp32" in group).count("pinxit-fp32") == 1
    assert len(groups(names, "pinxit-bf16", 99.0)) == 1
    assert len(groups(names, "pinxit-bf16", 0.0)) > 2
    assert groups(["pinxit-bf16"], "pinxit-bf16", 9.0) == [["pinxit-bf16"]]


def test_a_stack_that_is_not_here_is_skipped_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = replace(STACKS["openvino-bf16"], needs=("a_module_that_nobody_has",))
    monkeypatch.setattr("pinxit.bench.stacks.STACKS", {**STACKS, "openvino-bf16": absent})
    assert why_absent("openvino-bf16", MACHINE) == "not installed: a_module_that_nobody_has"
    old = replace(MACHINE, flags=frozenset({"avx2"}))
    assert "does not multiply bfloat16" in why_absent("pinxit-bf16", old)
    found = Stage(tmp_path, {}).run(Turn(case=UNET, stacks=("openvino-bf16",), rounds=1))
    assert found.skipped == {"openvino-bf16": "not installed: a_module_that_nobody_has"}


@pytest.mark.parametrize(
    ("gib", "folder", "reason"),
    [
        (0.0, True, ""),
        (0.0, False, "converting the weights failed: .*there are no weights"),
        (1e6, True, "converting the weights takes 1000000 GiB of memory, .* are free"),
    ],
)
def test_what_a_stack_reads_is_made_once(
    tmp_path: Path, stacks: dict[str, Stack], gib: float, folder: bool, reason: str
) -> None:
    converter = "tests.bench.fakes:convert"
    stack = replace(stacks["openvino-bf16"], weights="float", converter=converter, made="made", converting=gib)
    stacks["openvino-bf16"] = stack
    if folder:
        (tmp_path / "float").mkdir()
    stage, turn = Stage(tmp_path, {}), Turn(case=UNET, stacks=("openvino-bf16",), rounds=1)
    found = stage.run(turn)
    assert re.fullmatch(reason or "measured", found.skipped.get("openvino-bf16", "measured"))
    if not reason:
        (tmp_path / "made").unlink()
        assert stage.run(turn).skipped == {}
        assert not (tmp_path / "made").exists()


def test_on_a_gpu_all_compute_in_one_format_and_are_judged_in_it(tmp_path: Path, stacks: dict[str, Stack]) -> None:
    """The tier itself, on programs that are not what they say."""
    turns = tuple(replace(turn, rounds=1) for turn in GPU.turns)
    setting = replace(Stage(tmp_path, {}).setting(), tier=replace(GPU, turns=turns), default="pinxit-fp16")
    found = report()
    found.ceiling["float16"] = 1.0
    compare(found, setting)
    assert {row.status for row in found.rows} == {"ok"}
    ours, peers = ("pinxit-fp16", "pinxit-compiled"), ("diffusers-fp16", "compile-fp16")
    pairs = {(one.ours, one.peer) for one in found.ratios if one.case == "image-512-20"}
    assert pairs == {(mine, peer) for mine in ours for peer in peers}
    kept = {path.name for path in tmp_path.glob("references/*-diffusers-fp16/*")}
    assert kept == {f"{turn.case.name}.npy" for turn in turns}
