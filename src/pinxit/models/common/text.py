"""Prompts through a text encoder: chunk by chunk, with emphasis, into one long row of token vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from pinxit.models.contract import Words
from pinxit.prompts.chunks import emphasize

if TYPE_CHECKING:
    from torch import Tensor

    from pinxit.models.common.clip import ClipText

Read: TypeAlias = "Callable[[Tensor], tuple[Tensor, Tensor | None]]"
"""Token numbers [1,S] to token vectors [1,S,C] and, where there is one, the pooled vector [1,P]; float32."""


def encode_words(
    text: ClipText, words: Words, component: str, *, skip: int, normalise: bool, projects: bool = True
) -> tuple[Tensor, Tensor | None]:
    """Token vectors [1, 77 * chunks, C] and the projected vector [1, P] of the first chunk (None without projection).

    `text` is the network of `component`, whose chunks are taken. `skip` 1 reads the last layer's state, 2 the one
    before it, and so on; `normalise` passes it through the encoder's final norm. With `projects` False the second
    value is the pooled vector before any projection. Raises nothing for empty prompts: they are one chunk like any
    other.
    """
    skip = min(skip if words.skip is None else words.skip, text.config.layers)

    def read(ids: Tensor) -> tuple[Tensor, Tensor | None]:
        out = text(ids)
        hidden = out.hidden[-skip]
        pooled = out.projected if projects else out.pooled
        return (text.normalised(hidden) if normalise else hidden).float(), None if pooled is None else pooled.float()

    return encode_chunks(read, words, component)


def encode_chunks(read: Read, words: Words, component: str) -> tuple[Tensor, Tensor | None]:
    """The token vectors of all chunks of `component` in one row, emphasised, and the first chunk's pooled vector."""
    import torch

    empty = read(torch.tensor([words.empty[component].ids]))[0] if words.emphasis == "from_empty" else None
    rows: list[Tensor] = []
    first: Tensor | None = None
    for number, chunk in enumerate(words.chunks[component]):
        encoded, pooled = read(torch.tensor([chunk.ids]))
        if number == 0:
            first = pooled
        if any(weight != 1 for weight in chunk.weights):
            encoded = emphasize(encoded, torch.tensor([chunk.weights]).to(encoded.device), words.emphasis, empty)
        rows.append(encoded)
    return torch.cat(rows, dim=1), first
