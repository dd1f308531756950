"""Weights that stay in their file until they are needed."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from pinxit.nn import Conv2d, GroupNorm, Linear
from pinxit.nn.layers import enlarge, unpack
from pinxit.nn.packed import available
from pinxit.nn.speed import accelerate
from pinxit.nn.waiting import Waiting

DTYPES = [dtype for dtype in (torch.float32, torch.bfloat16) if available(dtype)]
STORED = (torch.float32, torch.float16, torch.bfloat16)


class Stored:
    """A tensor as a file would give it. `broken` makes reading fail."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.reads, self.broken = tensor, 0, False

    @property
    def nbytes(self) -> int:
        return self.tensor.nbytes

    def read(self, room: Tensor | None = None) -> Tensor:
        self.reads += 1
        if self.broken:
            raise OSError("gone")
        if room is None:
            return self.tensor.clone()
        return room[: self.nbytes].view(self.tensor.dtype).view(self.tensor.shape).copy_(self.tensor)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = Conv2d(4, 32, 3, padding=1), Conv2d(32, 32, 3, padding=1)
        self.norm, self.linear = GroupNorm(32), Linear(32, 24)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm.silu(self.conv(x))
        return self.linear(enlarge(h, (2 * h.shape[2], 2 * h.shape[3]), self.up).flatten(2).transpose(1, 2))


def waiting(network: nn.Module, dtype: torch.dtype, stored: torch.dtype) -> dict[str, Stored]:
    """Have the network's weights wait, rounded to what a file stores. Returns where they wait."""
    waits = Waiting(network, dtype)
    given = {name: Stored(value.detach().to(stored)) for name, value in network.named_parameters()}
    network.to(dtype)
    taken = {name: source for name, source in given.items() if waits.take(name, source)}
    accelerate(network, pack=True, waiting=waits)
    return taken


def loaded(network: nn.Module, dtype: torch.dtype, given: Mapping[str, Stored]) -> nn.Module:
    """A twin whose weights were all there from the start."""
    twin = copy.deepcopy(network)
    for name, source in given.items():
        owner, _, own = name.rpartition(".")
        setattr(twin.get_submodule(owner), own, nn.Parameter(source.tensor.to(dtype), requires_grad=False))
    return accelerate(twin.to(dtype), pack=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("stored", STORED, ids=str)
def test_what_waits_gives_the_same_bits_and_is_read_once(dtype: torch.dtype, stored: torch.dtype) -> None:
    network = Network()
    plain = copy.deepcopy(network)
    given = waiting(network, dtype, stored)
    twin = loaded(plain, dtype, given)
    assert sorted(given) == ["conv.weight", "linear.weight", "up.weight"]
    assert [source.reads for source in given.values()] == [0, 0, 0]
    for size in (9, 9, 4):
        x = torch.randn(2, 4, size, 7).to(dtype).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            assert torch.equal(network(x), twin(x))
    assert [source.reads for source in given.values()] == [1, 1, 1]


@pytest.mark.parametrize("stored", STORED, ids=str)
def test_whoever_asks_for_the_plain_weight_gets_it_before_and_after_the_first_call(stored: torch.dtype) -> None:
    network = Network()
    given = waiting(network, torch.float32, stored)
    first = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.inference_mode():
        network(torch.randn(1, 4, 6, 6))
    second = network.state_dict()
    for name, source in given.items():
        assert torch.equal(first[name], source.tensor.float())
        assert torch.equal(second[name], source.tensor.float())


def test_a_copy_is_whole_and_gradients_find_the_weights() -> None:
    network = Network()
    given = waiting(network, torch.float32, torch.float32)
    twin = copy.deepcopy(network)
    x = torch.randn(1, 4, 6, 6, requires_grad=True)
    twin(x).sum().backward()
    assert x.grad is not None
    assert torch.equal(twin.conv.weight, given["conv.weight"].tensor)


def test_a_weight_that_cannot_be_read_is_asked_for_again_the_next_time() -> None:
    network = Network()
    given = waiting(network, torch.float32, torch.float32)
    given["linear.weight"].broken = True
    x = torch.randn(1, 4, 6, 6)
    with torch.inference_mode():
        with pytest.raises(OSError, match="gone"):
            network(x)
        given["linear.weight"].broken = False
        assert torch.isfinite(network(x)).all()


def test_several_threads_may_call_for_the_first_time_at_once() -> None:
    network = Network()
    waiting(network, torch.float32, torch.float32)
    x, found = torch.randn(1, 4, 16, 16), list[Tensor]()

    def compute() -> None:
        with torch.inference_mode():
            found.append(network(x))

    threads = [threading.Thread(target=compute) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(found) == 4
    assert all(torch.equal(one, found[0]) for one in found)


def test_a_weight_that_is_replaced_before_the_first_call_is_not_read() -> None:
    network = nn.Sequential(Linear(8, 8))
    given, layer = waiting(network, torch.float32, torch.float32), cast(Linear, network[0])
    layer.weight = nn.Parameter(torch.eye(8), requires_grad=False)
    with torch.inference_mode():
        assert torch.equal(layer(torch.ones(2, 8)), torch.ones(2, 8) + layer.bias)
    unpack(layer)
    assert (given["0.weight"].reads, torch.equal(layer.weight, torch.eye(8))) == (0, True)
