"""Measures in a process of its own what models take of memory. Prints JSON; sizes in bytes.

python -m tests.engine.memory load FILE DTYPE WARM      resident memory that one picture's networks add, and its peak
python -m tests.engine.memory switch FILE FILE COUNT    resident memory after each of COUNT switches
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import torch

from pinxit.engine.allocator import release
from pinxit.engine.means import Means
from pinxit.engine.plan import Resolved, plan, resolve
from pinxit.engine.residency import Residency
from pinxit.engine.run import run
from pinxit.plugins.manager import build_catalog
from pinxit.schema.request import GenerationRequest
from pinxit.studio.library import Library

PAINTED = 25
"""Every so many switches a picture is painted, too."""


def status(field: str) -> int:
    """A number of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def resolved(path: Path) -> Resolved:
    library = Library([path.parent], builtin=Path("none"))
    request = GenerationRequest(prompt="a cat", seed=0, steps=1, size="64x64", model=path.stem)  # pyright: ignore[reportArgumentType] - read as text
    return resolve(request, build_catalog(), library)


def load(residency: Residency, model: Resolved) -> None:
    for component in model.facts.components:
        residency.network(model, component)


def paint(residency: Residency, model: Resolved) -> None:
    """Weights are read when they are first computed with."""
    for _ in run(plan(model), residency):
        pass


def loading(path: Path, dtype: str, warm: Path) -> dict[str, object]:
    """What torch and its kernels take for themselves is no model's, so the small model `warm` is loaded before."""
    residency = Residency(means=Means.of(precision=dtype))
    paint(residency, resolved(warm))
    residency.clear()
    model = resolved(path)
    gc.collect()
    before = status("VmRSS")
    forget_peak()
    paint(residency, model)
    peak = status("VmHWM") - before
    release()
    return {"added": status("VmRSS") - before, "peak": peak}


def switching(paths: list[Path], count: int) -> dict[str, object]:
    residency = Residency(means=Means(precision="bfloat16"))
    models = [resolved(path) for path in paths]
    seen: list[int] = []
    for index in range(count + 2):
        if index % PAINTED < 2:
            paint(residency, models[index % 2])
        else:
            load(residency, models[index % 2])
        seen.append(status("VmRSS"))
    return {"seen": seen}


def main(words: list[str]) -> dict[str, object]:
    torch.set_num_threads(1)
    if words[0] == "load":
        return loading(Path(words[1]), words[2], Path(words[3]))
    return switching([Path(word) for word in words[1:3]], int(words[3]))


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
