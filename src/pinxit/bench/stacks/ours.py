"""Ours: the networks as the engine keeps them, whatever it does to make them fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from pinxit import __version__
from pinxit.bench.cases import LATENT_SCALE, TIMESTEP, Array, Case, Dtype, inputs_of
from pinxit.bench.stacks.ddim import ddim
from pinxit.engine.library import CHECKPOINT, ModelEntry
from pinxit.engine.plan import Resolved, resolve
from pinxit.engine.residency import Residency
from pinxit.models.common.vae import AutoencoderKL
from pinxit.plugins.manager import build_catalog
from pinxit.sampling.denoiser import Conditioning, Network
from pinxit.schema.record import ModelFile
from pinxit.schema.request import GenerationRequest
from pinxit.weights.folder import read_model


@dataclass(frozen=True, slots=True, kw_only=True)
class OneModel:
    """A library of the folder that is measured. Fingerprints are left to the maker of the weights."""

    path: Path

    def find(self, name: str | None, kind: str | None = CHECKPOINT) -> ModelEntry:
        del name, kind
        return ModelEntry(name="bench", title="random weights", path=self.path)

    def files(self, entry: ModelEntry) -> tuple[ModelFile, ...]:
        return tuple(ModelFile(name=path.name, sha256="0" * 64) for path in sorted(read_model(entry.path).sizes))

    def entries(self, kind: str | None = CHECKPOINT) -> Sequence[ModelEntry]:
        del kind
        return (self.find(None),)


class Ours:
    """Computes the cases with what `Residency` holds."""

    def __init__(self, *, dtype: Dtype, weights: str) -> None:
        self._residency = Residency(dtype=getattr(torch, dtype))
        request = GenerationRequest(prompt="", seed=0)
        self._resolved: Resolved = resolve(request, build_catalog(), OneModel(path=Path(weights)))

    def versions(self) -> Mapping[str, str]:
        return {"pinxit": __version__, "torch": torch.__version__}

    def prepare(self, case: Case) -> None:
        if case.kind != "decode":
            self._residency.network(self._resolved, "unet")
        if case.kind in ("decode", "image"):
            self._residency.network(self._resolved, "vae")

    @torch.inference_mode()
    def run(self, case: Case) -> Array:
        given = inputs_of(case)
        latent, tokens = torch.from_numpy(given.latent), torch.from_numpy(given.tokens)
        if case.kind == "decode":
            return self._decode(latent)
        network = self._resolved.family.network(self._resolved.config, self._residency.network(self._resolved, "unet"))
        negative, prompt = (Conditioning(tokens=tokens[index : index + 1]) for index in range(2))
        if case.kind == "unet":
            return _call(network, latent, TIMESTEP, prompt).numpy()

        def both(x: Tensor, t: float) -> tuple[Tensor, Tensor]:
            return _call(network, x, t, negative), _call(network, x, t, prompt)

        if case.kind == "pair":
            return torch.cat(both(latent, TIMESTEP)).numpy()
        return self._decode(ddim(both, latent, case.steps) / LATENT_SCALE)

    def _decode(self, latent: Tensor) -> Array:
        vae = cast(AutoencoderKL, self._residency.network(self._resolved, "vae"))
        return vae.decode(latent).float().contiguous().numpy()


def _call(network: Network, x: Tensor, t: float, conditioning: Conditioning) -> Tensor:
    return network(x.contiguous(memory_format=torch.channels_last), t, conditioning).contiguous()
