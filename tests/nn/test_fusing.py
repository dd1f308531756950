"""Layers that became one: the same numbers, the same names, and no weight that is left behind."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from pinxit.models.common.transformer import CrossAttention
from pinxit.nn.layers import Linear
from pinxit.nn.speed import accelerate

DTYPES = [torch.float32, torch.bfloat16]


def attend(dtype: torch.dtype = torch.float32, context: int | None = None) -> tuple[CrossAttention, CrossAttention]:
    """An attention as it is, and the same fused. In a context keys and values are; on the processor that is forced."""
    torch.manual_seed(0)
    plain = CrossAttention(32, heads=4, context=context).to(dtype).requires_grad_(False)
    fused = copy.deepcopy(plain)
    if context is not None:
        vars(fused)["readers"] = lambda: (fused.to_k, fused.to_v)
    accelerate(fused, fuse=True)
    assert fused.fused_weight is not None
    return plain, fused


def near(found: Tensor, wanted: Tensor) -> bool:
    allowed = 1e-6 if found.dtype == torch.float32 else 1e-2
    return bool((found.float() - wanted.float()).norm() <= allowed * wanted.float().norm())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("context", [None, 24])
@pytest.mark.parametrize("batch", [1, 3])
@torch.inference_mode()
def test_the_numbers_stay(dtype: torch.dtype, context: int | None, batch: int) -> None:
    plain, fused = attend(dtype, context)
    x = torch.randn(batch, 9, 32, dtype=dtype)
    told = None if context is None else torch.randn(batch, 7, context)
    assert near(fused(x, told), plain(x, told))
    assert fused.fused_weight is not None


@torch.inference_mode()
def test_memory_holds_a_weight_once_under_its_own_name() -> None:
    plain, fused = attend()
    states = plain.state_dict(), fused.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    storages = {layer.weight.untyped_storage().data_ptr() for layer in (fused.to_q, fused.to_k, fused.to_v)}
    assert fused.fused_weight is not None
    assert storages == {fused.fused_weight.untyped_storage().data_ptr()}


@pytest.mark.parametrize("how", ["in place", "loaded", "assigned", "another"])
@torch.inference_mode()
def test_a_changed_weight_counts(how: str) -> None:
    plain, fused = attend()
    x, weight = torch.randn(1, 9, 32), torch.randn(32, 32)
    state = {**plain.state_dict(), "to_k.weight": weight.clone()}
    fused(x)
    plain.load_state_dict(state)
    if how == "in place":
        fused.to_k.weight.copy_(weight)
    elif how == "another":
        fused.to_k.weight = torch.nn.Parameter(weight, requires_grad=False)
    else:
        fused.load_state_dict(state, assign=how == "assigned")
    assert near(fused(x), plain(x))


@torch.inference_mode()
def test_copies_and_casts_compute_for_themselves() -> None:
    plain, fused = attend()
    x = torch.randn(1, 9, 32)
    copied = copy.deepcopy(fused)
    copied.to_v.weight.zero_()
    assert copied(x).isfinite().all()
    assert not near(copied(x), plain(x))
    assert near(fused(x), plain(x))
    fused.double()
    assert torch.allclose(fused(x.double()), plain.double()(x.double()))


def test_gradients_are_the_layers_own() -> None:
    plain, fused = attend()
    x = torch.randn(1, 9, 32)
    for one in (plain, fused):
        one.requires_grad_(True)
        one(x).sum().backward()
    wanted, found = plain.to_k.weight.grad, fused.to_k.weight.grad
    assert found is not None
    assert wanted is not None
    assert torch.equal(found, wanted)


def test_packed_layers_stay_apart_and_so_does_a_context_on_the_processor() -> None:
    packed = accelerate(CrossAttention(32, heads=4), pack=True, fuse=True)
    elsewhere = accelerate(CrossAttention(32, heads=4, context=24), fuse=True)
    assert isinstance(packed, CrossAttention)
    assert isinstance(elsewhere, CrossAttention)
    assert packed.fused_weight is None
    assert elsewhere.fused_weight is None
    assert isinstance(packed.to_q, Linear)
