"""The diffusers library, eager as it comes, or with its U-Net and decoder compiled by torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pinxit.bench.cases import LATENT_SCALE, TIMESTEP, Array, Case, Dtype, inputs_of
from pinxit.bench.stacks.ddim import ddim


class Diffusers:
    """Computes the cases with UNet2DConditionModel and AutoencoderKL; a guided step is one batch of two."""

    def __init__(self, *, dtype: Dtype, weights: str, compiled: bool = False) -> None:
        self._dtype: torch.dtype = getattr(torch, dtype)
        self._weights = Path(weights)
        self._compiled = compiled
        self._networks: dict[str, Any] = {}
        torch.set_grad_enabled(False)
        _classes()

    def versions(self) -> Mapping[str, str]:
        return {"diffusers": _library().__version__, "torch": torch.__version__}

    def prepare(self, case: Case) -> None:
        if case.kind != "decode":
            self._network("unet")
        if case.kind in ("decode", "image"):
            self._network("vae")

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

    def _network(self, part: str) -> Any:
        if part not in self._networks:
            network = _classes()[part].from_pretrained(self._weights / part, torch_dtype=self._dtype).eval()
            if self._compiled and part == "unet":
                network = torch.compile(network.to(memory_format=torch.channels_last))
            elif self._compiled:
                network.decoder = torch.compile(network.decoder.to(memory_format=torch.channels_last))
            self._networks[part] = network
        return self._networks[part]

    def _call(self, x: Tensor, t: float, tokens: Tensor) -> Tensor:
        given = (x.to(self._dtype), torch.tensor(t))
        return self._network("unet")(*given, tokens.to(self._dtype), return_dict=False)[0].float().contiguous()

    def _decode(self, latent: Tensor) -> Array:
        picture: Tensor = self._network("vae").decode(latent.to(self._dtype), return_dict=False)[0]
        return picture.float().contiguous().numpy()


def _classes() -> dict[str, Any]:
    return {"unet": _library().UNet2DConditionModel, "vae": _library().AutoencoderKL}


def _library() -> Any:
    return importlib.import_module("diffusers")
