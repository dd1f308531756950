"""What the doctor found: one value, that a program reads as JSON and a person as lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.studio.inspect.licences import Licence
from pinxit.studio.inspect.words import Note

if TYPE_CHECKING:
    from pinxit.studio.hashes import Hashes

MOST_NAMES = 50
"""Names of tensors that are listed; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One network in the file: numbers of tensors and of weights, and bytes by their type."""

    name: str
    tensors: int
    parameters: int
    dtypes: Mapping[str, int]

    @property
    def bytes(self) -> int:
        return sum(self.dtypes.values())

    @property
    def dtype(self) -> str:
        """The types of its numbers, the one with most bytes first, as in `F16+F32`."""
        return "+".join(sorted(self.dtypes, key=lambda kind: -self.dtypes[kind]))


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """One file of the model: its name below the model's folder, its bytes, and its hashes where they are known."""

    name: str
    size: int
    hashes: Hashes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a file is.

    `kind` is one word, such as `checkpoint`, `lora` or `truncated`; `title` says it in words. `family` is the model
    family it is of, or goes with; `candidates` are those that came near where none fits, or several do. `prediction`
    is None where the file paints nothing by itself, `unknown` where it should and nothing says it. `evidence` tells
    how all this is known. `missing` names components that are absent as a whole, then single tensors; `unexpected`
    tensors that nothing explains. Both lists are cut at 50 names, the counts are not.
    """

    path: Path
    kind: str
    title: Note
    size: int
    family: str | None = None
    family_title: str = ""
    candidates: tuple[str, ...] = ()
    variant: str | None = None
    prediction: str | None = None
    evidence: tuple[str, ...] = ()
    scheduler: Mapping[str, object] = field(default_factory=dict[str, object])
    layout: str | None = None
    table: str | None = None
    components: tuple[Component, ...] = ()
    missing: tuple[str, ...] = ()
    missing_count: int = 0
    unexpected: tuple[str, ...] = ()
    unexpected_count: int = 0
    unused: Mapping[str, int] = field(default_factory=dict[str, int])
    files: tuple[FileFacts, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    training: Mapping[str, str] = field(default_factory=dict[str, str])
    licence: Licence = field(default_factory=Licence)
    known_as: str | None = None
    advice: tuple[Note, ...] = ()

    @property
    def parameters(self) -> int:
        """Weights in all networks together."""
        return sum(component.parameters for component in self.components)

    def to_json(self, lang: str = "en") -> dict[str, object]:
        """All of it as plain JSON values; sentences in the language that answers to the tag `lang`.

        `hashes` are those of the file; of a model of several files, by the file's name.
        """
        return {
            "path": str(self.path),
            "kind": self.kind,
            "title": self.title.text(lang),
            "family": self.family,
            "candidates": list(self.candidates),
            "variant": self.variant,
            "prediction": self.prediction,
            "evidence": list(self.evidence),
            "scheduler": dict(self.scheduler),
            "layout": self.layout,
            "table": self.table,
            "components": {part.name: _component_json(part) for part in self.components},
            "missing": list(self.missing),
            "missing_count": self.missing_count,
            "unexpected": list(self.unexpected),
            "unexpected_count": self.unexpected_count,
            "unused": dict(self.unused),
            "dtype": {part.name: part.dtype for part in self.components},
            "parameters": self.parameters,
            "size": self.size,
            "files": [{"name": file.name, "size": file.size} for file in self.files],
            "hashes": self._hashes_json(),
            "known_as": self.known_as,
            "metadata": dict(self.metadata),
            "training": dict(self.training),
            "licence": self.licence.name,
            "commercial": self.licence.commercial,
            "commercial_condition": self.licence.condition.text(lang) if self.licence.condition else None,
            "licence_evidence": list(self.licence.evidence),
            "advice": [line.text(lang) for line in self.advice],
        }

    def _hashes_json(self) -> dict[str, object]:
        known = {file.name: file.hashes.to_json() for file in self.files if file.hashes is not None}
        if len(self.files) == 1 and known:
            return dict(next(iter(known.values())))
        return dict(known)


def _component_json(part: Component) -> dict[str, object]:
    return {
        "tensors": part.tensors,
        "parameters": part.parameters,
        "bytes": part.bytes,
        "dtypes": dict(part.dtypes),
    }
