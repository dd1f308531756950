"""The programs that are compared, each in a module that only its own process imports."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinxit.bench.cases import FORWARD, PROCESS, Kind, Numbers
from pinxit.bench.driver import StackSpec
from pinxit.engine.machine import Machine

PAINTS: frozenset[Kind] = frozenset((*FORWARD, *PROCESS, "image"))
MODULES = "pinxit.bench.stacks"
GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One program in one number format.

    `weights` names what it reads in the folder of weights, `options` are its factory's, `needs` the modules that it
    imports, `imports` the line that the import case times, `gib` what it holds of Stable Diffusion 1.5, `kinds` what it
    can compute. `made` is what a conversion by `converter` (`module:function`) leaves in the folder of weights, and
    `converting` how many GiB that takes. `compared` is False where its output cannot be held against the others';
    `slow` is True where one run has to do.
    """

    program: str
    numbers: Numbers
    target: str
    imports: str
    gib: float
    weights: str = "float32"
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    needs: tuple[str, ...] = ()
    kinds: frozenset[Kind] = PAINTS
    converter: str = ""
    made: str = ""
    converting: float = 0.0
    compared: bool = True
    slow: bool = False


def _ours(numbers: Numbers, gib: float, weights: str = "bfloat16", **options: Any) -> Stack:
    return Stack(
        program="pinxit",
        numbers=numbers,
        target=f"{MODULES}.ours:Ours",
        imports="import torch, pinxit.engine.residency, pinxit.models.common.ldm_unet",
        gib=gib,
        weights=weights,
        options=options,
    )


def _diffusers(numbers: Numbers, gib: float, weights: str, *, compiled: bool = False) -> Stack:
    return Stack(
        program="compile" if compiled else "diffusers",
        numbers=numbers,
        target=f"{MODULES}.diffusers:Diffusers",
        imports="from diffusers import StableDiffusionPipeline",
        gib=gib,
        weights=weights,
        options={"compiled": compiled},
        needs=("diffusers", "transformers", "accelerate"),
        kinds=frozenset({"unet", "pair", "image", "cold"}) if compiled else PAINTS,
    )


def _openvino(numbers: Numbers, gib: float, *, quantized: bool = False) -> Stack:
    return Stack(
        program="openvino",
        numbers=numbers,
        target=f"{MODULES}.openvino:OpenVino",
        imports="import openvino",
        gib=gib,
        options={"quantized": quantized},
        needs=("openvino", "diffusers", "transformers", *(("nncf",) if quantized else ())),
        kinds=frozenset({"unet", "pair", "decode", "image", "cold", "import"}),
        converter=f"{MODULES}.openvino:{'quantize' if quantized else 'convert'}",
        made="openvino/unet-int8.xml" if quantized else "openvino/unet.xml",
        converting=13.0 if quantized else 7.0,
    )


def _sdcpp(numbers: Numbers, kept: str) -> Stack:
    return Stack(
        program="sdcpp",
        numbers=numbers,
        target=f"{MODULES}.sdcpp:StableDiffusionCpp",
        imports="import stable_diffusion_cpp",
        gib=2.5,
        weights="float16.safetensors",
        options={"kept": kept},
        needs=("stable_diffusion_cpp",),
        kinds=frozenset({"pair", "cold", "import"}),
        converter="pinxit.bench.weights:write_single_file",
        made="float16.safetensors",
        converting=3.0,
        compared=False,
        slow=True,
    )


STACKS: Mapping[str, Stack] = {
    "pinxit-bf16": _ours("bfloat16", 3.0),
    "pinxit-fp32": _ours("float32", 4.5, "float32"),
    "pinxit-int8": _ours("int8", 2.5),
    "pinxit-low": _ours("bfloat16", 2.5, low=True),
    "pinxit-fp16": _ours("float16", 3.0),
    "pinxit-compiled": _ours("float16", 3.0, compiled=True),
    "diffusers-fp32": _diffusers("float32", 5.0, "float32"),
    "diffusers-bf16": _diffusers("bfloat16", 2.7, "bfloat16"),
    "diffusers-fp16": _diffusers("float16", 2.7, "bfloat16"),
    "compile-bf16": _diffusers("bfloat16", 4.5, "bfloat16", compiled=True),
    "compile-fp16": _diffusers("float16", 4.5, "bfloat16", compiled=True),
    "openvino-bf16": _openvino("bfloat16", 5.7),
    "openvino-int8": _openvino("int8", 3.0, quantized=True),
    "onnxruntime-fp32": Stack(
        program="onnxruntime",
        numbers="float32",
        target=f"{MODULES}.onnx:OnnxRuntime",
        imports="import onnxruntime",
        gib=5.0,
        needs=("onnxruntime", "onnx", "onnxscript", "diffusers", "transformers"),
        kinds=frozenset({"unet", "pair", "import"}),
        converter=f"{MODULES}.onnx:export",
        made="onnx/unet.onnx",
        converting=12.0,
    ),
    "sdcpp-f16": _sdcpp("float16", "f16"),
    "sdcpp-q8_0": _sdcpp("q8_0", "q8_0"),
}
REFERENCE = "diffusers-fp32"
"""Whose outputs the others are compared with."""
PEERS = (
    "diffusers==0.42.1",
    "transformers==5.23.0",
    "accelerate==1.15.0",
    "openvino==2026.4.1",
    "nncf==3.4.0",
    "onnxruntime==1.32.0",
    "onnx==1.23.2",
    "onnxscript==0.7.2",
    "stable_diffusion_cpp_python==0.4.7",
)
"""What to install for every program to be there. accelerate lets diffusers load without a random start, as most of its
users do; the last one compiles for some minutes.
"""


def ours_here(machine: Machine, device: str = "cpu") -> str:
    """The stack that is what our users get where nothing is asked for."""
    if device != "cpu":
        return "pinxit-fp16"
    return "pinxit-bf16" if machine.fast_bfloat16 else "pinxit-fp32"


def spec_of(name: str, weights: Path, device: str = "cpu") -> StackSpec:
    """How to start the stack `name` on the weights in a folder. Raises KeyError for a name that is not in `STACKS`."""
    stack = STACKS[name]
    options: dict[str, Any] = {"numbers": stack.numbers, "weights": str(weights / stack.weights), **stack.options}
    return StackSpec(
        name=name,
        target=stack.target,
        numbers=stack.numbers,
        compared=stack.compared,
        slow=stack.slow,
        options=options | ({"device": device} if device != "cpu" else {}),
    )


def why_absent(name: str, machine: Machine) -> str:
    """Empty, or why the stack `name` cannot be measured here."""
    stack = STACKS[name]
    lacking = [module for module in stack.needs if importlib.util.find_spec(module) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)}"
    if stack.numbers == "bfloat16" and not machine.fast_bfloat16:
        return "this processor does not multiply bfloat16 numbers itself"
    return ""
