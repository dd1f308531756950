"""How near pictures come to drawings that were trained on: by the judge's traces, and pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pinxit.evaluate.prepare import ALONE
from pinxit.evaluate.references import References
from pinxit.evaluate.run import SHARP, Painted
from pinxit.evaluate.seeing import border_colour
from pinxit.schema.errors import BadInput
from pinxit.train.data.bank import Bank
from pinxit.train.data.composition import Composer
from pinxit.train.data.raster import PADDING

SIDE = 64
"""Pixels of a side at which pictures and drawings are compared."""

REAL = 400
"""Held-out drawings, at most, that tell how near real pictures come."""

PERCENTILE = 0.01
_AWAY = 30.0
"""How far (of 442) a pixel's colour lies from the ground's to belong to the thing."""

_FINE = 4
"""So many times larger things are laid out before they are averaged down, as a bank's drawings are."""

_CHUNK = 512


def copied(painted: Painted, references: References, bank: Bank | None = None) -> dict[str, float]:
    """How near pictures of one thing come to training drawings.

    By the judge's traces: `similarity` is the mean of each picture's nearest, `above` the share that comes nearer than
    99 in a hundred real drawings which were never shown do. With a bank, and where `painted` has sharp pictures, the
    same pixel by pixel: see `copied_pixels`.
    """
    single = [at for at, ask in enumerate(painted.asks) if ask.facts.kind == "single"]
    nearest = (painted.verdict.embedding[single].numpy() @ references.traces.T).max(axis=1)
    found = {"similarity": float(nearest.mean()), "above": float((nearest > references.copy_similarity).mean())}
    return found if bank is None or painted.sharp is None else found | copied_pixels(painted.sharp, bank)


def copied_pixels(pictures: Tensor, bank: Bank, *, seed: int = 0) -> dict[str, float]:
    """Distances of pictures, uint8 [N, 3, H, W] of one thing each, to their nearest training drawing in `bank`.

    `rgb` is their mean, `rgb_real` that of held-out drawings in pictures of the same kind, `rgb_threshold` the first
    percentile of those, and `rgb_below` the share of `pictures` that lies nearer than it: about 0.01 where a model
    copies no more than chance does. Raises BadInput when the bank holds nothing out.
    """
    hidden = bank.rows(split="held_out")
    if not hidden:
        raise BadInput(f"The bank in {bank.folder} holds no drawing out.", hint="Build a whole one: pinxit data build")
    composer, rng = Composer(bank, ALONE, size=SHARP, split="held_out"), np.random.default_rng(seed)
    chosen = rng.permutation(hidden)[:REAL].tolist()
    real = torch.from_numpy(np.stack([composer.compose_row(row, rng)[0] for row in chosen])).permute(0, 3, 1, 2)
    rows = bank.rows(split="train")
    distances = [nearest_drawings(some, bank, rows)[0] for some in (pictures, real)]
    threshold = float(np.quantile(distances[1], PERCENTILE))
    return {
        "rgb": float(distances[0].mean()),
        "rgb_real": float(distances[1].mean()),
        "rgb_threshold": threshold,
        "rgb_below": float((distances[0] < threshold).mean()),
    }


def nearest_drawings(
    pictures: Tensor, bank: Bank, rows: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """For each picture the distance to its nearest drawing among `rows`, and that row.

    The root mean square over the values (0 to 255) of 64 x 64 pixels, the drawing on the picture's own ground and both
    filling the square alike.
    """
    things, grounds = aligned(pictures)
    size = min((size for size in bank.sizes if size >= SIDE), default=max(bank.sizes))
    pixels = bank.pixels(size)
    own, on_ground = things.flatten(1), (things * grounds[:, :, None, None]).sum(1).flatten(1)
    best = torch.full((len(own),), torch.inf)
    which = torch.zeros(len(own), dtype=torch.int64)
    for at in range(0, len(rows), _CHUNK):
        part = torch.from_numpy(pixels[np.asarray(rows[at : at + _CHUNK])]).permute(0, 3, 1, 2).float()
        part = part if size == SIDE else F.interpolate(part, (SIDE, SIDE), mode="area")
        colour, clear = part[:, :3], 1 - part[:, 3:] / 255
        # |own - colour - ground * clear|^2, multiplied out so that no drawing is laid on every picture's ground.
        square = own.square().sum(1)[:, None] + colour.square().sum((1, 2, 3)) - 2 * own @ colour.flatten(1).T
        square += 2 * grounds @ (colour * clear).sum((2, 3)).T - 2 * on_ground @ clear.flatten(1).T
        square += grounds.square().sum(1)[:, None] * clear.square().sum((1, 2, 3))
        least, where = square.min(dim=1)
        which = torch.where(least < best, where + at, which)
        best = torch.minimum(best, least)
    distance = (best.clamp(min=0) / own.shape[1]).sqrt()
    return distance.numpy(), np.asarray(rows, np.int64)[which.numpy()]


def aligned(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """The thing in each picture, cropped, centred and scaled as a bank's drawings are, and the ground around it.

    Takes uint8 [N, 3, H, W]; gives float32 [N, 3, 64, 64] and [N, 3] in 0 to 255. A picture in which nothing stands out
    stays whole.
    """
    grounds = torch.tensor([border_colour(picture) for picture in pictures], dtype=torch.float32)
    fine = SIDE * _FINE
    things: list[Tensor] = []
    for picture, ground in zip(pictures.float(), grounds, strict=True):
        away = (picture - ground[:, None, None]).norm(dim=0) > _AWAY
        crop = picture[:, _extent(away.sum(dim=1)), _extent(away.sum(dim=0))]
        scale = fine * (1 - 2 * PADDING) / max(crop.shape[1:])
        high, wide = (max(1, round(side * scale)) for side in crop.shape[1:])
        top, left = (fine - high) // 2, (fine - wide) // 2
        square = ground[:, None, None].repeat(1, fine, fine)
        square[:, top : top + high, left : left + wide] = F.interpolate(
            crop[None], (high, wide), mode="bicubic", antialias=True
        )[0].clamp(0, 255)
        things.append(F.avg_pool2d(square, _FINE))
    return torch.stack(things), grounds


def _extent(counts: Tensor) -> slice:
    """From the first to the last line with more than a stray pixel; everything where there is none."""
    lines = torch.nonzero(counts > 1).flatten().tolist()
    return slice(lines[0], lines[-1] + 1) if lines else slice(None)
