"""The diffusers library, eager as it comes, or with its U-Net compiled by torch."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pinxit.bench.cases import Array, Case, Inputs, Numbers, inputs_of
from pinxit.bench.stacks.compute import PARTS, Stepped, compute, together


class Diffusers:
    """Computes the cases with UNet2DConditionModel, AutoencoderKL and CLIPTextModel; a guided step is one batch of two.

    Compiled, the U-Net is frozen for each shape, in channels-last order.
    """

    def __init__(self, *, numbers: Numbers, weights: str, compiled: bool = False, device: str = "cpu") -> None:
        self.device = device
        self._dtype: torch.dtype = getattr(torch, numbers)
        self._weights = Path(weights)
        self._compiled = compiled
        self._networks: dict[str, Any] = {}
        self._given: Inputs | None = None
        torch.set_grad_enabled(False)

    def versions(self) -> Mapping[str, str]:
        return {"diffusers": importlib.import_module("diffusers").__version__, "torch": torch.__version__}

    def prepare(self, case: Case) -> None:
        needed = PARTS[case.kind]
        for part in set(self._networks) - set(needed):
            del self._networks[part]
        gc.collect()
        for part in needed:
            self._network(part)
        self._given = inputs_of(case)

    def run(self, case: Case) -> Array:
        return compute(self, case)

    def paint(self, case: Case, stepped: Stepped) -> Array:
        return compute(self, case, stepped)

    def text(self, words: Tensor) -> Tensor:
        return self._network("text_encoder")(words).last_hidden_state.float()

    def unet(self, x: Tensor, t: float, tokens: Tensor) -> Tensor:
        latent, time = x.to(self._dtype), torch.full((), t, device=x.device)
        given = (latent, time, tokens.to(self._dtype))
        return self._network("unet")(*given, added_cond_kwargs=self._added(x), return_dict=False)[0].float()

    def pair(self, x: Tensor, t: float, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return together(self, x, t, tokens)

    def decode(self, z: Tensor) -> Tensor:
        return self._network("vae").decode(z.to(self._dtype), return_dict=False)[0]

    def encode(self, picture: Tensor) -> Tensor:
        return self._network("vae").encode(picture.to(self._dtype), return_dict=False)[0].mean

    def _added(self, x: Tensor) -> dict[str, Tensor]:
        """The pooled vector and the size, for models that want them."""
        if self._given is None or not self._given.pooled.size:
            return {}
        size = [8.0 * x.shape[2], 8.0 * x.shape[3]]
        pooled = torch.as_tensor(self._given.pooled[: x.shape[0]]).to(x)
        return {
            "text_embeds": pooled.to(self._dtype),
            "time_ids": torch.tensor([[*size, 0.0, 0.0, *size]] * x.shape[0]).to(x.device, self._dtype, True),
        }

    def _network(self, part: str) -> Any:
        if part not in self._networks:
            network = load(self._weights, part, self._dtype).to(self.device)
            if self._compiled and part == "unet":
                inductor: Any = importlib.import_module("torch._inductor.config")
                inductor.freezing = self.device == "cpu"
                mode = "default" if self.device == "cpu" else "max-autotune"
                network = torch.compile(network.to(memory_format=torch.channels_last), dynamic=False, mode=mode)
            self._networks[part] = network
        return self._networks[part]


def load(weights: Path, part: str, dtype: torch.dtype) -> Any:
    """One network of a diffusers folder, as its users load it."""
    if part == "text_encoder":
        source: Any = importlib.import_module("transformers").CLIPTextModel
        return source.from_pretrained(weights / part, dtype=dtype).eval()
    library: Any = importlib.import_module("diffusers")
    source = library.UNet2DConditionModel if part == "unet" else library.AutoencoderKL
    return source.from_pretrained(weights / part, torch_dtype=dtype).eval()
