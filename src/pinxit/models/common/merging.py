"""Token merging for self-attention (Bolya & Hoffman 2023, section 3): the most alike tokens are averaged before it, and
what comes out is given to each of them.

Of every 2x2 positions the first is a destination; the others are sources, of which the most alike to a destination go
into it. Which position stays is fixed, not drawn, so equal inputs merge equally, alone or in a batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CELL = 2
PIECE = 2048
"""Sources that are compared at once, so that the table of likenesses stays small."""


class Match:
    """Which of the tokens x [B,H*W,C] of an image go together.

    `ratio` is the share of all tokens that goes into others, at most the three of four that are sources.
    """

    def __init__(self, x: Tensor, height: int, width: int, ratio: float) -> None:
        rows, columns = torch.meshgrid(
            torch.arange(height, device=x.device), torch.arange(width, device=x.device), indexing="ij"
        )
        # An odd side's last positions have no cell of their own: they are sources too, as in the paper's code.
        whole = (rows < height // CELL * CELL) & (columns < width // CELL * CELL)
        stays = (whole & (rows % CELL == 0) & (columns % CELL == 0)).flatten()
        self.length = height * width
        self._targets, self._sources = stays.nonzero()[:, 0], (~stays).nonzero()[:, 0]
        count = min(int(ratio * self.length), len(self._sources)) if len(self._targets) else 0
        likeness, nearest = self._nearest(F.normalize(x.float(), dim=-1))
        order = likeness.argsort(dim=1, descending=True, stable=True)
        self._gone, self._alone = order[:, :count], order[:, count:]
        self._into = nearest.gather(1, self._gone)

    def _nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Each source's likeness to its nearest destination, and which that is, [B,sources] both."""
        if not len(self._targets):
            empty = x.new_zeros(x.shape[0], len(self._sources))
            return empty, empty.long()
        targets = x[:, self._targets].transpose(1, 2)
        found = [(x[:, piece] @ targets).max(dim=2) for piece in self._sources.split(PIECE)]
        return torch.cat([one.values for one in found], 1), torch.cat([one.indices for one in found], 1)

    def merge(self, x: Tensor) -> Tensor:
        """Fewer tokens: the sources that stay alone, then every destination averaged with what goes into it."""
        sources, targets = x[:, self._sources], x[:, self._targets]
        gone = sources.gather(1, _wide(self._gone, x))
        merged = targets.scatter_reduce(1, _wide(self._into, x), gone, reduce="mean", include_self=True)
        return torch.cat([sources.gather(1, _wide(self._alone, x)), merged], dim=1)

    def spread(self, x: Tensor) -> Tensor:
        """Back to [B,H*W,C]: what went into a destination gets what the destination has."""
        alone, targets = x.split([self._alone.shape[1], len(self._targets)], dim=1)
        sources = x.new_empty(x.shape[0], len(self._sources), x.shape[2])
        sources.scatter_(1, _wide(self._alone, x), alone)
        sources.scatter_(1, _wide(self._gone, x), targets.gather(1, _wide(self._into, x)))
        out = x.new_empty(x.shape[0], self.length, x.shape[2])
        out[:, self._sources], out[:, self._targets] = sources, targets
        return out


def _wide(index: Tensor, x: Tensor) -> Tensor:
    """[B,n] as [B,n,C]."""
    return index.unsqueeze(-1).expand(-1, -1, x.shape[2])
