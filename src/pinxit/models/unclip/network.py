"""The image embedding that unCLIP is told: normalised, noised to a level, and put beside that level.

```
embedding [B,C] -> (e - mean) / std -> noise at the level -> * std + mean --.
level [B]       -> sinusoidal [B,C] ----------------------------------------+--> vector [B,2C]
```
Legend: `abar` the share of the embedding in the variance that is left at a level, `eps` standard noise.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from pinxit.nn import sinusoidal
from pinxit.sampling.tables import cosine_betas, cumulative


@lru_cache(maxsize=1)
def augmentation_abar() -> tuple[float, ...]:
    """abar of the augmentation's 1,000 levels: the cosine schedule (Nichol & Dhariwal 2021, eq. 17)."""
    return tuple(cumulative(cosine_betas()).tolist())


class ImageNormalizer(nn.Module):
    """Mean and deviation of image embeddings, of `shape` [1,C]. Zeros and ones change nothing."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(shape))
        self.std = nn.Parameter(torch.ones(shape))

    def vector(self, embedding: Tensor, level: int, eps: Tensor) -> Tensor:
        """What the U-Net is told [B,2C] of an embedding [B,C] noised with `eps` [B,C] to `level` in 0..999."""
        abar = augmentation_abar()[level]
        noised = abar**0.5 * (embedding - self.mean) / self.std + (1 - abar) ** 0.5 * eps
        levels = torch.full((embedding.shape[0],), level, device=embedding.device)
        return torch.cat([noised * self.std + self.mean, sinusoidal(levels, embedding.shape[1])], dim=1)
