"""Ours: the networks as the engine keeps them, whatever it does to make them fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from pinxit import __version__
from pinxit.bench.cases import Array, Case, Inputs, inputs_of
from pinxit.bench.stacks.compute import PARTS, compute, together
from pinxit.engine.library import CHECKPOINT, ModelEntry
from pinxit.engine.means import Means, Precision
from pinxit.engine.plan import Resolved, resolve
from pinxit.engine.residency import Residency
from pinxit.models.common.clip import ClipText
from pinxit.models.common.vae import AutoencoderKL
from pinxit.plugins.manager import build_catalog
from pinxit.sampling.denoiser import Conditioning
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

    def short_hash(self, entry: ModelEntry) -> str:
        del entry
        return ""

    def entries(self, kind: str | None = CHECKPOINT) -> Sequence[ModelEntry]:
        del kind
        return (self.find(None),)


class Ours:
    """Computes the cases with what `Residency` holds; a guided step is two calls, one after the other, and on a GPU one
    batch of two, as in the engine.
    """

    def __init__(
        self, *, numbers: Precision, weights: str, low: bool = False, compiled: bool = False, device: str = "cpu"
    ) -> None:
        self.device = device
        self.paired = device != "cpu"
        memory, way = ("low" if low else "auto"), ("on" if compiled else "off")
        self._residency = Residency(means=Means.of(device=device, precision=numbers, memory=memory, compile=way))
        self._residency.save((), compiles=compiled)
        request = GenerationRequest(prompt="", seed=0)
        self._resolved: Resolved = resolve(request, build_catalog(), OneModel(path=Path(weights)))
        self._loaded: set[str] = set()
        self._given: Inputs | None = None

    def versions(self) -> Mapping[str, str]:
        return {"pinxit": __version__, "torch": torch.__version__}

    def prepare(self, case: Case) -> None:
        needed = set(PARTS[case.kind])
        if self._loaded - needed:
            self._residency.clear()
        for part in sorted(needed):
            self._residency.network(self._resolved, part)
        self._loaded = needed
        self._given = inputs_of(case)

    @torch.inference_mode()
    def run(self, case: Case) -> Array:
        found = compute(self, case)
        if told := self._residency.remarks():
            raise RuntimeError("; ".join(told))
        return found

    def text(self, words: Tensor) -> Tensor:
        return cast(ClipText, self._residency.network(self._resolved, "text_encoder"))(words).last

    def unet(self, x: Tensor, t: float, tokens: Tensor) -> Tensor:
        network = self._resolved.family.network(self._resolved.config, self._residency.denoiser(self._resolved))
        return network(x.contiguous(memory_format=torch.channels_last), t, self._told(x, tokens)).contiguous()

    def pair(self, x: Tensor, t: float, tokens: Tensor) -> tuple[Tensor, Tensor]:
        if self.paired:
            return together(self, x, t, tokens)
        return self.unet(x, t, tokens[:1]), self.unet(x, t, tokens[1:])

    def decode(self, z: Tensor) -> Tensor:
        return self._residency.decoder(self._resolved)(z)

    def encode(self, picture: Tensor) -> Tensor:
        return cast(AutoencoderKL, self._residency.network(self._resolved, "vae")).encode(picture)[0]

    def _told(self, x: Tensor, tokens: Tensor) -> Conditioning:
        """The prompt, and for models that want them a pooled vector and the size."""
        if self._given is None or not self._given.pooled.size:
            return Conditioning(tokens=tokens)
        pooled = torch.as_tensor(self._given.pooled[: tokens.shape[0]]).to(x.device)
        size = (8.0 * x.shape[2], 8.0 * x.shape[3])
        return Conditioning(tokens=tokens, pooled=pooled, time_ids=(*size, 0.0, 0.0, *size))
