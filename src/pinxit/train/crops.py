"""Pictures for the autoencoder: single drawings at every scale and place over every kind of ground, on any device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.train.computing import onto
from pinxit.train.data.bank import Bank

SCALES = (0.6, 1.05)
"""The side of a drawing, as a share of the frame."""

WHITE_SHARE = 0.35
GRADIENT_SHARE = 0.25


class Crops:
    """Random crops of drawings. The same (seed, step) gives the same crops.

    `size` is the side of a crop and `frame` the side of the picture that it is cut from, in pixels; drawings fill 60 to
    105 % of the frame. Rows are drawn by `weights`.
    """

    def __init__(
        self,
        bank: Bank,
        rows: Sequence[int],
        weights: Sequence[float],
        *,
        size: int,
        frame: int,
        seed: int,
        device: torch.device | None = None,
    ) -> None:
        self.pixels = bank.pixels(max(s for s in bank.sizes if s <= 2 * frame))
        self.rows = np.asarray(rows)
        self.shares = np.asarray(weights, dtype=np.float64) / float(np.sum(weights))
        self.size = size
        self.frame = frame
        self.seed = seed
        self.device = device or torch.device("cpu")

    def __call__(self, step: int, count: int) -> Tensor:
        """uint8 [count, 3, size, size], on the crops' device, where they are placed and mixed as well."""
        rng = np.random.Generator(np.random.Philox(key=[self.seed, step]))
        rows = np.sort(rng.choice(self.rows, size=count, p=self.shares))
        drawings = onto(torch.from_numpy(np.ascontiguousarray(self.pixels[rows])), self.device)
        placed = self._place(drawings.permute(0, 3, 1, 2).float(), rng)
        ground = _grounds(count, self.size, rng, self.device)
        picture = placed[:, :3] + ground * (1 - placed[:, 3:] / 255)
        return picture.clamp_(0, 255).round_().to(torch.uint8)

    def _place(self, drawings: Tensor, rng: np.random.Generator) -> Tensor:
        """Each drawing scaled and shifted, the crop's part of it. Shrinking by more than two averages first."""
        count = len(drawings)
        scale = torch.from_numpy(rng.uniform(*SCALES, size=count)).float()
        shrink = drawings.shape[-1] / (self.frame * float(scale.mean()))
        if shrink > 1.5:
            drawings = F.avg_pool2d(drawings, 2)
        span = self.size / self.frame
        # Crop centres lie within the frame, the drawing's centre within its free border, in units of half a frame.
        centre = torch.from_numpy(rng.uniform(-1, 1, size=(count, 2))).float() * (1 - span)
        shift = torch.from_numpy(rng.uniform(-1, 1, size=(count, 2))).float() * (1 - scale.clamp(max=1))[:, None]
        theta = torch.zeros(count, 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = span / scale
        theta[:, :, 2] = (centre - shift) / scale[:, None]
        grid = F.affine_grid(onto(theta, self.device), [count, 4, self.size, self.size], align_corners=False)
        return F.grid_sample(drawings, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _grounds(count: int, size: int, rng: np.random.Generator, device: torch.device) -> Tensor:
    """White, one colour, or a gradient between two, float [count,3,size,size] in 0..255."""
    first = torch.from_numpy(rng.uniform(0, 255, size=(count, 3, 1, 1))).float()
    second = torch.from_numpy(rng.uniform(0, 255, size=(count, 3, 1, 1))).float()
    kind = torch.from_numpy(rng.random(count)).view(-1, 1, 1, 1)
    first = torch.where(kind < WHITE_SHARE, torch.full_like(first, 255), first)
    second = torch.where(kind < 1 - GRADIENT_SHARE, first, second)
    first, second = onto(first, device), onto(second, device)
    ramp = torch.linspace(0, 1, size, device=device).view(1, 1, size, 1)
    return first + (second - first) * ramp.expand(-1, -1, -1, size)
