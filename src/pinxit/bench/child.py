"""The process of one stack: commands come in as JSON lines, answers go out the same way.

`python -m pinxit.bench.child serve module:factory '{"numbers": ...}'` computes cases. `cold` in place of `serve`, with
a case and a file at the end, paints one picture and tells how far it is; `convert module:function '{...}'` makes what
a stack reads. Whatever libraries print goes to stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pinxit.bench.cases import Array, Case, Told
from pinxit.bench.memory import Meter, held_bytes

Answer = dict[str, object]


class Stack(Protocol):
    """One way to compute the cases, in one number format."""

    def versions(self) -> Mapping[str, str]:
        """What computes, with versions."""
        ...

    def prepare(self, case: Case) -> None:
        """Load what the case needs, and drop what only other cases need. Not timed."""
        ...

    def run(self, case: Case) -> Array | Told:
        """The case's output in float32. Timed."""
        ...


class Painter(Protocol):
    """A stack that can show how soon it is done from nothing."""

    def paint(self, case: Case, stepped: Callable[[], None]) -> Array | None:
        """A picture [1,3,H,W] in -1..1 from nothing loaded, calling `stepped` after the first step; None where the
        program keeps its pictures to itself.
        """
        ...


def serve(stack: Stack, lines: Any, answer: Any, device: str = "cpu") -> None:
    """Answer one command per line until `quit` or the end of the input."""
    meter = Meter()
    for line in lines:
        command: dict[str, Any] = json.loads(line)
        if command["do"] == "quit":
            return
        try:
            reply = _obey(stack, meter, command, device)
        except Exception as error:  # noqa: BLE001  a stack that fails is a result, whatever it raises
            reply = {"error": f"{type(error).__name__}: {error}"[:500]}
        answer.write(json.dumps(reply) + "\n")
        answer.flush()


def _obey(stack: Stack, meter: Meter, command: Mapping[str, Any], device: str) -> Answer:
    match command["do"]:
        case "versions":
            return {"versions": dict(stack.versions())}
        case "prepare":
            meter.begin_case()
            if device != "cpu":
                _empty_gpu()
            stack.prepare(Case(**command["case"]))
            return {}
        case "run":
            run = _run if device == "cpu" else _run_on_gpu
            return run(stack, meter, Case(**command["case"]), Path(command["output"]), watched=command["watched"])
        case "memory":
            return {"peak_bytes": meter.peak, "held_bytes": held_bytes() if device == "cpu" else _held_on_gpu()}
        case "ceiling":
            return {"gflops": ceiling(int(command["size"]), device)}
        case other:
            raise ValueError(f"no command {other}")


def _run(stack: Stack, meter: Meter, case: Case, output: Path, *, watched: bool) -> Answer:
    """Run once. `watched`, its memory is measured, which takes time: what is free in the process is given back before,
    and has to be asked for again.
    """
    if watched:
        meter.begin_run()
    cpu, wall = time.process_time(), time.perf_counter()
    result = stack.run(case)
    seconds, cpu = time.perf_counter() - wall, time.process_time() - cpu
    work = meter.end_run() if watched else 0
    if isinstance(result, Told):
        seconds = result.seconds
    else:
        np.save(output, result)
    return {"seconds": seconds, "cpu": cpu, "work_bytes": work}


def _run_on_gpu(stack: Stack, meter: Meter, case: Case, output: Path, *, watched: bool) -> Answer:
    """Time by events in the GPU's own queue, and count its memory. The clock of the machine's noise is the host's."""
    del watched  # costs nothing here
    import torch

    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    cpu = time.process_time()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    result = stack.run(case)
    end.record()
    torch.cuda.synchronize()
    top = torch.cuda.max_memory_allocated()
    meter.peak = max(meter.peak, top)
    if not isinstance(result, Told):
        np.save(output, result)
    return {"seconds": begin.elapsed_time(end) / 1000, "cpu": time.process_time() - cpu, "work_bytes": top - held}


def _empty_gpu() -> None:
    """Give back what other cases left free of the GPU's memory."""
    import torch

    torch.cuda.empty_cache()


def _held_on_gpu() -> int:
    """What the process keeps of the GPU's memory, free parts and recordings included; its driver takes some more."""
    import torch

    return torch.cuda.memory_reserved()


def ceiling(size: int, device: str = "cpu", tries: int = 6) -> dict[str, float]:
    """The fastest matrix product of `size` cubed that torch makes here, in GFLOP/s by number format. On a GPU the sides
    are four times as long, or starting the work would count.
    """
    import torch

    found: dict[str, float] = {}
    size, halves = (size, (torch.bfloat16,)) if device == "cpu" else (4 * size, (torch.bfloat16, torch.float16))
    for dtype in (torch.float32, *halves):
        a = torch.randn(size, size).to(device=device, dtype=dtype)
        best = float("inf")
        for _ in range(tries):
            started = time.perf_counter()
            torch.nn.functional.linear(a, a)
            if device != "cpu":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - started)
        found[str(dtype).removeprefix("torch.")] = 2e-9 * size**3 / best
    return found


def paint_cold(painter: Painter, case: Case, output: Path, answer: Any) -> None:
    """One picture onto the disk, with a line after the first step and one when the file is there."""

    def tell(event: str) -> None:
        answer.write(json.dumps({"event": event}) + "\n")
        answer.flush()

    picture = painter.paint(case, lambda: tell("stepped"))
    if picture is not None:
        from PIL import Image

        pixels = np.clip((picture[0].transpose(1, 2, 0) + 1) * 127.5, 0, 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(output)
    tell("image_ready")


def make(target: str, options: Mapping[str, Any]) -> Any:
    """What `module:factory` makes of `options`."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)(**options)


def main(words: list[str]) -> int:
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    task, target, options = words[0], words[1], json.loads(words[2])
    try:
        made = make(target, options)
        if task == "cold":
            paint_cold(made, Case(**json.loads(words[3])), Path(words[4]), answer)
            return 0
    except Exception as error:  # noqa: BLE001  a stack that cannot start is a result, whatever it raises
        answer.write(json.dumps({"error": f"{type(error).__name__}: {error}"[:500]}) + "\n")
        answer.flush()
        return 1
    if task == "serve":
        answer.write(json.dumps({"ready": True}) + "\n")
        answer.flush()
        serve(made, sys.stdin, answer, options.get("device", "cpu"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
