"""8 bits on a GPU: which layers, through which library, and what is said where that library is another."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from pinxit.engine.machine import GIB, Gpu, Machine
from pinxit.engine.means import Means
from pinxit.engine.memory import LADDER, SHARES
from pinxit.engine.plan import plan
from pinxit.engine.residency import Residency
from pinxit.models.common.configs import UNetConfig
from pinxit.models.common.ldm_unet import UNet
from pinxit.nn.eight_bits import quantise_linear
from pinxit.schema.errors import Missing
from tests.easel import Easels

HOPPER = Gpu(name="Imagined", device="meta", memory=24 * GIB, free=20 * GIB, bfloat16=True, capability=(9, 0))
HOST = Machine(cores=2, memory=64 * GIB, available=60 * GIB, flags=frozenset(), gpus=(HOPPER,))


class Library:
    """What torchao offers, which writes down the layers that it was asked to change."""

    def __init__(self) -> None:
        self.changed: dict[str, str] = {}
        self.module = SimpleNamespace(
            PerRow=lambda: "row",
            Int8DynamicActivationInt8WeightConfig=lambda *, granularity: f"int8 {granularity}",
            Float8DynamicActivationFloat8WeightConfig=lambda *, granularity: f"float8 {granularity}",
            quantize_=self.quantize,
        )

    def quantize(self, network: nn.Module, config: str, *, filter_fn: Any) -> None:
        self.changed |= {name: config for name, layer in network.named_modules() if filter_fn(layer, name)}


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setitem(sys.modules, "torchao", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchao.quantization", made.module)
    monkeypatch.setattr("pinxit.engine.means.find_spec", lambda name: object())
    return made


@pytest.mark.parametrize("kind", ["int8", "float8"])
def test_wide_linear_layers_are_rounded_and_nothing_else(library: Library, kind: Any) -> None:
    config = UNetConfig(
        in_channels=4,
        out_channels=4,
        model_channels=320,
        channel_mult=(1, 2),
        num_res_blocks=(1, 1),
        transformer_depth=(1, 1),
        transformer_depth_middle=1,
        transformer_depth_output=(1, 1),
        context_dim=768,
        num_heads=8,
    )
    with torch.device("meta"):
        network = UNet(config)
    assert quantise_linear(network, kind) is network
    assert set(library.changed.values()) == {f"{kind} row"}
    layers = {name: network.get_submodule(name) for name in library.changed}
    assert all(isinstance(layer, nn.Linear) and layer.in_features >= 512 for layer in layers.values())
    assert not any(part in name for name in layers for part in ("time_embed", "emb_layers"))
    narrow, wide = "input_blocks.1.1.transformer_blocks.0.attn", "middle_block.1.transformer_blocks.0.attn"
    assert {f"{wide}1.to_q", f"{wide}2.to_k", f"{narrow}2.to_k"} <= layers.keys()
    assert f"{narrow}1.to_q" not in layers


@pytest.mark.parametrize("precision", ["int8", "float8"])
def test_the_record_and_the_ladder_know(easels: Easels, library: Library, precision: Any) -> None:
    means = Means(precision=precision)
    resolved = easels("sd1").resolve()
    residency = Residency(HOST, means=means)
    network = residency.network(resolved, "unet")
    assert residency.numerics == f"meta-{precision}"
    assert not hasattr(network, "packed")
    made = plan(resolved, HOST, means=means)
    assert made.way.quantized == precision
    residency.save(tuple(rung.name for rung in LADDER))
    residency.clear()
    residency.network(resolved, "unet")
    assert SHARES.keys() <= {rung.name for rung in LADDER}
    assert residency.numerics == f"meta-{precision}"


def test_another_library_is_told(easels: Easels, library: Library) -> None:
    del library.module.PerRow
    residency = Residency(HOST, means=Means(precision="int8"))
    with pytest.raises(Missing, match=r"This torchao does not work beside this torch: .*PerRow") as raised:
        residency.network(easels("sd1").resolve(), "unet")
    assert raised.value.hint == "Install it: pip install 'pinxit[torchao]'."
