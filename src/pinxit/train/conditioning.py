"""The words half of training: captions to token numbers, and the text encoder's warm-up on the facts they state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.common.clip import ClipText
from pinxit.models.common.configs import ClipTextConfig
from pinxit.nn import sinusoidal
from pinxit.prompts.tokenizer import ClipTokenizer
from pinxit.train.recipe import TextRecipe, TextShape

Captions = Callable[[int, int], tuple[Sequence[str], Sequence[frozenset[str]]]]
"""(step, count) -> captions and, for each, the facts it states, such as `concept:1f34e` or `background:blue`."""


def text_config(shape: TextShape, tokenizer: ClipTokenizer) -> ClipTextConfig:
    return ClipTextConfig(
        vocab_size=tokenizer.vocab_size,
        width=shape.width,
        intermediate=4 * shape.width,
        layers=shape.layers,
        heads=shape.heads,
        activation="gelu",
        projection=shape.width,
        bos_id=tokenizer.bos,
        eos_id=tokenizer.eos,
        pad_id=tokenizer.eos,
    )


def token_rows(tokenizer: ClipTokenizer, captions: Sequence[str], positions: int = 77) -> Tensor:
    """Captions as token numbers [B,77]: start, text (cut to fit), end, and end again to the full length."""
    rows = [[tokenizer.bos, *tokenizer.encode(caption)[: positions - 2], tokenizer.eos] for caption in captions]
    return torch.tensor([row + [tokenizer.eos] * (positions - len(row)) for row in rows])


def added_embedding(pooled: Tensor, sizes: Tensor, width: int) -> Tensor:
    """SDXL's added vector (Podell et al. 2023, 2.2): pooled text [B,P], then six embedded sizes [B,6*width].

    `sizes` is [B,6]: original height and width, crop top and left, target height and width, in pixels.
    """
    return torch.cat([pooled, sinusoidal(sizes, width).flatten(1).to(pooled.dtype)], dim=1)


class TextTask:
    """Name every fact of a caption from the states that the U-Net will read, and from the pooled vector."""

    def __init__(
        self, recipe: TextRecipe, text: ClipText, tokenizer: ClipTokenizer, captions: Captions, facts: Sequence[str]
    ) -> None:
        self.recipe = recipe
        self.tokenizer = tokenizer
        self.captions = captions
        self.index = {fact: number for number, fact in enumerate(sorted(facts))}
        width = text.config.width
        heads = nn.ModuleList([nn.Linear(width, len(self.index)), nn.Linear(width, len(self.index))])
        self.networks = nn.ModuleDict({"text": text, "heads": heads})

    def learning_rates(self, step: int) -> Mapping[str, float]:  # noqa: ARG002 - every step alike
        return {}

    def loss(self, step: int) -> Mapping[str, Tensor]:
        captions, facts = self.captions(step, self.recipe.optimisation.batch)
        text, heads = self.networks["text"], cast(nn.ModuleList, self.networks["heads"])
        device = next(heads.parameters()).device
        ids = token_rows(self.tokenizer, captions).to(device)
        wanted = torch.zeros(len(captions), len(self.index), device=device)
        for row, stated in enumerate(facts):
            wanted[row, [self.index[fact] for fact in stated if fact in self.index]] = 1.0
        with torch.autocast(ids.device.type, dtype=torch.bfloat16):
            states = text(ids)
            ends = (ids == self.tokenizer.eos).int().argmax(dim=1)
            at_end = states.hidden[-2][torch.arange(len(ids), device=device), ends]
            guesses = torch.stack([heads[0](states.projected), heads[1](at_end)]).float()
        terms = F.binary_cross_entropy_with_logits(guesses, wanted.expand_as(guesses), reduction="none")
        loss = terms.sum(-1).mean()
        found = (guesses[0] > 0) == (wanted > 0)
        return {"loss": loss, "exact": found.all(dim=1).float().mean()}
