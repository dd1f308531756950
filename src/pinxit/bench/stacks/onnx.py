"""onnxruntime on the U-Net, exported once from diffusers' module."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pinxit.bench.cases import TOKENS, Array, Case, Numbers
from pinxit.bench.stacks.compute import compute, threads, together
from pinxit.bench.stacks.diffusers import load
from pinxit.bench.stacks.openvino import UnetOnly

NAMES = ("x", "t", "tokens")


class OnnxRuntime:
    """Computes U-Net cases with one graph for every size; a guided step is one batch of two."""

    device = "cpu"

    def __init__(self, *, numbers: Numbers, weights: str) -> None:
        del numbers
        self._library: Any = importlib.import_module("onnxruntime")
        self._path = Path(weights).parent / "onnx" / "unet.onnx"
        self._session: Any = None

    def versions(self) -> Mapping[str, str]:
        return {"onnxruntime": self._library.__version__}

    def prepare(self, case: Case) -> None:
        del case
        if self._session is None:
            options = self._library.SessionOptions()
            options.intra_op_num_threads = threads()
            self._session = self._library.InferenceSession(str(self._path), options, providers=["CPUExecutionProvider"])

    def run(self, case: Case) -> Array:
        return compute(self, case)

    def unet(self, x: Tensor, t: float, tokens: Tensor) -> Tensor:
        given = (x, torch.tensor(t), tokens)
        values = {name: tensor.contiguous().numpy() for name, tensor in zip(NAMES, given, strict=True)}
        return torch.from_numpy(self._session.run(None, values)[0])

    def pair(self, x: Tensor, t: float, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return together(self, x, t, tokens)

    def text(self, words: Tensor) -> Tensor:
        del words
        raise LookupError("this stack has the U-Net alone")

    def decode(self, z: Tensor) -> Tensor:
        del z
        raise LookupError("this stack has the U-Net alone")

    def encode(self, picture: Tensor) -> Tensor:
        del picture
        raise LookupError("this stack has the U-Net alone")


def export(*, weights: str) -> None:
    """Write the U-Net as a graph of any size, its weights in files beside it."""
    path = Path(weights).parent / "onnx" / "unet.onnx"
    path.parent.mkdir(exist_ok=True)
    network = load(Path(weights), "unet", torch.float32)
    example = (
        torch.zeros(2, network.config.in_channels, 32, 32),
        torch.tensor(1.0),
        torch.zeros(2, TOKENS, network.config.cross_attention_dim),
    )
    sizes = {"x": {0: "batch", 2: "height", 3: "width"}, "t": {}, "tokens": {0: "batch"}}
    with torch.no_grad():
        torch.onnx.export(
            UnetOnly(network),
            example,
            str(path),
            input_names=list(NAMES),
            dynamic_axes=sizes,
            opset_version=17,
            do_constant_folding=False,
            dynamo=False,
        )
