"""Normalisation, activation and convolution in stripes give what they give at once."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.engine.machine import this_machine
from pinxit.nn import GEGLU, Conv2d, GroupNorm, enlarge, normed_conv, residual_conv, stripes
from pinxit.nn.kernels.fused import FusedKernels, load_fused
from pinxit.nn.layers import unpack
from pinxit.nn.packed import available
from pinxit.nn.speed import accelerate

DTYPES = [dtype for dtype in (torch.float32, torch.bfloat16) if available(dtype)]
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 1.2e-2, torch.float64: 1e-12}


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> FusedKernels | None:
    return load_fused(tmp_path_factory.mktemp("kernels"), this_machine().flags)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripes of few rows."""
    monkeypatch.setattr(stripes, "BYTES", 16 * 40 * 7 * 2)


class Block(nn.Module):
    """A residual block as autoencoders have it."""

    def __init__(self, channels: int, out: int, groups: int = 4) -> None:
        super().__init__()
        self.norm1, self.norm2 = GroupNorm(channels, groups=groups, eps=1e-6), GroupNorm(out, groups=groups, eps=1e-6)
        self.conv1, self.conv2 = Conv2d(channels, out, 3, padding=1), Conv2d(out, out, 3, padding=1)
        self.shortcut = nn.Identity() if channels == out else Conv2d(channels, out, 1)
        for norm in (self.norm1, self.norm2):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = normed_conv(x, self.norm1, self.conv1)
        return residual_conv(x, self.shortcut, h, self.norm2, self.conv2)


def exact(block: Block, x: Tensor) -> Tensor:
    own = copy.deepcopy(block).double()
    h = F.group_norm(x.double(), own.norm1.num_groups, own.norm1.weight, own.norm1.bias, own.norm1.eps)
    h = F.conv2d(F.silu(h), own.conv1.weight, own.conv1.bias, padding=1)
    h = F.group_norm(h, own.norm2.num_groups, own.norm2.weight, own.norm2.bias, own.norm2.eps)
    return own.shortcut(x.double()) + F.conv2d(F.silu(h), own.conv2.weight, own.conv2.bias, padding=1)


def off(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted).norm() / wanted.norm())


def picture(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 0.5
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64], ids=str)
@pytest.mark.parametrize("way", ["plain", "packed", "fused"])
@pytest.mark.parametrize("channels", [(16, 16), (24, 8), (8, 12)])
def test_a_block_in_stripes_is_the_same_arithmetic(
    kernels: FusedKernels | None, dtype: torch.dtype, way: str, channels: tuple[int, int]
) -> None:
    block = Block(*channels).to(dtype)
    wanted = copy.deepcopy(block)
    accelerate(block, pack=way != "plain", fused=kernels if way == "fused" else None)
    with torch.inference_mode():
        for height, width in ((64, 40), (61, 40), (7, 3), (1, 1), (64, 40), (130, 5)):
            x = picture(2, channels[0], height, width, dtype=dtype)
            before = x.clone()
            assert off(block(x), exact(wanted, x)) < TOLERANCE[dtype], (height, width)
            assert torch.equal(x, before), "what a block is given it leaves as it is"


@pytest.mark.parametrize("way", ["plain", "packed"])
@pytest.mark.parametrize("size", [(64, 40), (37, 21), (2, 5)])
def test_the_number_of_stripes_changes_rounding_alone(
    monkeypatch: pytest.MonkeyPatch, way: str, size: tuple[int, int]
) -> None:
    block = accelerate(Block(16, 16), pack=way == "packed")
    x = picture(1, 16, *size, dtype=torch.float32)
    with torch.inference_mode():
        whole = block(x)
        for row in (1, 3, 10, 63):
            monkeypatch.setattr(stripes, "BYTES", row * size[1] * 16 * 4)
            unpack(block)
            assert off(block(x), whole.double()) < 1e-6


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_picture_depends_on_no_batch_thread_or_call_before(kernels: FusedKernels | None, dtype: torch.dtype) -> None:
    block = accelerate(Block(24, 16).to(dtype), pack=True, fused=kernels)
    x = picture(5, 24, 50, 40, dtype=dtype)
    with torch.inference_mode():
        torch.set_num_threads(1)
        alone = [block(x[at : at + 1]) for at in range(5)]
        block(picture(1, 24, 9, 9, dtype=dtype))
        assert torch.equal(block(x), torch.cat(alone))
        for count in (2, 3, 4):
            torch.set_num_threads(count)
            assert torch.equal(block(x), torch.cat(alone))


@pytest.mark.usefixtures("thin")
def test_gradients_take_the_plain_way() -> None:
    block, x = Block(8, 12), torch.randn(1, 8, 33, 40, dtype=torch.float32, requires_grad=True)
    for network in (block, accelerate(copy.deepcopy(block), pack=True)):
        found = network(x)
        assert off(found.detach(), exact(block, x.detach()).detach()) < 1e-6
        (slope,) = torch.autograd.grad(found.sum(), x)
        assert float(slope.abs().sum()) > 0


@pytest.mark.usefixtures("thin")
def test_pictures_in_another_order_of_memory(kernels: FusedKernels | None) -> None:
    block = Block(8, 16)
    accelerated = accelerate(copy.deepcopy(block), pack=True, fused=kernels)
    wide = picture(2, 16, 41, 80, dtype=torch.float32)
    with torch.inference_mode():
        for x in (wide[:, ::2, :, ::2], wide[:, :8, :, 3:44].contiguous(), wide[:, 8:, 4:, 40:]):
            assert off(accelerated(x), exact(block, x)) < 1e-6


