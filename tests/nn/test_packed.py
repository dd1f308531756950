from __future__ import annotations

import copy
import pickle
import threading

import pytest
import torch
from torch import Tensor, nn

from pinxit.nn import Conv2d, Linear, packed
from pinxit.nn.layers import unpack
from pinxit.nn.packed import PackedWeight, available
from pinxit.nn.speed import accelerate

DTYPES = [dtype for dtype in (torch.float32, torch.bfloat16) if available(dtype)]
PLACES = [(1, 1), (7, 5), (16, 16), (33, 31)]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


def near(found: Tensor, wanted: Tensor) -> bool:
    return bool((found.float() - wanted.float()).norm() <= TOLERANCE[found.dtype] * wanted.float().norm())


def packed_conv(dtype: torch.dtype, **options: int) -> Conv2d:
    kernel_size = options.pop("kernel_size", 3)
    layer = Conv2d(12, 20, kernel_size, bias=True, padding_mode="zeros", **options).to(dtype)
    accelerate(layer, pack=True)
    return layer


def unpacked(layer: nn.Module) -> nn.Module:
    """A copy that computes as torch does."""
    return accelerate(copy.deepcopy(layer))


@pytest.fixture
def packings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which weights were packed, in order."""
    done: list[str] = []

    class Counting:
        def __getattr__(self, name: str) -> object:
            if name.startswith("_reorder"):
                done.append(name.split("_")[2])
            return getattr(torch.ops.mkldnn, name)

    monkeypatch.setattr(packed, "_ops", Counting())
    return done


def test_here_weights_can_be_packed() -> None:
    assert torch.float32 in DTYPES
    assert not available(torch.float16)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("options", [{"padding": 1}, {"stride": 2, "padding": 1}, {"kernel_size": 1}, {"groups": 4}])
def test_convolutions_equal_torchs_own_in_every_size_and_batch(dtype: torch.dtype, options: dict[str, int]) -> None:
    layer = packed_conv(dtype, **dict(options))
    own = unpacked(layer)
    for height, width in PLACES:
        if height < 3 and "padding" not in options and "kernel_size" not in options:
            continue
        for batch in range(1, 6):
            x = torch.randn(batch, 12, height, width).to(dtype)
            for given in (x, x.contiguous(memory_format=torch.channels_last)):
                with torch.inference_mode():
                    found, wanted = layer(given), own(given)
                assert near(found, wanted), (height, width, batch)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_linear_maps_equal_torchs_own_in_every_size(dtype: torch.dtype, bias: bool) -> None:
    layer = accelerate(Linear(24, 40, bias=bias).to(dtype), pack=True)
    own = unpacked(layer)
    for shape in ((1, 24), (77, 24), (2, 77, 24), (5, 33, 24), (3, 1, 2, 24)):
        x = torch.randn(shape).to(dtype)
        with torch.inference_mode():
            assert near(layer(x), own(x))
    x = torch.randn(1, 24, 9).to(dtype).transpose(1, 2)
    with torch.inference_mode():
        assert near(layer(x), own(x))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_a_weight_was_packed_for_changes_no_bit(dtype: torch.dtype) -> None:
    """A picture must not depend on the sizes that were painted before it."""
    sizes = [(1, 12, 64, 64), (1, 12, 8, 8), (3, 12, 17, 9)]
    inputs = [torch.randn(size).to(dtype).contiguous(memory_format=torch.channels_last) for size in sizes]
    layer = packed_conv(dtype, padding=1)
    with torch.inference_mode():
        fresh: list[Tensor] = []
        for x in inputs:
            unpack(layer)
            fresh.append(layer(x))
        for x, wanted in [*zip(inputs, fresh, strict=True), *zip(reversed(inputs), reversed(fresh), strict=True)]:
            assert torch.equal(layer(x), wanted)
    mapped, rows = (
        accelerate(Linear(24, 40).to(dtype), pack=True),
        [torch.randn(n, 24).to(dtype) for n in (4096, 1, 77)],
    )
    with torch.inference_mode():
        alone = [accelerate(mapped, pack=True)(x) for x in rows]
        assert all(torch.equal(mapped(x), one) for x, one in zip(rows, alone, strict=True))


def test_a_size_that_comes_twice_is_packed_for(packings: list[str]) -> None:
    layer = packed_conv(torch.float32, padding=1)
    small, large = torch.randn(1, 12, 4, 4), torch.randn(1, 12, 9, 9)
    with torch.inference_mode():
        for x in (small, small, large, small, large):
            layer(x)
        assert len(packings) == 1
        layer(large)
    assert packings == ["convolution"] * 2


@pytest.mark.parametrize("alone", [True, False])
def test_changed_weights_are_packed_again(alone: bool) -> None:
    layer, x = packed_conv(torch.float32, padding=1), torch.randn(1, 12, 6, 6)
    layer.packed = PackedWeight(alone=alone)
    factor, own = 1.0, unpacked(layer)

    def right() -> bool:
        with torch.inference_mode():
            wanted = own(x) - own.get_parameter("bias")[:, None, None]
            return near(layer(x) - layer.get_parameter("bias")[:, None, None], wanted * factor)

    assert right()
    assert (layer.weight.numel() == 0) == alone
    unpack(layer)
    factor = 2.0
    with torch.no_grad():
        layer.weight.mul_(2)
    assert right()
    factor = 3.0
    layer.weight = nn.Parameter(own.get_parameter("weight") * 3)
    assert right()
    factor = 6.0
    layer.load_state_dict({name: value * 2 for name, value in layer.state_dict().items()})
    assert right()
    layer.to(torch.float64).to(torch.float32)
    assert right()
    layer.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's overloads omit this form
    assert right()


def test_a_change_in_place_is_noticed_where_the_plain_weight_was_kept() -> None:
    layer, x = Linear(8, 8, bias=False), torch.randn(3, 8)
    layer.packed = PackedWeight()
    with torch.no_grad():
        layer.weight.copy_(torch.eye(8))
        assert near(layer(x), x)
        layer.weight.mul_(2)
        assert near(layer(x), 2 * x)


def test_weights_made_in_inference_mode_are_packed_again_when_told() -> None:
    with torch.inference_mode():
        layer = Linear(8, 8, bias=False)
        accelerate(layer, pack=True)
        layer.weight = nn.Parameter(torch.eye(8), requires_grad=False)
        x = torch.randn(3, 8)
        assert near(layer(x), x)
        unpack(layer)
        layer.weight.mul_(2)
        assert near(layer(x), 2 * x)
        layer.load_state_dict({"weight": torch.eye(8) * 5})
        assert near(layer(x), 5 * x)


def test_the_state_dict_stays_as_it_is() -> None:
    layer = packed_conv(torch.float32, padding=1)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with torch.inference_mode():
        layer(torch.randn(1, 12, 5, 5))
    assert layer.weight.numel() == 0
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        with torch.inference_mode():
            x = torch.randn(1, 12, 5, 5)
            assert torch.equal(other(x), layer(x))


def test_gradients_other_types_and_odd_layers_go_torchs_way(packings: list[str]) -> None:
    layer = packed_conv(torch.float32, padding=1)
    x = torch.randn(1, 12, 5, 5, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is not None
    with torch.inference_mode():
        assert layer(torch.randn(12, 5, 5)).shape == (20, 5, 5)
        assert layer(torch.randn(0, 12, 5, 5)).shape == (0, 20, 5, 5)
        accelerate(wrapping := Conv2d(4, 4, 3, padding=1, padding_mode="circular"), pack=True)
        assert wrapping(torch.randn(1, 4, 5, 5)).shape == (1, 4, 5, 5)
        accelerate(named := Conv2d(4, 4, 3, padding="same"), pack=True)
        assert named(torch.randn(1, 4, 5, 5)).shape == (1, 4, 5, 5)
        accelerate(half := Linear(4, 4).double(), pack=True)
        assert half(torch.randn(2, 4).double()).dtype == torch.float64
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert layer(torch.randn(1, 12, 5, 5)).dtype == torch.bfloat16
    assert packings == []


def test_without_the_operations_torchs_own_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def __getattr__(self, name: str) -> object:
            if name == "_convolution_pointwise":
                return lambda *given: torch.zeros(2, 16, 4, 3)
            return getattr(torch.ops.mkldnn, name)

    for ops in (object(), Wrong()):
        monkeypatch.setattr(packed, "_ops", ops)
        available.cache_clear()
        try:
            layer = packed_conv(torch.float32, padding=1)
            with torch.inference_mode():
                x = torch.randn(1, 12, 5, 5)
                assert torch.equal(layer(x), unpacked(layer)(x))
                assert layer.weight.numel() > 0
        finally:
            available.cache_clear()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_threads_that_share_a_layer_get_the_right_numbers(dtype: torch.dtype) -> None:
    layer = packed_conv(dtype, padding=1)
    inputs = [torch.randn(1, 12, 5 + size, 9).to(dtype) for size in range(4)]
    own = unpacked(layer)
    with torch.inference_mode():
        wanted = [own(x) for x in inputs]
    wrong: list[int] = []

    def work(start: int) -> None:
        with torch.inference_mode():
            for turn in range(40):
                at = (start + turn // 2) % len(inputs)
                if not near(layer(inputs[at]), wanted[at]):
                    wrong.append(at)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_one_picture_of_a_batch_equals_itself_alone(dtype: torch.dtype) -> None:
    layer, x = packed_conv(dtype, padding=1), torch.randn(4, 12, 10, 6).to(dtype)
    with torch.inference_mode():
        together = layer(x)
        assert all(torch.equal(layer(x[index : index + 1])[0], together[index]) for index in range(4))


def test_a_slot_that_is_copied_or_saved_is_empty() -> None:
    slot = PackedWeight()
    assert isinstance(copy.deepcopy(slot), PackedWeight)
    assert isinstance(pickle.loads(pickle.dumps(slot)), PackedWeight)
