"""What a judge brings along: its marks on real drawings, what it compares with, and a trace of every training drawing.

```
judge.safetensors, second-judge.safetensors   two networks; the second saw other drawings and serves retrieval alone
references.safetensors   traces int8 [N, E] of the bank's training drawings; features float16 [M, D] of real pictures
references.json          the drawings' names and sets, the judges' marks on real pictures, the domain those show
independent.safetensors  features float16 [M, 2048] that a network of others gives real pictures, if it was at hand
exam.png                 real pictures in rows of eight, 96 pixels each, for `pinxit evaluate --check`
```
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from pinxit.evaluate.asks import TASKS, Domain, drawing_of
from pinxit.evaluate.seeing import answers, readings
from pinxit.schema.errors import BadModelFile, Missing
from pinxit.train.data.facts import BackgroundFacts, ObjectFacts, SceneFacts
from pinxit.train.data.split import Split
from pinxit.train.judge import SIDE, Judge, judged, load_judge

JUDGE, SECOND = "judge", "second-judge"
INDEPENDENT = "independent.safetensors"
EXAM_COLUMNS = 8
SHIPPED = Path(__file__).parent / "judges"

Marks = dict[str, tuple[int, int]]
"""By task: how many answers were right, of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A set of drawings as it is named to people."""

    name: str
    package: str
    licence: str
    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Independent:
    """Features [M, D] of real pictures, the distance between their halves, and that of noise to them."""

    features: NDArray[np.float64]
    real: float
    noise: float


class References:
    """The folder of a judge, read as it is needed. Raises Missing and BadModelFile."""

    def __init__(self, folder: Path = SHIPPED) -> None:
        if not (folder / "references.json").is_file():
            raise Missing(f"There is no judge in {folder}.", hint="Make one with `pinxit export --judges`.")
        self.folder = folder
        try:
            self.told: dict[str, Any] = json.loads((folder / "references.json").read_text("utf-8"))
            self.ceilings: dict[Split, Marks] = {
                split: {task: (right, count) for task, (right, count) in marks.items()}
                for split, marks in self.told["ceilings"].items()
            }
            self.domain = Domain(**{name: tuple(values) for name, values in self.told["domain"].items()})
            self.sources = tuple(Source(**row) for row in self.told["sources"])
            self.copy_similarity = float(self.told["copy_similarity"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadModelFile(f"{folder / 'references.json'} is damaged.", hint="Install pinxit again.") from error

    @cached_property
    def judge(self) -> Judge:
        return load_judge(self.folder / f"{JUDGE}.safetensors")

    @cached_property
    def second(self) -> Judge:
        return load_judge(self.folder / f"{SECOND}.safetensors")

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        return load_file(self.folder / "references.safetensors")

    @property
    def drawings(self) -> Sequence[Sequence[Any]]:
        """(id, number of its source, English name, concept, style) of every training drawing, as `traces` has them."""
        return self.told["drawings"]

    @cached_property
    def traces(self) -> NDArray[np.float32]:
        """Embeddings of the training drawings, float32 [N, E], of length one."""
        values = self.arrays["traces"].astype(np.float32)
        return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)

    @cached_property
    def independent(self) -> Independent | None:
        """What the independent network sees in real pictures; None where that was never measured."""
        path = self.folder / INDEPENDENT
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="np") as file:
                told = file.metadata() or {}
                features = np.asarray(file.get_tensor("features"), np.float64)
            return Independent(features=features, real=float(told["real"]), noise=float(told["noise"]))
        except (SafetensorError, ValueError, KeyError) as error:
            raise BadModelFile(f"{path} is damaged.", hint="Install pinxit again.") from error

    @cached_property
    def exam(self) -> tuple[torch.Tensor, list[SceneFacts]]:
        """Real pictures, uint8 [64, 3, 96, 96], and what they show."""
        sheet = np.asarray(Image.open(self.folder / "exam.png").convert("RGB"))
        rows = sheet.reshape(-1, SIDE, EXAM_COLUMNS, SIDE, 3).transpose(0, 2, 4, 1, 3)
        return torch.from_numpy(rows.reshape(-1, 3, SIDE, SIDE).copy()), [_facts(row) for row in self.told["exam"]]


def _facts(row: Mapping[str, Any]) -> SceneFacts:
    """The facts of an exam picture, as `prepare` wrote them; boxes are not kept."""
    things = tuple(
        ObjectFacts(row=-1, drawing=drawing_of(concept, style), box=(0.0, 0.0, 1.0, 1.0), size=size)
        for concept, style, size in row["things"]
    )
    return SceneFacts(
        kind=row["kind"],
        objects=things,
        background=BackgroundFacts(kind=row["ground"], colours=tuple(row["colours"])),
        relation=row["relation"],
    )


def marks(judge: Judge, pictures: torch.Tensor, facts: Sequence[SceneFacts]) -> Marks:
    """How many answers are right, by task, on pictures of which the facts are known."""
    found: dict[str, list[bool]] = {}
    for asked, reading in zip(facts, readings(judge, judged(judge, pictures), pictures), strict=True):
        for task, right in answers(asked, reading, judge.config.styles).items():
            found.setdefault(task, []).append(right)
    return {task: (sum(found[task]), len(found[task])) for task in TASKS if task in found}
