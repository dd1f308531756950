"""Compiled networks: when they are asked for, that they paint the same, and what is said where they cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pinxit.engine import compiled, compiling
from pinxit.engine.compiled import Compiled, Kept, forget
from pinxit.engine.machine import GIB, Gpu
from pinxit.engine.means import Means, Way
from pinxit.engine.plan import plan
from pinxit.engine.residency import Residency
from pinxit.engine.run import run
from pinxit.schema.events import ImageReady, Noted, Planned
from tests.adapters.files import random_lora, write
from tests.easel import ROOMY, Easel, Easels, easel_for

GPU = Gpu(name="Imagined", device="cuda:0", memory=24 * GIB, free=20 * GIB, bfloat16=True, capability=(9, 0))
ON = Means(device="cpu", precision="float32", compile="on")
OFF = replace(ON, compile="off")
WAY = Way(device="cuda:0", dtype="bfloat16", int8=False, gpu=GPU)
CPU = Way(device="cpu", dtype="float32", int8=False, gpu=None)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Traces networks as the compiler does, and runs what it found without compiling it: that takes minutes."""
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))
    yield
    forget()


def near(found: NDArray[Any], wanted: NDArray[Any]) -> bool:
    """Whether only what was summed in another order differs."""
    return int(abs(found - wanted).max()) <= 1


def plain_residency() -> Residency:
    """Networks as they are, neither compiled nor packed."""
    return Residency(ROOMY, means=OFF, plain=True)


def paint(easel: Easel, residency: Residency, means: Means, **fields: Any) -> tuple[NDArray[Any], str, list[str]]:
    """The pixels, what the record says of the numerics, and what was noted on the way."""
    made = plan(easel.resolve(**fields), ROOMY, means=means)
    events = list(run(made, residency))
    (ready,) = (event for event in events if isinstance(event, ImageReady))
    return (
        np.asarray(ready.image, dtype=int),
        ready.record.numerics,
        [one.text for one in events if isinstance(one, Noted)],
    )


@pytest.mark.parametrize("model", ["pinxit", "sd35"])
def test_whole_networks_are_compiled_and_paint_the_same(easels: Easels, eager: None, model: str) -> None:
    plain = paint(easels(model), plain_residency(), OFF)
    found = paint(easels(model), Residency(ROOMY, means=ON), ON)
    assert (plain[1:], found[1:]) == (("cpu", []), ("cpu-compiled", []))
    assert near(found[0], plain[0])


def test_adapters_leave_nothing_stale(easels: Easels, eager: None, tmp_path: Path) -> None:
    (tmp_path / "loras").mkdir()
    (tmp_path / "sd1.safetensors").symlink_to(easels.model("sd1"))
    write(tmp_path / "loras", "fur", random_lora(easels("sd1").resolve()))
    easel, residency, other = easel_for(tmp_path, "sd1"), Residency(ROOMY, means=ON), plain_residency()
    turns: list[dict[str, Any]] = [{}, {"adapters": ("fur@0.8",)}, {}]
    found = [paint(easel, residency, ON, **fields) for fields in turns]
    wanted = [paint(easel, other, OFF, **fields)[0] for fields in turns]
    assert [numerics for _, numerics, _ in found] == ["cpu-compiled"] * 3
    assert all(near(pixels, exact) for (pixels, *_), exact in zip(found, wanted, strict=True))
    assert not near(found[1][0], wanted[0])


def test_a_compiler_that_fails_is_told_and_does_not_count(
    easels: Easels, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(graph: Any, given: Any) -> Any:
        raise RuntimeError("Cannot find a working triton installation.\nSee the page.")

    monkeypatch.setattr(compiled, "BACKEND", broken)
    residency, told = Residency(ROOMY, means=ON), []
    for _ in range(2):
        pixels, numerics, notes = paint(easels("sd1"), residency, ON)
        assert (pixels == paint(easels("sd1"), plain_residency(), OFF)[0]).all()
        assert numerics == "cpu"
        told += notes
    reason = "Cannot find a working triton installation."
    assert told == [f"compiling failed, so networks compute as they are ({reason})"] * 2


def test_used_up_memory_is_not_the_compilers_fault(
    eager: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def hungry(graph: Any, given: Any) -> Any:
        def fail(*_: Any) -> Any:
            raise RuntimeError("CUDA out of memory")

        return fail

    monkeypatch.setattr(compiled, "BACKEND", hungry)
    function = Compiled(torch.sin, Kept(tmp_path / "kept.bin", print), print, graphs=False)
    with pytest.raises(RuntimeError, match="out of memory"):
        function(torch.ones(3))
    assert function.works


def test_less_memory_means_not_compiled(easels: Easels, eager: None) -> None:
    means = replace(ON, memory="low")
    made = plan(easels("sd1").resolve(), ROOMY, means=means)
    assert not made.compiles
    assert made.notes[-1] == "nothing is compiled: networks do not stay in memory"


@pytest.mark.parametrize(
    ("fields", "way", "told"),
    [
        ({"cache": "deep"}, CPU, "nothing is compiled: a network that leaves parts out is another one at each step"),
        (
            {"token_merging": 0.5},
            CPU,
            "nothing is compiled: a network that leaves parts out is another one at each step",
        ),
        ({}, replace(CPU, int8=True), "nothing is compiled: layers in 8 bits on the processor cannot be"),
    ],
)
def test_what_does_not_go_together_is_told(easels: Easels, fields: dict[str, Any], way: Way, told: str) -> None:
    found = compiling.choose_compiling(easels("sd1").resolve(**fields), way, ON, (), seconds=1.0)
    assert (found.on, found.notes) == (False, (told,))


@pytest.mark.parametrize(
    ("way", "triton", "seconds", "warm", "on"),
    [
        (WAY, True, 1.0, False, False),
        (WAY, True, 1.0, True, True),
        (WAY, True, 5000.0, False, True),
        (WAY, False, 5000.0, True, False),
        (replace(WAY, gpu=replace(GPU, capability=(7, 5))), True, 5000.0, True, False),
        (CPU, True, 5000.0, True, False),
    ],
)
def test_auto_compiles_where_it_pays(
    easels: Easels,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    way: Way,
    triton: bool,
    seconds: float,
    warm: bool,
    on: bool,
) -> None:
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path))
    monkeypatch.setattr(compiling, "find_spec", lambda name: object() if triton and name == "triton" else None)
    resolved = easels("sd1").resolve()
    if warm:
        path = compiling.kept_at(resolved, way)
        path.parent.mkdir()
        path.write_bytes(b"")
    assert compiling.choose_compiling(resolved, way, Means(), ("encoders",), seconds=seconds).on is on
    assert not compiling.choose_compiling(resolved, way, Means(compile="off"), (), seconds=seconds).on


