from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pinxit.bench.cases import Case
from pinxit.bench.child import ceiling, make, serve
from tests.bench.fakes import Fake

CASE = {"name": "unet-2", "kind": "unet", "height": 2, "width": 2}
MIB = 2**20


class Event:
    """An event of a GPU whose clock shows 250 ms more at each record."""

    clock = 0.0

    def __init__(self, *, enable_timing: bool) -> None:
        self.at = 0.0

    def record(self) -> None:
        Event.clock += 250.0
        self.at = Event.clock

    def elapsed_time(self, end: Event) -> float:
        return end.at - self.at


def fake_torch() -> Any:
    cuda = SimpleNamespace(
        Event=Event,
        memory_allocated=lambda: 100 * MIB,
        max_memory_allocated=lambda: 350 * MIB,
        memory_reserved=lambda: 400 * MIB,
        empty_cache=lambda: None,
        reset_peak_memory_stats=lambda: None,
        synchronize=lambda: None,
    )
    return SimpleNamespace(cuda=cuda)


def asked(stack: Fake, device: str, *commands: dict[str, object]) -> list[dict[str, Any]]:
    answer = io.StringIO()
    serve(stack, [json.dumps(command) for command in commands], answer, device)
    return [json.loads(line) for line in answer.getvalue().splitlines()]


@pytest.fixture
def stack(tmp_path: Path) -> Fake:
    return Fake(numbers="float16", name="pinxit-fp16", log=str(tmp_path / "log"))


def test_on_a_gpu_its_own_events_and_memory_count(stack: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", fake_torch())
    output = tmp_path / "out.npy"
    _, ran, memory = asked(
        stack,
        "cuda",
        {"do": "prepare", "case": CASE},
        {"do": "run", "case": CASE, "output": str(output), "watched": True},
        {"do": "memory"},
    )
    assert (ran["seconds"], ran["work_bytes"]) == (0.25, 250 * MIB)
    assert (memory["peak_bytes"], memory["held_bytes"]) == (350 * MIB, 400 * MIB)
    assert np.load(output).shape == (2, 3)


def test_the_processor_counts_its_own_time_and_the_kernels_memory(stack: Fake, tmp_path: Path) -> None:
    output = tmp_path / "out.npy"
    ran, memory, unknown = asked(
        stack,
        "cpu",
        {"do": "run", "case": CASE, "output": str(output), "watched": True},
        {"do": "memory"},
        {"do": "sing"},
    )
    assert ran["seconds"] > 0
    assert memory["peak_bytes"] >= memory["held_bytes"] > MIB
    assert unknown == {"error": "ValueError: no command sing"}


def test_a_stack_is_made_of_its_name_and_options(tmp_path: Path) -> None:
    made = make("tests.bench.fakes:Fake", {"numbers": "float32", "name": "a", "log": str(tmp_path / "log")})
    assert made.run(Case(name="unet-2", kind="unet", height=2, width=2)).shape == (2, 3)


def test_the_ceiling_is_a_speed_for_each_number_format() -> None:
    found = ceiling(64)
    assert set(found) == {"float32", "bfloat16"}
    assert all(speed > 0 for speed in found.values())
