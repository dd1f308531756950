"""What a model's autoencoder loses: drawings that no training saw, there and back, style by style."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.schema.errors import BadInput
from pinxit.train.data.bank import Bank

MOST = 24
"""Drawings of each style."""

_BATCH = 4
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


class Codec(Protocol):
    """Pictures [B, 3, H, W] in -1..1 to the mean and spread of latents, and latents to pictures."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]: ...
    def decode(self, z: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The error inside `count` drawings: PSNR in dB of all their pixels together, SSIM as their mean."""

    psnr: float
    ssim: float
    count: int


@torch.inference_mode()
def autoencoder_losses(codec: Codec, bank: Bank, *, most: int = MOST) -> Mapping[str, Loss]:
    """The loss on held-out drawings by style, and under `all` of all together; at most `most` of each style.

    Drawings lie on white, which would flatter every autoencoder: only pixels with alpha above 0 count. Raises BadInput
    when the bank holds nothing out.
    """
    rows: dict[str, list[int]] = {}
    for row in bank.rows(split="held_out"):
        rows.setdefault(bank.drawings[row].style, []).append(row)
    if not rows:
        raise BadInput(f"The bank in {bank.folder} holds no drawing out.", hint="Build a whole one: pinxit data build")
    sums = {style: _sums(codec, bank, _spread(found, most)) for style, found in sorted(rows.items())}
    sums["all"] = tuple(np.sum(list(sums.values()), axis=0))
    return {style: _loss(*values) for style, values in sums.items()}


def _spread(rows: list[int], most: int) -> list[int]:
    return [rows[at] for at in np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]


def _sums(codec: Codec, bank: Bank, rows: list[int]) -> tuple[float, float, float, float]:
    """Of all rows: squared error, values counted, SSIM, drawings."""
    error = values = similarity = 0.0
    for picture, alpha in _pictures(bank, rows):
        decoded = codec.decode(codec.encode(picture)[0]).clamp(-1, 1)
        inside = (alpha > 0).expand_as(picture)
        error += float((decoded - picture).square()[inside].sum())
        values += float(inside.sum())
        alike = structural_similarity(decoded, picture)
        seen = inside.float()
        similarity += float(((alike * seen).sum((1, 2, 3)) / seen.sum((1, 2, 3)).clamp(min=1)).sum())
    return error, values, similarity, float(len(rows))


def _pictures(bank: Bank, rows: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Drawings on white, float [B, 3, S, S] in -1..1, and their alpha."""
    pixels = bank.pixels(max(bank.sizes))
    for at in range(0, len(rows), _BATCH):
        drawings = torch.from_numpy(np.ascontiguousarray(pixels[rows[at : at + _BATCH]])).permute(0, 3, 1, 2).float()
        alpha = drawings[:, 3:]
        yield (drawings[:, :3] + 255 - alpha) / 127.5 - 1, alpha


def _loss(error: float, values: float, similarity: float, count: float) -> Loss:
    psnr = float(-10 * np.log10(max(error, 1e-12) / max(values, 1.0) / 4))
    return Loss(psnr=psnr, ssim=similarity / count, count=int(count))


def structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    """SSIM at every place of pictures [B, C, H, W] in -1..1, by a window of 11 pixels (Wang et al. 2004, eq. 13)."""
    reach = torch.arange(_WINDOW, dtype=first.dtype) - _WINDOW // 2
    line = torch.exp(-(reach**2) / (2 * _SIGMA**2))
    line = line / line.sum()
    channels = first.shape[1]

    def blurred(x: Tensor) -> Tensor:
        x = F.pad(x, (_WINDOW // 2,) * 4, mode="replicate")
        x = F.conv2d(x, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
        return F.conv2d(x, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)

    first, second = first / 2 + 0.5, second / 2 + 0.5
    a, b = blurred(first), blurred(second)
    spread_a, spread_b = blurred(first * first) - a * a, blurred(second * second) - b * b
    together = blurred(first * second) - a * b
    return (2 * a * b + _C1) * (2 * together + _C2) / ((a * a + b * b + _C1) * (spread_a + spread_b + _C2))
