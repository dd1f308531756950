"""The training drawings that a picture is nearest to, with their authors: nearest, not the cause."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from pinxit.evaluate.references import References, Source
from pinxit.train.judge import judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """One drawing. `similarity` is the cosine of the two traces; `close` says that it is past what chance brings."""

    drawing: str
    name: str
    style: str
    similarity: float
    close: bool
    source: Source

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "similarity": round(self.similarity, 4)}


def nearest_drawings(picture: Image.Image, references: References, count: int) -> list[Citation]:
    """The `count` training drawings whose traces are most like the picture's, the nearest first."""
    pixels = torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1)[None]
    trace = judged(references.judge, pixels).embedding[0].numpy()
    similarity = references.traces @ trace
    found: list[Citation] = []
    for at in np.argsort(-similarity)[:count]:
        drawing, source, name, _, style = references.drawings[int(at)]
        likeness = float(similarity[at])
        found.append(
            Citation(
                drawing=drawing,
                name=name,
                style=style,
                similarity=likeness,
                close=likeness > references.copy_similarity,
                source=references.sources[source],
            )
        )
    return found
