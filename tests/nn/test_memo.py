"""A prompt's keys and values are computed once, and never stay when they should not."""

from __future__ import annotations

import copy
import gc
import pickle
import threading

import pytest
import torch
from torch import Tensor

from pinxit.models.common.transformer import CrossAttention
from pinxit.nn import Linear
from pinxit.nn.layers import unpack
from pinxit.nn.speed import accelerate


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Linear]:
    """The layers that computed, in order."""
    done: list[Linear] = []
    forward = Linear.forward

    def counting(self: Linear, input: Tensor) -> Tensor:  # noqa: A002  torch's name for it
        done.append(self)
        return forward(self, input)

    monkeypatch.setattr(Linear, "forward", counting)
    return done


@pytest.mark.parametrize("pack", [True, False])
@torch.inference_mode()
def test_two_prompts_take_turns_and_are_computed_once(counted: list[Linear], pack: bool) -> None:
    attend = CrossAttention(16, heads=2, context=12)
    accelerate(attend, pack=pack)
    x, texts = torch.randn(1, 5, 16), [torch.randn(1, 7, 12) for _ in range(2)]
    first = [attend(x, text) for text in texts]
    assert len(counted) == 8
    for _ in range(3):
        assert all(torch.equal(attend(x, text), one) for text, one in zip(texts, first, strict=True))
    assert len(counted) == 8 + 3 * 4
    assert all(torch.equal(attend(x, text.clone()), one) for text, one in zip(texts, first, strict=True))


@torch.inference_mode()
def test_what_was_made_goes_with_what_it_was_made_of() -> None:
    layer = Linear(12, 16)
    text = torch.randn(1, 7, 12)
    layer.once(text)
    assert layer.memo is not None
    assert len(layer.memo) == 1
    del text
    gc.collect()
    assert len(layer.memo) == 0


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("change", ["in place", "load", "unpack", "input"])
def test_after_a_change_nothing_is_stale(pack: bool, change: str) -> None:
    layer = Linear(12, 16)
    accelerate(layer, pack=pack)
    texts = [torch.randn(1, 7, 12) for _ in range(2)]
    with torch.no_grad():
        for text in texts:
            layer.once(text)
        if change == "in place":
            unpack(layer)
            layer.weight.mul_(3)
        elif change == "load":
            layer.load_state_dict({name: value + 1 for name, value in layer.state_dict().items()})
        elif change == "unpack":
            unpack(layer)
            with torch.inference_mode():
                layer.weight.data = layer.weight.data * -1
        else:
            texts[1].mul_(2)
        for text in (texts[1], texts[0], texts[1]):
            assert torch.equal(layer.once(text), layer(text))


def test_gradients_compute_anew_and_dtypes_are_cast() -> None:
    layer, text = Linear(12, 16).bfloat16(), torch.randn(1, 7, 12)
    layer.once(text).sum().backward()
    assert layer.weight.grad is not None
    assert layer.memo is None
    with torch.no_grad():
        assert torch.equal(layer.once(text), layer(text.bfloat16()))


@torch.inference_mode()
def test_copies_start_afresh() -> None:
    layer, text = Linear(12, 16), torch.randn(1, 7, 12)
    layer.once(text)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert not other.memo
        assert torch.equal(other.once(text), layer.once(text))


def test_many_threads_agree() -> None:
    layer, wrong = Linear(12, 16), []
    accelerate(layer, pack=True)
    shared = torch.randn(1, 7, 12)
    with torch.inference_mode():
        wanted = layer(shared)

    def work() -> None:
        with torch.inference_mode():
            for _ in range(200):
                own = torch.randn(1, 3, 12)
                if not torch.equal(layer.once(shared), wanted) or not torch.equal(layer.once(own), layer(own)):
                    wrong.append(own)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
