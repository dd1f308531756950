from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.nn import Conv2d, enlarge
from pinxit.nn.folded import FoldedWeight, folded, folds
from pinxit.nn.layers import unpack
from pinxit.nn.packed import available
from pinxit.nn.speed import accelerate

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12, torch.bfloat16: 8e-3}
DTYPES = [dtype for dtype in (torch.float32, torch.bfloat16) if available(dtype)]


def off(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted.double()).norm() / wanted.double().norm())


@torch.no_grad()
def exact(x: Tensor, layer: nn.Conv2d) -> Tensor:
    bias = None if layer.bias is None else layer.bias.double()
    return F.conv2d(F.interpolate(x.double(), scale_factor=2.0, mode="nearest"), layer.weight.double(), bias, padding=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2), (7, 4), (16, 16)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_folded_convolution_is_the_same_arithmetic(size: tuple[int, int], bias: bool) -> None:
    layer, x = Conv2d(5, 6, 3, padding=1, bias=bias), torch.randn(2, 5, *size)
    with torch.inference_mode():
        assert off(FoldedWeight().doubled(x, layer), exact(x, layer)) < TOLERANCE[torch.float32]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_enlarging_with_packed_weights(dtype: torch.dtype, batch: int) -> None:
    layer = Conv2d(32, 48, 3, padding=1).to(dtype)
    own = copy.deepcopy(layer)
    accelerate(layer, pack=True)
    for height, width in ((8, 8), (3, 5), (8, 8), (1, 1)):
        x = torch.randn(batch, 32, height, width).to(dtype).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            doubled = enlarge(x, (2 * height, 2 * width), layer)
            odd = enlarge(x, (2 * height - 1, 2 * width), layer)
            assert off(doubled, exact(x, own)) < TOLERANCE[dtype]
            assert off(odd, enlarge(x, (2 * height - 1, 2 * width), own)) < TOLERANCE[dtype]
            again = enlarge(x, (2 * height, 2 * width), layer)
        assert torch.equal(doubled, again)


def test_changed_weights_are_folded_again() -> None:
    layer, x = Conv2d(8, 8, 3, padding=1), torch.randn(1, 8, 4, 4)
    accelerate(layer, pack=True)

    def right() -> bool:
        with torch.inference_mode():
            found = enlarge(x, (8, 8), layer)
        unpack(layer)
        return off(found, exact(x, layer)) < TOLERANCE[torch.float32]

    assert right()
    with torch.no_grad():
        layer.weight.mul_(-3)
    assert right()
    layer.load_state_dict({name: value + 1 for name, value in layer.state_dict().items()})
    assert right()
    assert accelerate(layer).get_parameter("weight").numel() > 0
    assert layer.folded is None


def test_gradients_flow_and_other_layers_are_left_alone() -> None:
    layer = Conv2d(4, 4, 3, padding=1)
    accelerate(layer, pack=True)
    enlarge(torch.randn(1, 4, 3, 3), (6, 6), layer).sum().backward()
    assert layer.weight.grad is not None
    for other in (Conv2d(4, 4, 1), Conv2d(4, 4, 3), Conv2d(4, 4, 3, padding=1, groups=2), Conv2d(4, 4, 3, 2, 1)):
        assert not folds(other)
        accelerate(other, pack=True)
        assert other.folded is None
    assert folds(layer)
    assert folded(layer, layer.weight).weight.shape == (16, 4, 2, 2)
