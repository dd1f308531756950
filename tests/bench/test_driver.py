from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from pinxit.bench.cases import Case
from pinxit.bench.driver import Bench, Child, Series, StackError, StackSpec, environment
from pinxit.bench.memory import Meter, held_bytes, peak_bytes, status_bytes
from pinxit.bench.noise import Clock, foreign_cores, read_clock
from tests.bench.fakes import fake

CASE = Case(name="unet-2", kind="unet", height=2, width=2)


def bench(folder: Path) -> Bench:
    return Bench(folder=folder, references=folder, reference_stack="diffusers-fp32")


def measured(shared: Bench, specs: Sequence[StackSpec], rounds: int, warmed: list[str] | None = None) -> list[Series]:
    with ExitStack() as stack:
        children = [stack.enter_context(Child(spec, threads=1, scratch=shared.folder)) for spec in specs]
        return shared.measure(CASE, children, rounds, lambda child: (warmed or []).append(child.spec.name))


def test_stacks_take_turns_and_are_compared_with_the_reference(tmp_path: Path) -> None:
    log, shared = tmp_path / "log", bench(tmp_path)
    with Child(fake("diffusers-fp32", tmp_path / "reference"), threads=1, scratch=tmp_path) as child:
        assert child.ask("versions") == {"versions": {"diffusers-fp32": "1.0"}}
        shared.record_reference(CASE, child)
    specs = [fake("pinxit-fp32", log), fake("b", log, value=1.1), fake("c", log, broken="unet")]
    right, wrong, broken = measured(shared, specs, 2)
    assert log.read_text("ascii").split("\n")[:-1] == ["pinxit-fp32 unet-2", "b unet-2"] * 4, "the last watches memory"
    assert [sample.off for sample in right.samples] == [0.0, 0.0, 0.0]
    assert wrong.samples[0].off == pytest.approx(0.1)
    assert right.peak_bytes >= right.held_bytes > 2**20
    assert all(sample.seconds > 0 for sample in right.samples)
    assert (broken.samples, broken.error) == ([], "RuntimeError: cannot load unet-2")


def test_the_reference_stack_brings_what_others_are_compared_with(tmp_path: Path) -> None:
    log = tmp_path / "log"
    first, second = measured(bench(tmp_path), [fake("diffusers-fp32", log), fake("b", log, value=1.5)], 1)
    assert [sample.off for sample in first.samples] == [0.0, 0.0]
    assert second.samples[0].off == pytest.approx(0.5)
    (later,) = measured(bench(tmp_path), [fake("diffusers-fp32", log, value=2.0)], 1)
    assert later.samples[0].off == pytest.approx(1.0)


def test_without_a_reference_nothing_is_compared(tmp_path: Path) -> None:
    (series,) = measured(bench(tmp_path), [fake("pinxit-fp32", tmp_path / "log")], 1)
    assert [sample.off for sample in series.samples] == [None, None]


def test_what_runs_once_is_warmed_up_with_something_else(tmp_path: Path) -> None:
    warmed = ["so far"]
    (series,) = measured(bench(tmp_path), [fake("b", tmp_path / "log")], 0, warmed)
    assert (len(series.samples), series.warming, warmed) == (1, 0, ["so far", "b"])


def test_a_program_may_tell_its_own_seconds_and_keep_its_output(tmp_path: Path) -> None:
    np.save(tmp_path / "unet-2.npy", np.ones(3))
    spec = fake("sdcpp-f16", tmp_path / "log", told=7.5, compared=False)
    (series,) = measured(bench(tmp_path), [spec], 1)
    assert [(sample.seconds, sample.off) for sample in series.samples] == [(7.5, None)] * 2
    assert not series.compared


def test_a_slow_program_runs_in_one_round_that_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    slow, usual = measured(bench(tmp_path), [fake("sdcpp-f16", log, slow=True), fake("b", log)], 2)
    assert (len(slow.samples), slow.warming) == (1, 0)
    assert (len(usual.samples), usual.warming) == (3, 1)
    assert [line.split()[0] for line in log.read_text("ascii").splitlines()] == ["b", "sdcpp-f16", "b", "b", "b"]


def test_a_stack_that_cannot_start_says_why(tmp_path: Path) -> None:
    with (
        Child(fake("b", tmp_path / "log", broken="start"), threads=1, scratch=tmp_path) as child,
        pytest.raises(StackError, match="RuntimeError: cannot start"),
    ):
        child.ask("versions")


def test_a_stack_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinxit.bench.driver.PATIENCE", 0.01)
    with (
        Child(fake("b", tmp_path / "log"), threads=1, scratch=tmp_path) as child,
        pytest.raises(StackError, match="took too long"),
    ):
        child.ask("versions")


def test_a_stack_that_is_unknown_or_asked_nonsense_says_so(tmp_path: Path) -> None:
    with (
        Child(fake("b", tmp_path / "log"), threads=1, scratch=tmp_path) as child,
        pytest.raises(StackError, match="no command sing"),
    ):
        child.ask("sing")


def test_every_process_gets_as_many_threads_and_no_compiled_code(tmp_path: Path) -> None:
    given = environment(3, tmp_path)
    assert (given["OMP_NUM_THREADS"], given["MKL_NUM_THREADS"]) == ("3", "3")
    assert Path(given["TORCHINDUCTOR_CACHE_DIR"]).parent == tmp_path


def test_memory_of_a_run_is_what_rose_above_what_was_held() -> None:
    held, size = np.ones(2**21), 2**25
    meter = Meter()
    meter.begin_case()
    meter.begin_run()
    taken = np.ones(size // 8)
    assert size * 0.9 < meter.end_run() < size * 1.5
    assert meter.peak > held.nbytes + taken.nbytes
    assert peak_bytes() >= held_bytes() > 0
    assert status_bytes("NoSuchLine") == 0


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
