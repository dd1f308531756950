"""Prompts through a CLIP text encoder: chunk by chunk, with emphasis, into one long row of token vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.models.contract import Words
from pinxit.prompts.chunks import Chunk, emphasize

if TYPE_CHECKING:
    from torch import Tensor

    from pinxit.models.common.clip import ClipText


def encode_words(text: ClipText, words: Words, *, skip: int, normalise: bool) -> tuple[Tensor, Tensor | None]:
    """Token vectors [1, 77 * chunks, C] and the projected vector [1, P] of the first chunk (None without projection).

    `skip` 1 reads the last layer's state, 2 the one before it, and so on; `normalise` passes it through the encoder's
    final norm. Raises nothing for empty prompts: they are one chunk like any other.
    """
    import torch

    skip = min(skip if words.skip is None else words.skip, text.config.layers)

    def states(chunk: Chunk) -> tuple[Tensor, Tensor | None]:
        out = text(torch.tensor([chunk.ids]))
        hidden = out.hidden[-skip]
        return (text.normalised(hidden) if normalise else hidden).float(), out.projected

    empty = states(words.empty)[0] if words.emphasis == "from_empty" else None
    rows: list[Tensor] = []
    pooled: Tensor | None = None
    for number, chunk in enumerate(words.chunks):
        encoded, projected = states(chunk)
        if number == 0 and projected is not None:
            pooled = projected.float()
        if any(weight != 1 for weight in chunk.weights):
            encoded = emphasize(encoded, torch.tensor([chunk.weights]), words.emphasis, empty)
        rows.append(encoded)
    return torch.cat(rows, dim=1), pooled
