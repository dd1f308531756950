"""Convolutions with fewer products give what convolutions give, whatever the size, the batch and the threads."""

from __future__ import annotations

import copy
import pickle
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.engine.machine import this_machine
from pinxit.nn import Conv2d, GroupNorm, normed_conv, stripes
from pinxit.nn.kernels import build, winograd
from pinxit.nn.kernels.winograd import BLOCK, BUILDS, WinogradKernel, in_blocks, in_order, load_winograd
from pinxit.nn.layers import unpack
from pinxit.nn.packed import PackedWeight
from pinxit.nn.speed import accelerate

HERE = [needs for needs, _ in BUILDS if this_machine().flags >= needs and shutil.which("c++") is not None]
TOLERANCE = 3e-6
SIZES = [(16, 16), (8, 17), (13, 31), (1, 64), (129, 1), (40, 33)]


@pytest.fixture(scope="module", params=HERE or [frozenset[str]()], ids=lambda needs: "-".join(sorted(needs)) or "none")
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> WinogradKernel | None:
    """Each build that this processor runs; None on machines without any, where there is nothing to compare."""
    return load_winograd(tmp_path_factory.mktemp("kernels"), request.param)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x.contiguous(memory_format=torch.channels_last)


def layer_of(channels: int, out: int, *, bias: bool = True) -> Conv2d:
    return Conv2d(channels, out, 3, padding=1, bias=bias)


def with_kernel(layer: nn.Module, kernel: WinogradKernel | None) -> nn.Module:
    return accelerate(copy.deepcopy(layer), pack=True, winograd=kernel)


def exact(layer: Conv2d, x: Tensor, above: int = 1) -> Tensor:
    bias = None if layer.bias is None else layer.bias.detach().double()
    return F.conv2d(x.double(), layer.weight.detach().double(), bias, padding=(above, 1))