@pytest.mark.usefixtures("thin")
def test_changed_weights_are_used(kernels: FusedKernels | None) -> None:
    block = Block(16, 16)
    accelerate(block, pack=True, fused=kernels)
    x = picture(1, 16, 40, 40, dtype=torch.float32)
    with torch.inference_mode():
        block(x)
    unpack(block)
    with torch.no_grad():
        for tensor in block.parameters():
            tensor.mul_(-2)
    wanted = exact(block, x)
    with torch.inference_mode():
        assert off(block(x), wanted) < TOLERANCE[torch.float32]


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_doubling_in_stripes(dtype: torch.dtype) -> None:
    layer = Conv2d(8, 6, 3, padding=1).to(dtype)
    own = copy.deepcopy(layer).double()
    accelerate(layer, pack=True)
    with torch.inference_mode():
        for height, width in ((40, 40), (33, 17), (1, 2), (40, 40)):
            x = picture(3, 8, height, width, dtype=dtype)
            wanted = own(F.interpolate(x.double(), scale_factor=2.0, mode="nearest"))
            found = enlarge(x, (2 * height, 2 * width), layer)
            assert off(found, wanted) < TOLERANCE[dtype]
            assert torch.equal(enlarge(x[1:2], (2 * height, 2 * width), layer), found[1:2])


def test_stripes_are_as_even_as_can_be_and_cover_every_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripes, "BYTES", 100)
    assert [stripes.rows_of(height, 10) for height in (1, 9, 10, 11, 20, 21)] == [1, 9, 10, 6, 10, 7]
    assert stripes.rows_of(5, 1000) == 1

    def copied(given: Tensor, into: Tensor) -> None:
        into.copy_(given)

    for height in (1, 2, 9, 10, 11, 23, 64):
        x = torch.arange(1.0, height + 1).view(1, 1, height, 1)
        padded, seen = F.pad(x, (0, 0, 1, 1)), 0
        for top, end, rows in stripes.stripes(x, copied, channels=2):
            assert top == seen
            assert torch.equal(rows[:, :, : end - top + 2], padded[:, :, top : end + 2])
            assert not rows[:, :, end - top + 2 :].any()
            seen = end
        assert seen == height


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1, 32, 1, 1), (2, 320, 9, 7), (3, 36, 33, 5), (1, 2560, 8, 8), (1, 8, 300, 300)])
def test_group_norm_with_the_kernel(kernels: FusedKernels | None, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    norm = GroupNorm(shape[1], groups=4).to(dtype)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    norm.fused = kernels
    for shifted in (0.0, 50.0):
        x = picture(*shape, dtype=dtype) + shifted
        wanted = F.group_norm(x.double(), 4, norm.weight.double(), norm.bias.double(), norm.eps).detach()
        with torch.inference_mode():
            if shape[2:] != (1, 1) or shifted == 0:  # of eight equal numbers nothing is left
                assert off(norm.silu(x), F.silu(wanted)) < (5e-6 if dtype == torch.float32 else 5e-3)
            torch.set_num_threads(1)
            one = norm.silu(x)
            torch.set_num_threads(2)
            assert torch.equal(norm.silu(x), one)
            assert one.is_contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def test_silu_far_from_zero_and_numbers_that_are_not_finite(kernels: FusedKernels | None) -> None:
    norm, x = GroupNorm(16, groups=1), picture(1, 16, 4, 4, dtype=torch.float32)
    norm.fused = kernels
    norm.bias.copy_(torch.linspace(-300, 300, 16))
    torch.testing.assert_close(norm.silu(x), F.silu(nn.GroupNorm.forward(norm, x)), rtol=1e-5, atol=1e-30)
    for bad in (float("nan"), float("inf")):
        x[0, 3, 2, 2] = bad
        assert not bool(torch.isfinite(norm.silu(x)).any())


def test_the_kernels_survive_copies(kernels: FusedKernels | None, tmp_path: Path) -> None:
    block = accelerate(Block(8, 8), fused=kernels)
    assert isinstance(block, Block)
    assert copy.deepcopy(block).norm1.fused is kernels
    assert pickle.loads(pickle.dumps(block)).norm1.fused is None
    assert accelerate(block).get_submodule("norm1").__dict__["fused"] is None
    assert load_fused(tmp_path / "kernels", {"avx2"}) is None
    assert not (tmp_path / "kernels").exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_gate_with_the_kernel(kernels: FusedKernels | None, dtype: torch.dtype) -> None:
    for width, inner in ((16, 64), (5, 7), (320, 1280)):
        layer = GEGLU(width, inner).to(dtype)
        x = picture(2, 9, width, 1, dtype=dtype).contiguous()[..., 0] * 30
        with torch.inference_mode():
            value, gate = layer.proj(x).double().chunk(2, dim=-1)
            layer.fused = kernels
            assert off(layer(x), value * F.gelu(gate)) < (1e-6 if dtype == torch.float32 else 5e-3)
            if kernels is not None:
                both = layer.proj(x)
                assert torch.equal(kernels.geglu(both[:1].contiguous()), kernels.geglu(both)[:1])
        assert layer(x).requires_grad
    if kernels is not None:
        far = torch.cat([torch.ones(1, 401), torch.linspace(-12, 12, 401)[None]], dim=1)
        wanted = F.gelu(far[:, 401:].double())
        with torch.inference_mode():
            assert float((kernels.geglu(far).double() - wanted).abs().max()) < 2e-6
            far[0, 401:] = float("nan")
            assert bool(kernels.geglu(far).isnan().all())
