"""With what is computed: words checked, devices found, number formats that suit them, and a container's limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pinxit.engine import machine
from pinxit.engine.machine import GIB, Gpu, Machine
from pinxit.engine.means import Means, way_of, workers_of
from pinxit.schema.errors import BadInput, Missing, UnknownName

GPU = Gpu(name="Imagined", device="cuda:0", memory=24 * GIB, free=20 * GIB, bfloat16=True)
OLD = replace(GPU, device="cuda:1", bfloat16=False)
PLAIN = Machine(cores=1, memory=None, available=None, flags=frozenset())
FAST = replace(PLAIN, flags=frozenset({"avx512_bf16"}))
TWO = replace(FAST, gpus=(GPU, OLD))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"device": "cuda0"}, "There is no device named 'cuda0'. Did you mean 'cuda'"),
        ({"precision": "float64"}, "There is no precision named 'float64'. Did you mean 'float"),
        ({"memory": "lo"}, "There is no way with memory named 'lo'. Did you mean 'low'?"),
        ({"compile": "onn"}, "There is no way of compiling named 'onn'. Did you mean 'on'"),
    ],
)
def test_unknown_words_are_told(fields: dict[str, str], told: str) -> None:
    with pytest.raises(UnknownName) as raised:
        Means.of(**fields)
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize(
    ("where", "means", "expected"),
    [
        (PLAIN, Means(), ("cpu", "float32")),
        (FAST, Means(), ("cpu", "bfloat16")),
        (FAST, Means(precision="float32"), ("cpu", "float32")),
        (TWO, Means(), ("cuda:0", "bfloat16")),
        (TWO, Means(device="cuda:1"), ("cuda:1", "float16")),
        (TWO, Means(device="cpu"), ("cpu", "bfloat16")),
    ],
)
def test_the_way_suits_the_machine(where: Machine, means: Means, expected: tuple[str, str]) -> None:
    way = way_of(where, means)
    assert (way.device, way.dtype) == expected
    assert (way.gpu is None) == (way.device == "cpu")


def test_a_device_that_is_not_here_is_told() -> None:
    with pytest.raises(Missing) as raised:
        way_of(TWO, Means(device="cuda:2"))
    assert str(raised.value) == "There is no device cuda:2 here. Devices here: cpu, cuda:0, cuda:1."


@pytest.mark.parametrize(
    ("where", "means", "devices"),
    [
        (PLAIN, Means(), ["cpu"]),
        (TWO, Means(device="cpu"), ["cpu"]),
        (TWO, Means(), ["cuda:0", "cuda:1"]),
        (TWO, Means(device="cuda"), ["cuda:0", "cuda:1"]),
        (TWO, Means(device="cuda:1"), ["cuda:1"]),
        (replace(FAST, gpus=(replace(GPU, device="mps"),)), Means(), ["mps"]),
    ],
)
def test_each_gpu_can_have_a_worker(where: Machine, means: Means, devices: list[str]) -> None:
    found = workers_of(where, means)
    assert [one.device for one in found] == devices
    assert [way_of(where, one).device for one in found] == devices
    assert {replace(one, device="auto") for one in found} == {replace(means, device="auto")}


def test_a_gpu_that_cannot_compute_so_gets_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinxit.engine.means.find_spec", lambda name: object())
    new = [replace(GPU, device=f"cuda:{number}", capability=(9, 0)) for number in (2, 3)]
    mixed = replace(TWO, gpus=(GPU, OLD, *new))
    assert [one.device for one in workers_of(mixed, Means(precision="float8"))] == ["cuda:2", "cuda:3"]
    with pytest.raises(Missing, match="does not compute in float8"):
        workers_of(TWO, Means(precision="float8"))


def test_eight_bits_are_ours_on_a_processor_and_torchaos_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert way_of(FAST, Means(precision="int8")).int8
    monkeypatch.setattr("pinxit.engine.means.find_spec", lambda name: object())
    hopper = replace(FAST, gpus=(replace(GPU, capability=(9, 0)),))
    for precision in ("int8", "float8"):
        way = way_of(hopper, Means.of(precision=precision))
        assert (way.device, way.dtype, way.int8, way.quantized) == ("cuda:0", "bfloat16", False, precision)
        assert not way.streams
    with pytest.raises(BadInput, match=r"float8 is computed on a GPU only\. Ask for int8"):
        way_of(hopper, Means(precision="float8", device="cpu"))


@pytest.mark.parametrize(
    ("capability", "precision", "installed", "told"),
    [
        ((8, 6), "float8", True, "Imagined does not compute in float8: that takes an NVIDIA GPU of capability 8.9. "),
        ((7, 5), "int8", True, "Imagined does not compute in int8: that takes an NVIDIA GPU of capability 8.0. "),
        ((9, 0), "int8", False, "Computing in int8 on a GPU takes torchao. Install it: pip install 'pinxit[torchao]'."),
    ],
)
def test_what_eight_bits_take_is_told(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str, installed: bool, told: str
) -> None:
    monkeypatch.setattr("pinxit.engine.means.find_spec", lambda name: object() if installed else None)
    here = replace(FAST, gpus=(replace(GPU, capability=capability),))
    with pytest.raises(Missing) as raised:
        way_of(here, Means.of(precision=precision))
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize("version", [1, 2])
def test_a_containers_limit_counts(tmp_path: Path, version: int) -> None:
    folder = tmp_path / ("sys/fs/cgroup/memory/box" if version == 1 else "sys/fs/cgroup/box")
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    folder.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/box\n" if version == 1 else "0::/box\n")
    for name, value in zip(names, (2 * GIB, GIB), strict=True):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(f"{'total_' if version == 1 else ''}inactive_file {GIB // 4}\n")
    assert machine._container(tmp_path) == (2 * GIB, GIB + GIB // 4)  # pyright: ignore[reportPrivateUsage]
    (folder / names[0]).write_text("max\n")
    assert machine._container(tmp_path) is None  # pyright: ignore[reportPrivateUsage]
