from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from pinxit.bench.cases import Case
from pinxit.bench.driver import Bench, Child, Series, StackError, StackSpec
from pinxit.bench.noise import Clock, foreign_cores, read_clock
from tests.bench.fakes import fake

CASE = Case(name="unet-2", kind="unet", height=2, width=2)


def measured(bench: Bench, specs: Sequence[StackSpec], case: Case = CASE) -> list[Series]:
    with ExitStack() as stack:
        return bench.measure(case, [stack.enter_context(Child(spec, threads=1)) for spec in specs])


def test_stacks_take_turns_and_are_compared_with_the_reference(tmp_path: Path) -> None:
    log, bench = tmp_path / "log", Bench(folder=tmp_path, rounds=2)
    with Child(fake("diffusers", tmp_path / "reference"), threads=1) as child:
        assert child.ask("versions") == {"versions": {"diffusers": "1.0"}}
        bench.record_reference(CASE, child)
    right, wrong, broken = measured(
        bench, [fake("pinxit", log), fake("b", log, value=1.1), fake("c", log, broken="unet")]
    )
    assert log.read_text("ascii").split("\n")[:-1] == ["pinxit float32", "b float32"] * 3
    assert [sample.off for sample in right.samples] == [0.0, 0.0, 0.0]
    assert wrong.samples[0].off == pytest.approx(0.1)
    assert right.peak_bytes > 2**20
    assert all(sample.seconds > 0 for sample in right.samples)
    assert (broken.samples, broken.error) == ([], "RuntimeError: cannot load unet-2")


def test_without_a_reference_nothing_is_compared(tmp_path: Path) -> None:
    (series,) = measured(Bench(folder=tmp_path, rounds=1), [fake("pinxit", tmp_path / "log")])
    assert [sample.off for sample in series.samples] == [None, None]


def test_a_stack_that_cannot_start_says_why(tmp_path: Path) -> None:
    with (
        Child(fake("b", tmp_path / "log", broken="start"), threads=1) as child,
        pytest.raises(StackError, match="RuntimeError: cannot start"),
    ):
        child.ask("versions")


def test_a_stack_that_is_unknown_or_asked_nonsense_says_so(tmp_path: Path) -> None:
    with Child(fake("b", tmp_path / "log"), threads=1) as child, pytest.raises(StackError, match="no command sing"):
        child.ask("sing")


def test_foreign_cores_are_what_others_kept_busy() -> None:
    before, after = Clock(wall=10.0, busy=100.0), Clock(wall=12.0, busy=104.0)
    assert foreign_cores(before, after, own=3.0) == pytest.approx(0.5)
    assert foreign_cores(before, after, own=9.0) == 0.0
    assert foreign_cores(before, Clock(wall=12.0, busy=None), own=0.0) is None


def test_the_clock_reads_busy_time_without_idle_and_guest_time(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu 100 20 30 4000 500 6 7 8 90 10\ncpu0 1 1 1 1\n", "ascii")
    assert read_clock(stat).busy == pytest.approx(1.71, rel=1e-6)
    assert read_clock(tmp_path / "absent").busy is None
