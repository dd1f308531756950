"""OpenVINO on the same networks, converted in the process from diffusers' modules."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pinxit.bench.cases import LATENT_SCALE, TIMESTEP, TOKENS, UNET, Array, Case, Dtype, inputs_of
from pinxit.bench.stacks.ddim import ddim

PRECISION: Mapping[str, str] = {"float32": "f32", "bfloat16": "bf16"}


class OpenVino:
    """Computes the cases with compiled graphs of fixed shape, one for each size."""

    def __init__(self, *, dtype: Dtype, weights: str) -> None:
        openvino: Any = importlib.import_module("openvino")
        self._core = openvino.Core()
        self._convert = openvino.convert_model
        self._version = openvino.__version__
        self._hint = {"INFERENCE_PRECISION_HINT": PRECISION[dtype]}
        self._weights = Path(weights)
        self._models: dict[str, Any] = {}
        self._compiled: dict[tuple[object, ...], Any] = {}
        torch.set_grad_enabled(False)

    def versions(self) -> Mapping[str, str]:
        return {"openvino": self._version}

    def prepare(self, case: Case) -> None:
        size = (case.height, case.width)
        if case.kind != "decode":
            self._graph("unet", 1 if case.kind == "unet" else 2, *size)
        if case.kind in ("decode", "image"):
            self._graph("vae", 1, *size)

    def run(self, case: Case) -> Array:
        given = inputs_of(case)
        latent, tokens = torch.from_numpy(given.latent), torch.from_numpy(given.tokens)
        if case.kind == "decode":
            return self._decode(latent)
        if case.kind == "unet":
            return self._call(latent, TIMESTEP, tokens[1:]).numpy()

        def both(x: Tensor, t: float) -> tuple[Tensor, Tensor]:
            plain, prompted = self._call(torch.cat([x, x]), t, tokens).chunk(2)
            return plain, prompted

        if case.kind == "pair":
            return torch.cat(both(latent, TIMESTEP)).numpy()
        return self._decode(ddim(both, latent, case.steps) / LATENT_SCALE)

    def _call(self, x: Tensor, t: float, tokens: Tensor) -> Tensor:
        graph = self._graph("unet", *(x.shape[0], x.shape[2], x.shape[3]))
        given = [x.numpy(), torch.tensor(t).numpy(), tokens.contiguous().numpy()]
        return torch.from_numpy(next(iter(graph(given).values())).copy())

    def _decode(self, latent: Tensor) -> Array:
        graph = self._graph("vae", 1, latent.shape[2], latent.shape[3])
        return next(iter(graph([latent.contiguous().numpy()]).values())).copy()

    def _graph(self, part: str, batch: int, height: int, width: int) -> Any:
        key = (part, batch, height, width)
        if key not in self._compiled:
            model = self._model(part)
            latent = [batch, UNET.in_channels, height, width]
            shapes = [latent, [], [batch, TOKENS, UNET.context_dim]] if part == "unet" else [latent]
            model.reshape(dict(zip(range(len(shapes)), shapes, strict=True)))
            self._compiled[key] = self._core.compile_model(model, "CPU", self._hint)
        return self._compiled[key]

    def _model(self, part: str) -> Any:
        if part not in self._models:
            library: Any = importlib.import_module("diffusers")
            source: Any = library.UNet2DConditionModel if part == "unet" else library.AutoencoderKL
            network = source.from_pretrained(self._weights / part, torch_dtype=torch.float32).eval()
            latent = torch.zeros(1, UNET.in_channels, 16, 16)
            example = (latent, torch.tensor(TIMESTEP), torch.zeros(1, TOKENS, UNET.context_dim))
            if part == "unet":
                self._models[part] = self._convert(_Unet(network), example_input=example)
            else:
                self._models[part] = self._convert(_Decoder(network), example_input=latent)
        return self._models[part]


class _Unet(nn.Module):
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
