"""The programs that are compared, each in a module that only its own process imports."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinxit.bench.cases import Dtype
from pinxit.bench.driver import StackSpec

TARGETS: Mapping[str, str] = {
    "pinxit": "pinxit.bench.stacks.ours:Ours",
    "diffusers": "pinxit.bench.stacks.diffusers:Diffusers",
    "compile": "pinxit.bench.stacks.diffusers:Diffusers",
    "openvino": "pinxit.bench.stacks.openvino:OpenVino",
}
OPTIONS: Mapping[str, Mapping[str, Any]] = {"compile": {"compiled": True}}
NEEDS: Mapping[str, tuple[str, ...]] = {
    "diffusers": ("diffusers", "transformers"),
    "compile": ("diffusers", "transformers"),
    "openvino": ("openvino", "diffusers", "transformers"),
}
REFERENCE = "diffusers"
"""Whose float32 outputs the others are compared with."""


def spec_of(name: str, dtype: Dtype, weights: Path) -> StackSpec:
    """How to start the stack `name`. Raises KeyError for a name that is not in `TARGETS`."""
    return StackSpec(
        name=name, target=TARGETS[name], dtype=dtype, options={"weights": str(weights), **OPTIONS.get(name, {})}
    )


def why_absent(name: str) -> str:
    """Empty, or which packages the stack `name` lacks here."""
    lacking = [module for module in NEEDS.get(name, ()) if importlib.util.find_spec(module) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else ""
