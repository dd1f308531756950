"""The parameterised layers, under one roof: torch's own, by the names that the networks use."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Conv2d = nn.Conv2d
Linear = nn.Linear
LayerNorm = nn.LayerNorm


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu & He 2018), with the 32 groups of most Stable Diffusion networks."""

    def __init__(self, channels: int, *, groups: int = 32, eps: float = 1e-5) -> None:
        super().__init__(groups, channels, eps=eps)


class Embedding(nn.Embedding):
    """A table of vectors; drawn with deviation 0.02 where memory is real, as CLIP's are."""

    def __init__(self, count: int, width: int) -> None:
        # Handing the table in skips torch's own drawing of it, which on the meta device loads its whole compiler.
        table = torch.empty(count, width)
        super().__init__(count, width, _weight=table if table.is_meta else table.normal_(std=0.02))


class GEGLU(nn.Module):
    """Gated feed-forward input, `a * gelu(b)` of a projection's halves (Shazeer 2020). [..., C] -> [..., inner]."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)
