"""Wide linear layers in 8 bits on a GPU. The one file that touches torchao, which changes from version to version.

Weights are rounded once, each output channel by its own largest number; what they are applied to is rounded at every
call, each row by its own. Convolutions stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any, Literal
from warnings import catch_warnings

from torch import nn

NARROWEST = 512
"""Layers that read fewer numbers gain less from smaller products than the rounding costs."""
MULTIPLE = 16
"""What a GPU's 8-bit products take sides of."""


def quantise_linear(network: nn.Module, kind: Literal["int8", "float8"]) -> nn.Module:
    """Have the wide linear layers of `network`, its `exact_parts` aside, compute in 8 bits. Returns the network.

    Their plain weights are gone. Raises ImportError and AttributeError where this torchao is not as expected.
    """
    exact: Iterable[str] = getattr(network, "exact_parts", ())

    def is_wide(layer: nn.Module, name: str) -> bool:
        if not isinstance(layer, nn.Linear) or any(f".{part}." in f".{name}." for part in exact):
            return False
        sides = (layer.in_features, layer.out_features)
        return layer.in_features >= NARROWEST and not any(side % MULTIPLE for side in sides)

    with catch_warnings(action="ignore"):  # of torchao's own doings
        library: Any = import_module("torchao.quantization")
        configs = {
            "int8": library.Int8DynamicActivationInt8WeightConfig,
            "float8": library.Float8DynamicActivationFloat8WeightConfig,
        }
        library.quantize_(network, configs[kind](granularity=library.PerRow()), filter_fn=is_wide)
    return network
