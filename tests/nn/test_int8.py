from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.nn import Conv2d, Linear, enlarge, int8
from pinxit.nn.int8 import Int8Weight, to_whole, why_not
from pinxit.nn.kernels.quantise import quantise_plainly
from pinxit.nn.rounded import Int8
from pinxit.nn.speed import accelerate
from pinxit.schema.errors import ModelError

DTYPES = [dtype for dtype in (torch.float32, torch.bfloat16) if why_not(dtype) is None]
TOLERANCE = {torch.float32: 1e-6, torch.bfloat16: 4e-3}
LOST = "rounded to 8 bits"


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def conv(
    dtype: torch.dtype,
    channels: int = 24,
    out: int = 40,
    *,
    kernel_size: int = 3,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Conv2d:
    torch.manual_seed(1)
    layer = Conv2d(channels, out, kernel_size, stride=stride, padding=padding, dilation=dilation)
    return layer.to(dtype).requires_grad_(False)


def in_int8(layer: nn.Module, dtype: torch.dtype) -> nn.Module:
    return accelerate(layer, int8=Int8(layer, dtype))


def held(layer: nn.Module) -> Int8Weight:
    assert isinstance(layer, Conv2d | Linear)
    assert isinstance(layer.packed, Int8Weight)
    return layer.packed


def exact(x: Tensor) -> Tensor:
    """What a layer sees of a picture, in float64."""
    rounded = quantise_plainly(x)
    return (rounded.values.double() - rounded.zero) * rounded.step


def rounded(weight: Tensor) -> Tensor:
    values, scales = to_whole(weight)
    return values.double() * scales.double().view(-1, *[1] * (weight.ndim - 1))


def close(found: Tensor, wanted: Tensor) -> bool:
    """Equal but for rounding to the number format."""
    return bool((found.double() - wanted).abs().max() <= TOLERANCE[found.dtype] * wanted.abs().max())


def test_float16_and_machines_without_the_library_have_no_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not(torch.float16) == "it does not work beside float16"
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert why_not.__wrapped__(torch.float32) == "this torch was built without oneDNN"


def test_a_missing_operation_and_wrong_sums_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Without:
        def __getattr__(self, name: str) -> object:
            raise AttributeError(f"no {name}")

    class Wrong:
        def __getattr__(self, name: str) -> object:
            run = getattr(torch.ops.onednn, name)
            return run if "prepack" in name else lambda *given: run(*given).clamp(max=1)

    monkeypatch.setattr(int8, "_ops", Without())
    assert "lacks an operation for it (no qconv_prepack)" in (why_not.__wrapped__(torch.float32) or "")
    monkeypatch.setattr(int8, "_ops", Wrong())
    if DTYPES:
        assert why_not.__wrapped__(torch.float32) == "the sums of 8-bit numbers come out wrong on this processor"


def test_weights_are_rounded_by_the_largest_of_each_channel() -> None:
    weight = torch.randn(300, 70, 3, 3)
    weight[4] = 0
    weight[5] *= 1000
    values, scales = to_whole(weight)
    assert values.dtype == torch.int8
    assert int(values.abs().max()) == 127
    assert torch.allclose(scales[5], weight[5].abs().max() / 127)
    assert bool((rounded(weight) - weight).abs().flatten(1).amax(1).le(scales * 0.501).all())
    assert torch.equal(to_whole(weight.bfloat16()).values, to_whole(weight.bfloat16().float()).values)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("options", [{"padding": 1}, {"stride": 2, "padding": 1}, {"kernel_size": 1}, {"dilation": 2}])
def test_convolutions_are_exact_sums_of_the_rounded_numbers(dtype: torch.dtype, options: dict[str, int]) -> None:
    layer = conv(dtype, **options)
    weight, bias = rounded(layer.weight), layer.bias
    assert bias is not None
    settings = (layer.stride, layer.padding, layer.dilation)
    in_int8(layer, dtype)
    for height, width in ((5, 5), (7, 16), (33, 31), (8, 8), (8, 8), (5, 5), (8, 8)):
        x = torch.randn(1, 24, height, width).to(dtype)
        wanted = F.conv2d(exact(x), weight, bias.double(), *settings)  # pyright: ignore[reportArgumentType, reportCallIssue] - torch types padding more widely than the function takes
        for given in (x, x.contiguous(memory_format=torch.channels_last)):
            with torch.inference_mode():
                found = layer(given)
            assert found.dtype == dtype
            assert close(found, wanted), (height, width)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_linear_maps_are_exact_sums_of_the_rounded_numbers(dtype: torch.dtype, bias: bool) -> None:
    layer = Linear(48, 72, bias=bias).to(dtype).requires_grad_(False)
    weight, offset = rounded(layer.weight), layer.bias.double() if bias else None
    in_int8(layer, dtype)
    for shape in ((1, 77, 48), (1, 1, 48), (48,), (1, 3, 5, 48)):
        x = torch.randn(shape).to(dtype)
        with torch.inference_mode():
            assert close(layer(x), F.linear(exact(x), weight, offset)), shape
    sideways = torch.randn(1, 48, 9).to(dtype).transpose(1, 2)
    with torch.inference_mode():
        assert close(layer(sideways), F.linear(exact(sideways), weight, offset))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_layer_is_off_by_about_a_hundredth(dtype: torch.dtype) -> None:
    layer = conv(dtype, 64, 64, padding=1)
    x = F.silu(torch.randn(1, 64, 16, 16)).to(dtype)
    with torch.inference_mode():
        wanted = layer.double()(x.double())
        found = in_int8(layer.to(dtype), dtype)(x)
    error = float((found.double() - wanted).norm() / wanted.norm())
    assert 1e-3 < error < 1.5e-2


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_batch_is_its_pictures_bit_for_bit(dtype: torch.dtype) -> None:
    layers = [in_int8(conv(dtype, padding=1), dtype), in_int8(Linear(24, 40).to(dtype), dtype)]
    shapes = [(24, 9, 7), (13, 24)]
    for layer, shape in zip(layers, shapes, strict=True):
        for batch in range(1, 6):
            scales = torch.logspace(-2, 2, batch).view(-1, *[1] * len(shape))
            x = (torch.randn(batch, *shape) * scales).to(dtype)
            with torch.inference_mode():
                together = layer(x)
                alone = torch.cat([layer(one) for one in x.split(1)])
            assert torch.equal(together, alone), batch


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_neither_threads_nor_what_came_before_changes_a_bit(dtype: torch.dtype) -> None:
    x = torch.randn(1, 24, 32, 32).to(dtype)
    found: list[Tensor] = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        layer = in_int8(conv(dtype, padding=1), dtype)
        with torch.inference_mode():
            for size in (8, 8, 17)[:number]:
                layer(torch.randn(1, 24, size, size).to(dtype))
            found.append(layer(x))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_doubling_is_folded_and_other_sizes_are_not(dtype: torch.dtype) -> None:
    layer = conv(dtype, 24, 100, padding=1)
    plain = copy.deepcopy(layer)
    in_int8(layer, dtype)
    for height, width in ((8, 8), (5, 7)):
        x = torch.randn(2, 24, height, width).to(dtype)
        for size in ((2 * height, 2 * width), (2 * height - 1, 2 * width)):
            with torch.inference_mode():
                found, wanted = enlarge(x, size, layer), enlarge(x, size, plain)
                again = enlarge(x, size, layer)
            assert found.shape == wanted.shape
            assert float((found.double() - wanted.double()).norm() / wanted.double().norm()) < 2e-2
            assert torch.equal(found, again)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_new_weight_is_rounded_in_its_turn(dtype: torch.dtype) -> None:
    layer = conv(dtype, padding=1)
    fresh = torch.randn_like(layer.weight)
    in_int8(layer, dtype)
    x = torch.randn(1, 24, 9, 9).to(dtype)
    with torch.inference_mode():
        before = layer(x)
        layer.weight = nn.Parameter(fresh, requires_grad=False)
        after = layer(x)
    assert layer.weight.numel() == 0
    assert not torch.equal(before, after)
    assert layer.bias is not None
    assert close(after, F.conv2d(exact(x), rounded(fresh), layer.bias.double(), padding=1))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_new_weight_is_folded_in_its_turn(dtype: torch.dtype) -> None:
    layer = conv(dtype, 24, 24, padding=1)
    in_int8(layer, dtype)
    fresh = torch.randn_like(conv(dtype, 24, 24).weight)
    x = torch.randn(1, 24, 8, 8).to(dtype)
    with torch.inference_mode():
        enlarge(x, (16, 16), layer)
        layer.weight = nn.Parameter(fresh, requires_grad=False)
        found = [enlarge(x, (16, 16), layer) for _ in range(2)]
        wide = F.interpolate(x.double(), scale_factor=2.0)
        wanted = F.conv2d(wide, fresh.double(), None if layer.bias is None else layer.bias.double(), padding=1)
    for one in found:
        assert float((one.double() - wanted).norm() / wanted.norm()) < 2e-2


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_exact_weights_are_refused_rather_than_made_up(dtype: torch.dtype) -> None:
    network = nn.Sequential(conv(dtype), Linear(40, 40).to(dtype))
    in_int8(network, dtype)
    with torch.inference_mode():
        network[0](torch.randn(1, 24, 5, 5).to(dtype))
    for ask in (
        network.state_dict,
        lambda: network.load_state_dict({}, strict=False),
        lambda: network.to(torch.float64),
        lambda: copy.deepcopy(network),
        lambda: pickle.dumps(network),
        lambda: accelerate(network),
    ):
        with pytest.raises(ModelError, match=LOST) as told:
            ask()
        assert told.value.hint == "Load the model again in another precision."


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradients_and_other_number_formats_are_refused(dtype: torch.dtype) -> None:
    layer = in_int8(conv(dtype), dtype)
    with pytest.raises(ModelError, match="without gradients"):
        layer(torch.randn(1, 24, 5, 5).to(dtype).requires_grad_())
    with torch.inference_mode(), pytest.raises(ModelError, match="not from float16 on cpu"):
        layer(torch.randn(1, 24, 5, 5).half())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_not_finite_stays_so(dtype: torch.dtype) -> None:
    layer = in_int8(conv(dtype, padding=1), dtype)
    for wrong in (float("nan"), float("inf")):
        x = torch.randn(1, 24, 5, 5).to(dtype)
        x[0, 3, 2, 2] = wrong
        with torch.inference_mode():
            assert bool(layer(x).isnan().all())
    broken = conv(dtype, padding=1)
    broken.weight[7, 0, 0, 0] = float("nan")
    in_int8(broken, dtype)
    with torch.inference_mode():
        found = broken(torch.randn(1, 24, 5, 5).to(dtype))
    assert bool(found[:, 7].isnan().all())
    assert bool(found[:, :7].isfinite().all())


class Network(nn.Module):
    exact_parts = ("first", "inner.kept")

    def __init__(self) -> None:
        super().__init__()
        self.first = Conv2d(32, 32, 1)
        self.inner = nn.ModuleDict({"kept": Linear(32, 32), "other": Linear(32, 32)})
        self.narrow = Conv2d(4, 32, 3)
        self.grouped = Conv2d(32, 32, 3, groups=2)
        self.firsts = Conv2d(32, 32, 3)


def test_narrow_grouped_and_named_layers_stay_exact() -> None:
    network = Network()
    accelerate(network, int8=Int8(network, torch.float32))
    rounded_ones = {name for name, module in network.named_modules() if module.__dict__.get("packed") is not None}
    assert rounded_ones == {"inner.other", "firsts"}


def test_weights_are_taken_as_they_are_read() -> None:
    network = Network()
    weight = torch.randn(32, 32, 3, 3)
    rounding = Int8(network, torch.bfloat16)
    assert rounding.take("firsts.weight", weight)
    assert not any(rounding.take(name, weight) for name in ("firsts.bias", "first.weight", "absent.weight", "weight"))
    accelerate(network, int8=rounding)
    assert torch.equal(held(network.firsts).whole(network.firsts).values, to_whole(weight).values)
    assert network.firsts.weight.dtype == torch.bfloat16