def off(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted).norm() / wanted.norm())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes that a kernel convolved, in order."""
    seen: list[tuple[int, ...]] = []
    run = WinogradKernel.__call__

    def call(self: WinogradKernel, x: Tensor, weight: Tensor, bias: Tensor | None, *, above: int) -> Tensor:
        seen.append(tuple(x.shape))
        return run(self, x, weight, bias, above=above)

    monkeypatch.setattr(WinogradKernel, "__call__", call)
    return seen


def test_the_kernel_is_here_where_it_can_be(kernel: WinogradKernel | None) -> None:
    assert (kernel is not None) == bool(HERE)


@pytest.mark.parametrize("channels", [(32, 32), (64, 96), (320, 32), (352, 64)])
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_every_size_is_near_to_exact(
    kernel: WinogradKernel | None, asked: list[tuple[int, ...]], channels: tuple[int, int], bias: bool
) -> None:
    layer = layer_of(*channels, bias=bias)
    fast = with_kernel(layer, kernel)
    assert isinstance(fast, Conv2d)
    for height, width in SIZES:
        for batch in (1, 3):
            x = drawn(batch, channels[0], height, width, seed=height)
            assert off(fast(x), exact(layer, x)) < TOLERANCE, (height, width, batch)
            if height > 2:
                assert off(fast.between(x), exact(layer, x, above=0)) < TOLERANCE, (height, width, batch)
    assert (len(asked) > len(SIZES)) == (kernel is not None)


@torch.inference_mode()
def test_a_large_picture_in_several_bands(kernel: WinogradKernel | None) -> None:
    layer = layer_of(96, 32)
    x = drawn(1, 96, 101, 203)
    assert off(with_kernel(layer, kernel)(x), exact(layer, x)) < TOLERANCE


@torch.inference_mode()
def test_a_picture_depends_on_no_batch_thread_or_call_before(kernel: WinogradKernel | None) -> None:
    fast, x = with_kernel(layer_of(192, 96), kernel), drawn(3, 192, 37, 90)
    torch.set_num_threads(1)
    alone = [fast(x[at : at + 1]) for at in range(3)]
    fast(drawn(1, 192, 3, 3))
    fast(drawn(2, 192, 16, 16))
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        assert torch.equal(fast(x), torch.cat(alone))


@torch.inference_mode()
def test_pictures_in_another_order_of_memory(kernel: WinogradKernel | None) -> None:
    layer, wide = layer_of(32, 32), drawn(2, 64, 40, 40)
    fast = with_kernel(layer, kernel)
    for x in (wide[:, :32], wide[:, ::2, 3:, ::2], wide[:, 32:].contiguous(), wide[:1, 32:].transpose(2, 3)):
        assert off(fast(x), exact(layer, x)) < TOLERANCE


@torch.inference_mode()
def test_numbers_that_are_not_finite_come_through(kernel: WinogradKernel | None) -> None:
    fast = with_kernel(layer_of(32, 32), kernel)
    for bad in (float("nan"), float("inf")):
        x = drawn(1, 32, 20, 20)
        x[0, 5, 9, 12] = bad
        found = fast(x)
        assert not bool(torch.isfinite(found[:, :, 8:11, 11:14]).any())
        assert bool(torch.isfinite(found[:, :, :6]).all())


@torch.inference_mode()
def test_what_it_is_not_made_for_is_convolved_as_usual(
    kernel: WinogradKernel | None, asked: list[tuple[int, ...]]
) -> None:
    for layer, x in (
        (Conv2d(32, 32, 3, padding=1), drawn(1, 32, 4, 4)),
        (Conv2d(16, 32, 3, padding=1), drawn(1, 16, 32, 32)),
        (Conv2d(32, 48, 3, padding=1), drawn(1, 32, 32, 32)),
        (Conv2d(32, 32, 3, padding=0), drawn(1, 32, 32, 32)),
        (Conv2d(32, 32, 3, padding=1, stride=2), drawn(1, 32, 32, 32)),
        (Conv2d(32, 32, 3, padding=1, dilation=2), drawn(1, 32, 32, 32)),
        (Conv2d(64, 64, 3, padding=1, groups=2), drawn(1, 64, 32, 32)),
        (Conv2d(32, 32, 3, padding=1, padding_mode="circular"), drawn(1, 32, 32, 32)),
        (Conv2d(32, 32, 1), drawn(1, 32, 32, 32)),
        (Conv2d(32, 32, 3, padding=1), drawn(0, 32, 32, 32)),
    ):
        torch.testing.assert_close(with_kernel(layer, kernel)(x), layer(x), rtol=1e-4, atol=1e-5)
    layer, x = Conv2d(32, 32, 3, padding=1).bfloat16(), drawn(1, 32, 32, 32).bfloat16()
    assert with_kernel(layer, kernel)(x).dtype == torch.bfloat16
    with torch.inference_mode(mode=False):
        grown = drawn(1, 32, 32, 32).requires_grad_()
        with_kernel(Conv2d(32, 32, 3, padding=1), kernel)(grown).sum().backward()
        assert grown.grad is not None
    assert asked == []


def test_weights_in_blocks_and_back_are_the_same_bits() -> None:
    weight = torch.randn(3 * BLOCK, 40, 3, 3)
    blocks = in_blocks(weight)
    assert blocks.shape == (3, 40, 9, BLOCK)
    assert float(blocks[1, 7, 5, 3]) == float(weight[BLOCK + 3, 7, 1, 2])
    assert torch.equal(in_order(blocks), weight)


def test_the_state_dict_stays_as_it_is(kernel: WinogradKernel | None) -> None:
    layer = layer_of(32, 64)
    fast = with_kernel(layer, kernel)
    assert isinstance(fast, Conv2d)
    with torch.inference_mode():
        x = drawn(1, 32, 20, 20)
        found = fast(x)
        assert fast.weight.numel() == 0
        assert all(torch.equal(value, layer.state_dict()[name]) for name, value in fast.state_dict().items())
        assert torch.equal(fast(x), found)
    assert torch.equal(copy.deepcopy(fast).weight, layer.weight)
    again = pickle.loads(pickle.dumps(fast))
    assert torch.equal(again.weight, layer.weight)
    with torch.inference_mode():
        assert off(again(x), exact(layer, x)) < TOLERANCE
        slot = copy.deepcopy(fast).packed
    assert isinstance(slot, PackedWeight)


def test_sizes_that_change_hands_use_the_same_weight(
    kernel: WinogradKernel | None, asked: list[tuple[int, ...]]
) -> None:
    layer = layer_of(32, 64)
    fast, large, small = with_kernel(layer, kernel), drawn(1, 32, 20, 20), drawn(1, 32, 5, 5)
    with torch.inference_mode():
        for x in (large, small, small, large, large, small, large):
            assert off(fast(x), exact(layer, x)) < TOLERANCE
        assert len(asked) == (0 if kernel is None else 4)
    unpack(fast)
    assert torch.equal(fast.get_parameter("weight"), layer.weight)


def test_changed_weights_are_used(kernel: WinogradKernel | None) -> None:
    layer, x = layer_of(32, 32), drawn(1, 32, 18, 18)
    fast = with_kernel(layer, kernel)
    with torch.inference_mode():
        fast(x)
    unpack(fast)
    with torch.no_grad():
        for tensor in (*fast.parameters(), *layer.parameters()):
            tensor.mul_(-2)
    with torch.inference_mode():
        assert off(fast(x), exact(layer, x)) < TOLERANCE
    fast.load_state_dict({name: 3 * value for name, value in layer.state_dict().items()})
    with torch.inference_mode():
        assert off(fast(x), 3 * exact(layer, x)) < TOLERANCE


@torch.inference_mode()
def test_pictures_in_stripes(
    kernel: WinogradKernel | None, asked: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripes, "BYTES", 32 * 50 * 4 * 9)
    norm, layer, x = GroupNorm(32, groups=4), layer_of(32, 32), drawn(2, 32, 61, 50)
    fast = with_kernel(layer, kernel)
    assert isinstance(fast, Conv2d)
    wanted = exact(layer, F.silu(F.group_norm(x.double(), 4, norm.weight.double(), norm.bias.double(), norm.eps)))
    assert off(normed_conv(x, norm, fast), wanted) < TOLERANCE
    assert set(asked) == (set() if kernel is None else {(1, 32, 11, 50)})


def test_without_a_compiler_or_the_instructions_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_winograd(tmp_path / "old", {"sse4_2", "fma"}) is None
    assert not (tmp_path / "old").exists()
    monkeypatch.setattr(build, "COMPILERS", ())
    assert load_winograd(tmp_path, this_machine().flags) is None
    assert accelerate(layer_of(32, 32), pack=True, winograd=None)(drawn(1, 32, 16, 16)).shape == (1, 32, 16, 16)


def test_a_kernel_that_is_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = tmp_path / "wrong.cpp"
    source.write_text('extern "C" int pinxit_winograd() { return 0; }\n')
    monkeypatch.setattr(winograd, "SOURCE", source)
    assert load_winograd(tmp_path / "kernels", {"avx2", "fma"}) is None


@torch.inference_mode()
def test_want_of_memory_is_said() -> None:
    starved = WinogradKernel(lambda *given: 1)
    with pytest.raises(MemoryError, match="convolution"):
        starved(drawn(1, 32, 16, 16), in_blocks(torch.ones(32, 32, 3, 3)), None, above=1)
