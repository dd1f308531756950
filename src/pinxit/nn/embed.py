"""Sinusoidal embedding of scalars: timesteps, and the sizes that SDXL is conditioned on."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoidal(values: Tensor, width: int, *, max_period: float = 10_000.0) -> Tensor:
    """Embed each value as `width` cosines and sines, cosines first (Vaswani et al. 2017, section 3.5).

    `values` has any shape [...]; the result is float32 [..., width]. `width` must be even.
    """
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=values.device) / half
    angles = values.float().unsqueeze(-1) * torch.exp(-math.log(max_period) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
