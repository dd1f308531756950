from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pinxit.engine.machine import this_machine
from pinxit.nn.kernels import quantise as kernels
from pinxit.nn.kernels.quantise import Quantise, Rounded, load_quantise, quantise_plainly


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Quantise:
    """The kernel; on machines without the instructions or a compiler, torch's operations once more."""
    return load_quantise(tmp_path_factory.mktemp("kernels"), this_machine().flags)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def same(found: Rounded, wanted: Rounded) -> bool:
    steps = found.step == wanted.step or (math.isnan(found.step) and math.isnan(wanted.step))
    return steps and found.zero == wanted.zero and torch.equal(found.values, wanted.values)


def seen(rounded: Rounded) -> Tensor:
    return (rounded.values.double() - rounded.zero) * rounded.step


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("count", [1, 7, 16, 63, 64, 65, 4096, 40_001, 262_144])
def test_the_kernel_gives_torchs_numbers_on_any_number_of_threads(
    kernel: Quantise, dtype: torch.dtype, count: int
) -> None:
    generator = torch.Generator().manual_seed(count)
    for shift, spread in ((0.0, 1.0), (5.0, 0.1), (-5.0, 0.1), (0.0, 1e-6), (1.0, 1e6)):
        x = (torch.randn(count, generator=generator) * spread + shift).to(dtype)
        wanted = quantise_plainly(x)
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            assert same(kernel(x), wanted), (shift, spread, number)


@given(st.lists(st.floats(-(2.0**60), 2.0**60, width=32), min_size=1, max_size=50))
def test_no_number_is_off_by_more_than_half_a_step_and_zero_stays_zero(numbers: list[float]) -> None:
    x = torch.tensor([*numbers, 0.0])
    found = quantise_plainly(x)
    assert 1 <= found.zero <= 255
    assert bool((seen(found) - x.double()).abs().max() <= found.step * 0.501)
    assert seen(found)[-1] == 0


def test_a_tensor_keeps_its_order_in_memory(kernel: Quantise) -> None:
    x = torch.randn(1, 5, 6, 7).contiguous(memory_format=torch.channels_last)
    for quantise in (kernel, quantise_plainly):
        found = quantise(x)
        assert found.values.stride() == x.stride()
        assert bool((seen(found) - x).abs().max() <= found.step * 0.501)


def test_nothing_but_zeros_and_tiny_numbers_are_rounded(kernel: Quantise) -> None:
    for x in (torch.zeros(20), torch.full((20,), 1e-38), torch.full((40_000,), -1e-38)):
        found = kernel(x)
        assert same(found, quantise_plainly(x))
        assert bool(seen(found).abs().max() < 1e-20)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 17, 70_000])
def test_what_is_not_finite_is_told_wherever_it_stands(kernel: Quantise, wrong: float, place: int) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.ones(70_001, dtype=dtype)
        x[place] = wrong
        for quantise in (kernel, quantise_plainly):
            found = quantise(x)
            assert math.isnan(found.step)
            assert found.zero == 1


def test_other_processors_and_wrong_kernels_fall_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_quantise(tmp_path, {"sse2"}) is quantise_plainly
    folder = tmp_path / "absent compiler"
    monkeypatch.setattr(kernels, "compiled", lambda *_: None)
    assert load_quantise(folder, this_machine().flags) is quantise_plainly

    class Library:
        pinxit_quantise_u8 = staticmethod(lambda *_: None)

    monkeypatch.setattr(kernels, "compiled", lambda *_: Library())
    assert load_quantise(tmp_path / "wrong", this_machine().flags) is quantise_plainly
