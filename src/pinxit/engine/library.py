"""What the engine asks of a collection of models; the studio implements it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pinxit.schema.record import ModelFile


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A model that can be asked for by name. `path` is a safetensors file, an index of shards, or a folder of parts."""

    name: str
    title: str
    path: Path


class ModelLibrary(Protocol):
    """Finds models by name and knows their files' fingerprints."""

    def find(self, name: str | None) -> ModelEntry:
        """The model called `name`; None is the built-in one. Raises UnknownName or Missing."""
        ...

    def files(self, entry: ModelEntry) -> tuple[ModelFile, ...]:
        """Every weights file of the model with its SHA-256, the main one first."""
        ...

    def entries(self) -> Sequence[ModelEntry]:
        """All models, the built-in one first."""
        ...
