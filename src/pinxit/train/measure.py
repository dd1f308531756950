"""Measures of a model in the making."""

from __future__ import annotations

from typing import get_args

import numpy as np
import torch

from pinxit.models.common.vae import AutoencoderKL
from pinxit.train.data.bank import Bank
from pinxit.train.data.split import Split

MOST = 96
BATCH = 8


@torch.no_grad()
def autoencoder_psnr(vae: AutoencoderKL, bank: Bank, *, most: int = MOST) -> dict[str, float]:
    """Peak signal-to-noise ratio in dB of drawings on white, inside the drawings alone, by split.

    The white ground would flatter every autoencoder, so only pixels with alpha above 0 count. At most `most` drawings
    of each split are measured, spread evenly over the bank.
    """
    side = max(bank.sizes)
    found: dict[str, float] = {}
    for split in get_args(Split):
        rows = np.array(bank.rows(split=split))
        if not len(rows):
            continue
        rows = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
        total = count = 0.0
        for start in range(0, len(rows), BATCH):
            drawings = torch.from_numpy(np.ascontiguousarray(bank.pixels(side)[rows[start : start + BATCH]]))
            drawings = drawings.permute(0, 3, 1, 2).float()
            alpha = drawings[:, 3:]
            picture = (drawings[:, :3] + 255 - alpha) / 127.5 - 1
            decoded = vae.decode(vae.encode(picture)[0]).clamp(-1, 1)
            inside = (alpha > 0).expand_as(picture)
            total += float((decoded - picture).square()[inside].sum())
            count += float(inside.sum())
        found[split.replace("_", "-")] = float(-10 * np.log10(total / count / 4))
    return found
