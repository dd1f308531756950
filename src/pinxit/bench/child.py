"""The process of one stack: commands come in as JSON lines, answers go out the same way.

Started as `python -m pinxit.bench.child module:factory '{"dtype": ...}'`. Whatever libraries print goes to stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from pinxit.bench.cases import Array, Case

Answer = dict[str, object]
MIB = 2**20


class Stack(Protocol):
    """One way to compute the cases, in one number format."""

    def versions(self) -> Mapping[str, str]:
        """What computes, with versions."""
        ...

    def prepare(self, case: Case) -> None:
        """Load what the case needs. Not timed."""
        ...

    def run(self, case: Case) -> Array:
        """The case's output in float32. Timed."""
        ...


def serve(stack: Stack, lines: Any, answer: Any) -> None:
    """Answer one command per line until `quit` or the end of the input."""
    for line in lines:
        command: dict[str, Any] = json.loads(line)
        if command["do"] == "quit":
            return
        try:
            reply = _obey(stack, command)
        except Exception as error:  # noqa: BLE001  a stack that fails is a result, whatever it raises
            reply = {"error": f"{type(error).__name__}: {error}"[:500]}
        answer.write(json.dumps(reply) + "\n")
        answer.flush()


def _obey(stack: Stack, command: Mapping[str, Any]) -> Answer:
    match command["do"]:
        case "versions":
            return {"versions": dict(stack.versions())}
        case "prepare":
            reset_peak()
            stack.prepare(Case(**command["case"]))
            return {}
        case "run":
            return _run(stack, Case(**command["case"]), Path(command["output"]))
        case "peak":
            return {"peak_bytes": peak_bytes()}
        case "ceiling":
            return {"gflops": ceiling(int(command["size"]))}
        case other:
            raise ValueError(f"no command {other}")


def _run(stack: Stack, case: Case, output: Path) -> Answer:
    cpu, wall = time.process_time(), time.perf_counter()
    result = stack.run(case)
    seconds, cpu = time.perf_counter() - wall, time.process_time() - cpu
    np.save(output, result)
    return {"seconds": seconds, "cpu": cpu}


def reset_peak() -> None:
    """Forget the highest memory use so far, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    except OSError:
        return


def peak_bytes() -> int:
    """The highest resident memory of this process since `reset_peak`, files that are mapped included."""
    try:
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ceiling(size: int, tries: int = 6) -> dict[str, float]:
    """The fastest matrix product of `size` cubed that torch makes here, in GFLOP/s by number format."""
    import torch

    found: dict[str, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.randn(size, size).to(dtype)
        best = float("inf")
        for _ in range(tries):
            started = time.perf_counter()
            torch.nn.functional.linear(a, a)
            best = min(best, time.perf_counter() - started)
        found[str(dtype).removeprefix("torch.")] = 2e-9 * size**3 / best
    return found


def make_stack(target: str, options: Mapping[str, Any]) -> Stack:
    """The stack that `module:factory` makes of `options`."""
    module, _, name = target.partition(":")
    return cast(Stack, getattr(importlib.import_module(module), name)(**options))


def main(words: list[str]) -> int:
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        stack = make_stack(words[0], json.loads(words[1]))
    except Exception as error:  # noqa: BLE001  a stack that cannot start is a result, whatever it raises
        answer.write(json.dumps({"error": f"{type(error).__name__}: {error}"[:500]}) + "\n")
        answer.flush()
        return 1
    answer.write(json.dumps({"ready": True}) + "\n")
    answer.flush()
    serve(stack, sys.stdin, answer)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
