"""Measures in a process of its own what models take of memory. Prints JSON; sizes in bytes.

    python -m tests.engine.memory load FILE DTYPE           resident memory that loading all networks adds, and its peak
    python -m tests.engine.memory switch FILE FILE COUNT    resident memory after each of COUNT switches
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import torch

from pinxit.engine.plan import Resolved, resolve
from pinxit.engine.residency import Residency
from pinxit.plugins.manager import build_catalog
from pinxit.schema.request import GenerationRequest
from pinxit.studio.library import Library


def status(field: str) -> int:
    """A number of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def resolved(path: Path) -> Resolved:
    library = Library([path.parent], builtin=Path("none"))
    request = GenerationRequest(prompt="", seed=0, model=path.stem)
    return resolve(request, build_catalog(), library)


def load(residency: Residency, model: Resolved) -> None:
    for component in model.facts.components:
        residency.network(model, component)


def main(words: list[str]) -> dict[str, object]:
    torch.set_num_threads(1)
    if words[0] == "load":
        residency = Residency(dtype=getattr(torch, words[2]))
        # What torch and its kernels take for themselves is no model's.
        warm = resolved(Path(words[3]))
        load(residency, warm)
        residency.clear()
        model = resolved(Path(words[1]))
        gc.collect()
        before = status("VmRSS")
        forget_peak()
        load(residency, model)
        return {"added": status("VmRSS") - before, "peak": status("VmHWM") - before}
    residency = Residency(dtype=torch.bfloat16)
    models = [resolved(Path(word)) for word in words[1:3]]
    seen: list[int] = []
    for index in range(int(words[3]) + 2):
        load(residency, models[index % 2])
        seen.append(status("VmRSS"))
    return {"seen": seen}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