def test_a_file_is_for_one_size_network_and_machine(easels: Easels) -> None:
    sd1 = easels("sd1")
    ways = [WAY, CPU, replace(WAY, quantized="int8"), replace(WAY, gpu=replace(GPU, name="Another"))]
    files = {compiling.kept_at(sd1.resolve(), way) for way in ways}
    files |= {compiling.kept_at(sd1.resolve(size="128x64"), WAY), compiling.kept_at(easels("sd2").resolve(), WAY)}
    assert len(files) == 6
    assert compiling.kept_at(sd1.resolve(prompt="a dog", seed=9), WAY) in files


def test_recordings_are_copied_before_the_next_call(
    eager: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a GPU's recordings do, every call here writes its output into the same place."""
    place = torch.zeros(3)

    def recording(graph: Any, given: Any) -> Any:
        return lambda *values: [place.copy_(graph(*values)[0])]

    monkeypatch.setattr(compiled, "BACKEND", recording)
    function = Compiled(lambda x: x + 1, Kept(tmp_path / "kept.bin", print), print, graphs=True)
    first, second = function(torch.ones(3)), function(torch.zeros(3))
    assert (first.tolist(), second.tolist()) == ([2.0] * 3, [1.0] * 3)


class Small(nn.Module):
    """A network that takes its compiler no minutes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.layer(x)) + 1


def test_the_next_process_finds_what_was_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real compiler, once; a process that begins with an empty cache of its own has nothing left to compile."""
    from torch._dynamo.utils import counters

    def call(folder: str) -> tuple[Tensor, list[str], int]:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / folder))
        forget()
        counters.clear()
        told: list[str] = []
        with torch.inference_mode():
            found = Compiled(network, Kept(path, told.append), told.append, graphs=False)(x)
        misses = counters["inductor"]["fxgraph_cache_miss"] + counters["aot_autograd"]["autograd_cache_miss"]
        return found, told, misses

    torch.manual_seed(0)
    network, x, path = Small().requires_grad_(False), torch.randn(2, 4), tmp_path / "kept" / "some.bin"
    first, told, misses = call("one")
    assert told == []
    assert misses > 0
    assert torch.allclose(first, network(x), atol=1e-6)
    written = path.stat().st_mtime_ns
    assert path.stat().st_mode & 0o077 == 0
    again, told, misses = call("two")
    assert (told, misses) == ([], 0)
    assert torch.equal(again, first)
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize("how", ["cut", "changed", "open", "foreign"])
def test_a_kept_file_that_is_not_whole_is_told_and_left(tmp_path: Path, how: str) -> None:
    path, told = tmp_path / "kept.bin", list[str]()
    body = b"not what torch wrote"
    path.write_bytes(compiled.hashlib.sha256(body).digest() + body)
    path.chmod(0o600)
    if how == "cut":
        path.write_bytes(path.read_bytes()[:40])
    elif how == "changed":
        path.write_bytes(path.read_bytes() + b"x")
    elif how == "open":
        path.chmod(0o622)
    Kept(path, told.append).load()
    expected = "cannot be read" if how == "foreign" else "is damaged or not ours"
    assert told == [f"what was compiled before {expected}, so it is compiled again"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    info = type("Info", (), {"artifacts": {"inductor": ["a"]}})()
    monkeypatch.setattr(torch.compiler, "save_cache_artifacts", lambda: (b"code", info))
    told = list[str]()
    Kept(tmp_path / "file" / "kept.bin", told.append).save()
    assert len(told) == 1
    assert told[0].startswith("what was compiled cannot be kept for the next time (")


def test_what_is_compiled_lets_go_of_its_network(easels: Easels, eager: None) -> None:
    import gc
    import weakref

    residency = Residency(ROOMY, means=ON)
    paint(easels("sd1"), residency, ON)
    network = weakref.ref(residency.network(easels("sd1").resolve(), "unet"))
    residency.clear()
    gc.collect()
    assert network() is None


def test_the_plan_says_so(easels: Easels, eager: None) -> None:
    made = plan(easels("sd1").resolve(), ROOMY, means=ON)
    assert made.to_json()["compiles"] is True
    planned = next(run(made, Residency(ROOMY, means=ON)))
    assert isinstance(planned, Planned)
    assert planned.notes[-1] == "networks are compiled at their first call, which can take minutes, once"
