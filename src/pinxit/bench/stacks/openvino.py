"""OpenVINO on the same networks, converted once from diffusers' modules, in bfloat16 or with 8-bit weights."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pinxit.bench.cases import TOKENS, Array, Case, Numbers
from pinxit.bench.stacks.compute import PARTS, Stepped, compute, threads, together
from pinxit.bench.stacks.diffusers import load

PRECISION: Mapping[str, str] = {"float32": "f32", "bfloat16": "bf16", "int8": "bf16"}
"""What computes where nothing is quantized."""
CALIBRATION = (32, (981, 661, 341, 21))
"""The latent's side, and the timesteps, of what 8-bit ranges are read from."""
Key = tuple[str, int, int, int]


class OpenVino:
    """Computes the cases with compiled graphs of fixed shape, one for each size; a guided step is one batch of two."""

    device = "cpu"

    def __init__(self, *, numbers: Numbers, weights: str, quantized: bool = False) -> None:
        openvino: Any = importlib.import_module("openvino")
        self._core = openvino.Core()
        self._version = openvino.__version__
        self._hints = {"INFERENCE_PRECISION_HINT": PRECISION[numbers], "INFERENCE_NUM_THREADS": threads()}
        self._folder = Path(weights).parent / "openvino"
        self._unet = "unet-int8" if quantized else "unet"
        self._compiled: dict[Key, Any] = {}
        torch.set_grad_enabled(False)

    def versions(self) -> Mapping[str, str]:
        return {"openvino": self._version}

    def prepare(self, case: Case) -> None:
        needed = PARTS[case.kind]
        batch = 1 if case.kind == "unet" else 2
        keys = {
            part: (part, batch if part == "unet" else 1, case.height, case.width)
            if part != "text_encoder"
            else (part, 2, 0, 0)
            for part in needed
        }
        for key in set(self._compiled) - set(keys.values()):
            del self._compiled[key]
        gc.collect()
        for key in keys.values():
            self._graph(key)

    def run(self, case: Case) -> Array:
        return compute(self, case)

    def paint(self, case: Case, stepped: Stepped) -> Array:
        return compute(self, case, stepped)

    def text(self, words: Tensor) -> Tensor:
        return self._call(("text_encoder", words.shape[0], 0, 0), words)

    def unet(self, x: Tensor, t: float, tokens: Tensor) -> Tensor:
        key = ("unet", x.shape[0], x.shape[2], x.shape[3])
        return self._call(key, x, torch.tensor(t), tokens)

    def pair(self, x: Tensor, t: float, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return together(self, x, t, tokens)

    def decode(self, z: Tensor) -> Tensor:
        return self._call(("vae", 1, z.shape[2], z.shape[3]), z)

    def encode(self, picture: Tensor) -> Tensor:
        del picture
        raise LookupError("this stack does not encode pictures")

    def _call(self, key: Key, *given: Tensor) -> Tensor:
        found = self._graph(key)([tensor.contiguous().numpy() for tensor in given])
        return torch.from_numpy(next(iter(found.values())).copy())

    def _graph(self, key: Key) -> Any:
        if key not in self._compiled:
            part, batch, height, width = key
            model = self._core.read_model(self._folder / f"{self._unet if part == 'unet' else part}.xml")
            model.reshape(dict(enumerate(_shapes(model, part, batch, height, width))))
            self._compiled[key] = self._core.compile_model(model, "CPU", self._hints)
        return self._compiled[key]


def _shapes(model: Any, part: str, batch: int, height: int, width: int) -> list[list[int]]:
    if part == "text_encoder":
        return [[batch, TOKENS]]
    latent = [batch, model.inputs[0].get_partial_shape()[1].get_length(), height, width]
    if part == "vae":
        return [latent]
    return [latent, [], [batch, TOKENS, model.inputs[2].get_partial_shape()[2].get_length()]]


def convert(*, weights: str) -> None:
    """Write the graphs of all networks, weights in 16 bits as usual, beside a folder of float32 weights."""
    openvino: Any = importlib.import_module("openvino")
    folder = Path(weights).parent / "openvino"
    folder.mkdir(exist_ok=True)
    for part, wrapper in (("text_encoder", _Text), ("vae", _Decoder), ("unet", UnetOnly)):
        network = load(Path(weights), part, torch.float32)
        latent = torch.zeros(1, network.config.in_channels if part == "unet" else 4, 16, 16)
        example: Any = latent
        shapes: Any = [[-1, latent.shape[1], -1, -1]]
        if part == "text_encoder":
            example, shapes = torch.ones(1, TOKENS, dtype=torch.int64), [[-1, TOKENS]]
        elif part == "unet":
            wide = network.config.cross_attention_dim
            example = (latent, torch.tensor(1.0), torch.zeros(1, TOKENS, wide))
            shapes = [*shapes, [], [-1, TOKENS, wide]]
        with torch.no_grad():
            model = openvino.convert_model(wrapper(network), example_input=example, input=shapes)
        openvino.save_model(model, folder / f"{part}.xml", compress_to_fp16=True)
        del model, network
        gc.collect()


def quantize(*, weights: str) -> None:
    """Quantize the U-Net's graph, statically, with random inputs at several noise levels."""
    openvino: Any = importlib.import_module("openvino")
    nncf: Any = importlib.import_module("nncf")
    folder = Path(weights).parent / "openvino"
    if not (folder / "unet.xml").is_file():
        convert(weights=weights)
    model = openvino.Core().read_model(folder / "unet.xml")
    side, times = CALIBRATION
    random = np.random.default_rng(0)
    latent, _, tokens = _shapes(model, "unet", 1, side, side)
    samples = [
        [
            random.standard_normal(latent, dtype=np.float32),
            np.float32(time),
            random.standard_normal(tokens, dtype=np.float32),
        ]
        for time in times
    ]
    quantized = nncf.quantize(
        model,
        nncf.Dataset(samples),
        subset_size=len(samples),
        model_type=nncf.ModelType.TRANSFORMER,
        advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
    )
    openvino.save_model(quantized, folder / "unet-int8.xml")


class UnetOnly(nn.Module):
    """The U-Net as a function of tensors alone, which exporters ask for."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        return self.network(x, t, tokens, return_dict=False)[0]


class _Decoder(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> Tensor:
        return self.network.decode(z, return_dict=False)[0]


class _Text(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, words: Tensor) -> Tensor:
        return self.network(words).last_hidden_state
