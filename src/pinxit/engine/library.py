"""What the engine asks of a collection of models; the studio implements it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pinxit.schema.record import ModelFile

CHECKPOINT = "checkpoint"
"""The kind of what paints by itself: a whole model in one file or folder."""
DIFFUSION_MODEL = "diffusion_model"
"""The kind of a U-Net or transformer without text encoders and VAE."""
LORA = "lora"
"""The kind of LoRAs and their relatives."""
OTHER = "other"
"""The kind of what lies where anything may lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A model that can be asked for by name. `path` is a safetensors file, an index of shards, or a folder of parts.

    `kind` is what the place where it lies is for, such as `checkpoint`, `vae` or `lora`; the file may say otherwise.
    """

    name: str
    title: str
    path: Path
    kind: str = CHECKPOINT


class ModelLibrary(Protocol):
    """Finds models by name and knows their files' fingerprints."""

    def find(self, name: str | None, kind: str | None = ...) -> ModelEntry:
        """The model of that kind called `name` (checkpoints without it, None is any); None is the built-in one.

        Raises UnknownName, BadInput when several answer to it, or Missing.
        """
        ...

    def files(self, entry: ModelEntry) -> tuple[ModelFile, ...]:
        """Every weights file of the model with its SHA-256, the main one first."""
        ...

    def short_hash(self, entry: ModelEntry) -> str:
        """By which other programs know an adapter: 12 digits of its numbers' SHA-256; empty where there is none."""
        ...

    def entries(self, kind: str | None = ...) -> Sequence[ModelEntry]:
        """All models of one kind (checkpoints without it; None is every kind), the built-in one first."""
        ...
