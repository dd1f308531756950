"""The built-in model as a user meets it: from the shell to the picture, then picture after picture."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROMPT = "a red apple on a blue background"
FEW_STEPS = 4
PROGRAM = (sys.executable, "-m", "pinxit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Painted:
    """One run of `pinxit paint`: seconds from start to end, when each picture was ready, and peak memory."""

    seconds: float
    ready: tuple[float, ...]
    peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Everyday:
    """Medians over several runs. `steps` is None for the model's own number."""

    steps: int | None
    cold_seconds: float
    warm_seconds: float
    peak_mb: int


class NoPicture(Exception):
    """The program made no picture; the text is what it said."""


def measure_builtin(*, steps: int | None, rounds: int, program: Sequence[str] = PROGRAM) -> Everyday:
    """Paint in `rounds` fresh processes, after one that fills the disk cache, then several pictures in one process.

    The cold time is from starting the process to its end, with the picture on the disk. The warm time is from one
    picture to the next. Raises NoPicture.
    """
    with tempfile.TemporaryDirectory() as folder:
        cold = [paint(Path(folder) / f"{index}", 1, steps, program) for index in range(rounds + 1)][1:]
        warm = paint(Path(folder) / "many", rounds + 1, steps, program)
    gaps = [after - before for before, after in zip(warm.ready, warm.ready[1:], strict=False)]
    return Everyday(
        steps=steps,
        cold_seconds=statistics.median(one.seconds for one in cold),
        warm_seconds=statistics.median(gaps),
        peak_mb=max(one.peak_bytes for one in (*cold, warm)) >> 20,
    )


def paint(output: Path, count: int, steps: int | None, program: Sequence[str] = PROGRAM) -> Painted:
    """Run the program once. Raises NoPicture."""
    words = [*program, "paint", PROMPT, "--seed", "1", "--count", str(count), "--output", str(output), "--json"]
    words += [] if steps is None else ["--steps", str(steps)]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=said, text=True)
        told: list[tuple[float, Mapping[str, object]]] = []
        if process.stdout is not None:
            with process.stdout as lines:
                told = [(time.perf_counter() - started, json.loads(line)) for line in lines if line.strip()]
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        complaint = said.read().strip()
    ready = tuple(when for when, event in told if event.get("event") == "image_ready")
    if process.returncode != 0 or len(ready) != count or len(list(output.glob("*.png"))) != count:
        reasons = [str(event.get("message")) for _, event in told if event.get("event") == "failed"]
        raise NoPicture("; ".join(reasons) or complaint or f"it ended with code {process.returncode}")
    return Painted(seconds=seconds, ready=ready, peak_bytes=used.ru_maxrss * 1024)
