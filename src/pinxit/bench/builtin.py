"""The built-in model as a user meets it: from the shell to the picture, then picture after picture."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pinxit.bench.cold import CLI, PROMPT, READY, Ended, NoPicture, run_process

FEW_STEPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Everyday:
    """Medians over several runs. `steps` is None for the model's own number."""

    steps: int | None
    cold_seconds: float
    warm_seconds: float
    peak_mb: int


def measure_builtin(*, steps: int | None, rounds: int, program: Sequence[str] = CLI) -> Everyday:
    """Paint in `rounds` fresh processes, after one that fills the disk cache, then several pictures in one process.

    The cold time is from starting the process to its end, with the picture on the disk. The warm time is from one
    picture to the next. Raises NoPicture.
    """
    with tempfile.TemporaryDirectory() as folder:
        cold = [paint(Path(folder) / f"{index}", 1, steps, program) for index in range(rounds + 1)][1:]
        warm = paint(Path(folder) / "many", rounds + 1, steps, program)
    ready = warm.when(READY)
    gaps = [after - before for before, after in pairwise(ready)]
    return Everyday(
        steps=steps,
        cold_seconds=statistics.median(one.seconds for one in cold),
        warm_seconds=statistics.median(gaps),
        peak_mb=max(one.peak_bytes for one in (*cold, warm)) >> 20,
    )


def paint(output: Path, count: int, steps: int | None, program: Sequence[str] = CLI) -> Ended:
    """Run the program once. Raises NoPicture."""
    words = [*program, "paint", PROMPT, "--seed", "1", "--count", str(count), "--output", str(output), "--json"]
    ended = run_process(words if steps is None else [*words, "--steps", str(steps)])
    if len(ended.when(READY)) != count or len(list(output.glob("*.png"))) != count:
        raise NoPicture("it ended without its pictures")
    return ended
