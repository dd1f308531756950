"""Rounds of measurements: every stack in turn, again and again, so that slow minutes meet all of them alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from pinxit.bench.cases import Array, Case, Dtype, distance
from pinxit.bench.noise import Clock, foreign_cores, read_clock


class StackError(Exception):
    """A stack could not start or could not compute; the text is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSpec:
    """How to start a stack: `target` is `module:factory`, `options` its keyword arguments."""

    name: str
    target: str
    dtype: Dtype
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Child:
    """The process of one stack. A context: leaving it ends the process."""

    def __init__(self, spec: StackSpec, *, threads: int) -> None:
        self.spec = spec
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        options = json.dumps({"dtype": spec.dtype, **spec.options})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pinxit.bench.child", spec.target, options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
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
        line = "" if self._process.stdout is None else self._process.stdout.readline()
        if not line:
            raise StackError(f"the process ended with code {self._process.wait()}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise StackError(str(reply["error"]))
        return reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One timed run. `foreign` is the number of cores that others used (None: unknown), `off` the distance to the
    reference (None: there was none).
    """

    seconds: float
    foreign: float | None
    off: float | None


@dataclass(slots=True, kw_only=True)
class Series:
    """All samples of one stack on one case, one per round; the first warms up. `error` ends the series."""

    stack: str
    dtype: Dtype
    samples: list[Sample] = field(default_factory=list[Sample])
    error: str = ""
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all measurements share. `folder` takes outputs; the reference of a case is `reference(case)` in it."""

    folder: Path
    rounds: int
    clock: Callable[[], Clock] = read_clock

    def reference(self, case: Case) -> Path:
        return self.folder / f"reference-{case.name}.npy"

    def measure(self, case: Case, children: Sequence[Child]) -> list[Series]:
        """Run `case` on every child in turn, `rounds` times after a first one that warms up and is not counted."""
        pairs = [(child, Series(stack=child.spec.name, dtype=child.spec.dtype)) for child in children]
        for child, series in pairs:
            self._try(series, lambda child=child: child.ask("prepare", case=asdict(case)))
        for _ in range(self.rounds + 1):
            for child, series in pairs:
                if not series.error:
                    self._try(series, lambda child=child, series=series: self._sample(case, child, series))
        for child, series in pairs:
            if not series.error:
                series.peak_bytes = int(child.ask("peak")["peak_bytes"])
        return [series for _, series in pairs]

    def record_reference(self, case: Case, child: Child) -> None:
        """Compute what the others are compared with. Raises StackError."""
        child.ask("prepare", case=asdict(case))
        child.ask("run", case=asdict(case), output=str(self.reference(case)))

    def _try(self, series: Series, act: Callable[[], object]) -> None:
        try:
            act()
        except StackError as error:
            series.error = str(error)

    def _sample(self, case: Case, child: Child, series: Series) -> None:
        output = self.folder / f"{child.spec.name}-{child.spec.dtype}-{case.name}.npy"
        before, own = self.clock(), _own_seconds()
        reply = child.ask("run", case=asdict(case), output=str(output))
        after = self.clock()
        foreign = foreign_cores(before, after, float(reply["cpu"]) + _own_seconds() - own)
        series.samples.append(Sample(seconds=float(reply["seconds"]), foreign=foreign, off=self._off(case, output)))

    def _off(self, case: Case, output: Path) -> float | None:
        reference = self.reference(case)
        if not reference.is_file():
            return None
        wanted: Array = np.load(reference)
        return distance(np.load(output), wanted)


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system
