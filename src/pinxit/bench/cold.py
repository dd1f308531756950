"""What a new process costs: to its first step, to its picture on the disk, or to import a program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pinxit.bench.cases import GUIDANCE, Case
from pinxit.bench.driver import Sample, Series, StackSpec
from pinxit.bench.noise import foreign_cores, read_clock
from pinxit.bench.stacks import STACKS

CLI = (sys.executable, "-m", "pinxit")
STEPPED, READY = "stepped", "image_ready"
"""The events that our program and the children tell alike."""
PROMPT = "a red apple on a blue background"
SMALL = 8
"""Side of the latent of what only warms up."""


class NoPicture(Exception):
    """The program made no picture; the text is what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A process from start to end: what it told and when, wall and processor seconds, and the most memory it had."""

    seconds: float
    cpu: float
    peak_bytes: int
    told: tuple[tuple[float, Mapping[str, object]], ...]

    def when(self, event: str) -> tuple[float, ...]:
        """The times at which it told of `event`."""
        return tuple(moment for moment, line in self.told if line.get("event") == event)


def run_process(words: Sequence[str], environment: Mapping[str, str] | None = None) -> Ended:
    """Run a program that prints JSON lines. Raises NoPicture where it fails."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=said, text=True, env=environment)
        told: list[tuple[float, Mapping[str, object]]] = []
        if process.stdout is not None:
            with process.stdout as lines:
                told = [(time.perf_counter() - started, json.loads(line)) for line in lines if line.strip()]
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        complaint = said.read().strip().rpartition("\n")[2]
    if process.returncode != 0:
        reasons = [str(line.get("message") or line.get("error") or "") for _, line in told]
        raise NoPicture("; ".join(filter(None, reasons)) or complaint or f"it ended with code {process.returncode}")
    return Ended(
        seconds=seconds,
        cpu=used.ru_utime + used.ru_stime,
        peak_bytes=used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        told=tuple(told),
    )


def words_of(case: Case, spec: StackSpec, output: Path) -> list[str]:
    """The command line that a cold case times: our own program, or a child process of the other stack."""
    stack = STACKS[spec.name]
    if case.kind == "import":
        return [sys.executable, "-c", stack.imports]
    if stack.program != "pinxit":
        details = (json.dumps(dict(spec.options)), json.dumps(asdict(case)), str(output))
        return [sys.executable, "-m", "pinxit.bench.child", "cold", spec.target, *details]
    size = f"{8 * case.width}x{8 * case.height}"
    memory = "low" if spec.options.get("low") else "auto"
    words = [*CLI, "paint", PROMPT, "--model", str(spec.options["weights"]), "--size", size, "--steps", str(case.steps)]
    words += ["--seed", "1", "--sampler", "ddim", "--guidance", str(GUIDANCE), "--output", str(output)]
    words += ["--device", str(spec.options.get("device", "cpu"))]
    words += ["--compile", "on" if spec.options.get("compiled") else "off"]
    return [*words, "--precision", spec.numbers, "--memory", memory, "--json"]


def measure_processes(case: Case, specs: Sequence[StackSpec], rounds: int, env: Mapping[str, str]) -> list[Series]:
    """Start every stack in turn, `rounds` times after one that fills the disk's cache.

    For 0 rounds just once; ours paints something small before, because it takes a model's fingerprint when it sees it
    for the first time.
    """
    warming = 1 if rounds else 0
    specs = [replace(spec, slow=False) for spec in specs]
    found = [spec.series(warming) for spec in specs]
    with tempfile.TemporaryDirectory() as folder:
        for spec in specs:
            if not rounds and STACKS[spec.name].program == "pinxit" and case.kind == "cold":
                small = replace(case, height=SMALL, width=SMALL)
                _start(small, spec, spec.series(warming), Path(folder) / f"{spec.name}-small.png", env)
        for turn in range(rounds + 1 if rounds else 1):
            for spec, series in zip(specs, found, strict=True):
                if not series.error:
                    _start(case, spec, series, Path(folder) / f"{spec.name}-{turn}.png", env)
    return found


def _start(case: Case, spec: StackSpec, series: Series, output: Path, env: Mapping[str, str]) -> None:
    before = read_clock()
    try:
        ended = run_process(words_of(case, spec, output), env)
    except NoPicture as error:
        series.error = str(error)
        return
    foreign = foreign_cores(before, read_clock(), ended.cpu)
    series.peak_bytes = max(series.peak_bytes, ended.peak_bytes)
    first = next(iter(ended.when(STEPPED)), None)
    ready = next(iter(ended.when(READY)), ended.seconds)
    series.samples.append(Sample(seconds=ready, foreign=foreign, off=None, first_step=first))
