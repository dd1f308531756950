"""Rounds of measurements: every stack in turn, again and again, so that slow minutes meet all of them alike."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from pinxit.bench.cases import Array, Case, Numbers, distance
from pinxit.bench.noise import Clock, foreign_cores, read_clock

PATIENCE = 1800.0
"""Seconds after which a stack that does not answer is ended."""


class StackError(Exception):
    """A stack could not start or could not compute; the text is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSpec:
    """How to start a stack: `target` is `module:factory`, `options` its keyword arguments. `compared` says whether its
    outputs are held against the reference; a stack that is `slow` runs in the first round that counts and in no other.
    """

    name: str
    target: str
    numbers: Numbers
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    compared: bool = True
    slow: bool = False

    def series(self, warming: int) -> Series:
        """No samples yet."""
        warms = 0 if self.slow else warming
        return Series(stack=self.name, numbers=self.numbers, warming=warms, compared=self.compared)


def environment(threads: int, scratch: Path) -> dict[str, str]:
    """What every measured process gets: as many threads, and no compiled code of an earlier run."""
    count = str(threads)
    return {
        **os.environ,
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"),
    }


class Child:
    """The process of one stack. A context: leaving it ends the process."""

    def __init__(self, spec: StackSpec, *, threads: int, scratch: Path) -> None:
        self.spec = spec
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pinxit.bench.child", "serve", spec.target, json.dumps(dict(spec.options))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(threads, scratch),
        )
        self._ready = False

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def ask(self, do: str, **details: object) -> dict[str, Any]:
        """Send one command and wait for its answer. Raises StackError."""
        if not self._ready:
            self._answer()
            self._ready = True
        if self._process.stdin is None:
            raise StackError("the process has no input")
        try:
            self._process.stdin.write(json.dumps({"do": do, **details}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise StackError("the process ended") from error
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        guard = threading.Timer(PATIENCE, self._process.kill)
        guard.start()
        try:
            line = "" if self._process.stdout is None else self._process.stdout.readline()
        finally:
            late = not guard.is_alive()
            guard.cancel()
        if not line:
            raise StackError("it took too long" if late else f"the process ended with code {self._process.wait()}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise StackError(str(reply["error"]))
        return reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One timed run. `foreign` is the number of cores that others used (None: unknown), `off` the distance to the
    reference (None: there was none). `first_step` is when a new process had taken its first step.
    """

    seconds: float
    foreign: float | None
    off: float | None
    first_step: float | None = None


@dataclass(slots=True, kw_only=True)
class Series:
    """All samples of one stack on one case, one per round; `warming` of them come first and do not count. `error` ends
    the series. `held_bytes` is what the process holds in the end that is not the page cache's, `work_bytes` how far
    memory rose in a run above what was held before.
    """

    stack: str
    numbers: Numbers
    warming: int = 1
    compared: bool = True
    samples: list[Sample] = field(default_factory=list[Sample])
    error: str = ""
    peak_bytes: int = 0
    held_bytes: int = 0
    work_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all measurements share. `folder` takes outputs, `references` keeps what they are compared with, as
    `reference_stack` computed it.
    """

    folder: Path
    references: Path
    reference_stack: str
    clock: Callable[[], Clock] = read_clock

    def reference(self, case: Case) -> Path:
        return self.references / f"{case.name}.npy"

    def measure(
        self, case: Case, children: Sequence[Child], rounds: int, warm: Callable[[Child], None]
    ) -> list[Series]:
        """Run `case` on every child in turn, `rounds` times after a first one that warms up and is not counted; or, for
        0 rounds, just once, after `warm` has had the child compute something smaller. The reference goes first, so
        that all are compared with it. Memory is watched in a run of its own, which is not timed, where there is time
        for one more.
        """
        warming = 1 if rounds else 0
        pairs = [(child, child.spec.series(warming)) for child in children]
        for child, series in pairs:
            self._try(series, lambda child=child: child.ask("prepare", case=asdict(case)))
            if not rounds and not series.error:
                self._try(series, lambda child=child: warm(child))
        turns = sorted(pairs, key=lambda pair: pair[0].spec.name != self.reference_stack)
        for turn in range(rounds + 1 if rounds else 1):
            for child, series in turns:
                if not series.error and (turn == warming or not child.spec.slow):
                    self._try(series, lambda child=child, series=series: self._sample(case, child, series, rounds))
        for child, series in pairs:
            if rounds and not series.error and not child.spec.slow:
                self._try(series, lambda child=child, series=series: self._watch(case, child, series))
            if not series.error:
                memory = child.ask("memory")
                series.peak_bytes, series.held_bytes = int(memory["peak_bytes"]), int(memory["held_bytes"])
        return [series for _, series in pairs]

    def record_reference(self, case: Case, child: Child) -> None:
        """Compute what the others are compared with. Raises StackError."""
        child.ask("prepare", case=asdict(case))
        child.ask("run", case=asdict(case), output=str(self.reference(case)), watched=False)

    def _try(self, series: Series, act: Callable[[], object]) -> None:
        try:
            act()
        except StackError as error:
            series.error = str(error)

    def _sample(self, case: Case, child: Child, series: Series, rounds: int) -> None:
        output = self._output(case, child)
        output.unlink(missing_ok=True)
        watched = child.spec.slow or not rounds
        before, own = self.clock(), _own_seconds()
        reply = child.ask("run", case=asdict(case), output=str(output), watched=watched)
        after = self.clock()
        series.work_bytes = int(reply["work_bytes"])
        if child.spec.name == self.reference_stack and not self.reference(case).is_file():
            shutil.copyfile(output, self.reference(case))
        series.samples.append(
            Sample(
                seconds=float(reply["seconds"]),
                foreign=foreign_cores(before, after, float(reply["cpu"]) + _own_seconds() - own),
                off=self._off(case, output) if child.spec.compared else None,
            )
        )

    def _watch(self, case: Case, child: Child, series: Series) -> None:
        reply = child.ask("run", case=asdict(case), output=str(self._output(case, child)), watched=True)
        series.work_bytes = int(reply["work_bytes"])

    def _output(self, case: Case, child: Child) -> Path:
        return self.folder / f"{child.spec.name}-{case.name}.npy"

    def _off(self, case: Case, output: Path) -> float | None:
        reference = self.reference(case)
        if not reference.is_file() or not output.is_file():
            return None
        wanted: Array = np.load(reference)
        return distance(np.load(output), wanted)


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system
