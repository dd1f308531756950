from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pinxit.evaluate.autoencoder import autoencoder_losses, structural_similarity
from pinxit.schema.errors import BadInput
from pinxit.train.data.bank import Bank
from pinxit.train.data.build import build
from tests.train.data import fakes


class Shift:
    """A codec that keeps everything but adds `by` to every pixel, and makes the white ground black."""

    def __init__(self, by: float) -> None:
        self.by = by

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x

    def decode(self, z: Tensor) -> Tensor:
        return torch.where((z == 1).all(dim=1, keepdim=True), -1.0, z + self.by)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    return build(replace(fakes.options(tmp_path_factory.mktemp("codec")), sources=("noto", "twemoji")), lambda _: None)


def test_only_the_inside_of_held_out_drawings_counts(bank: Bank) -> None:
    losses = autoencoder_losses(Shift(0.0), bank)
    assert set(losses) == {"noto", "all"}
    assert losses["noto"].count == len(bank.rows(split="held_out", styles=("noto",)))
    assert losses["noto"].psnr > 100
    assert losses["all"] == losses["noto"]


def test_the_error_is_told_in_decibels(bank: Bank) -> None:
    rows = bank.rows(split="held_out")
    pixels = np.asarray(bank.pixels(64)[list(rows)], np.float32)
    picture = (pixels[..., :3] + 255 - pixels[..., 3:]) / 127.5 - 1
    moved = np.clip(picture + 0.1, -1, 1) - picture
    expected = -10 * np.log10(np.square(moved[pixels[..., 3] > 0]).mean() / 4)
    found = autoencoder_losses(Shift(0.1), bank)["noto"]
    assert found.psnr == pytest.approx(expected, abs=0.01)
    assert found.ssim < 1


def test_a_bank_without_held_out_drawings_is_refused(tmp_path: Path, bank: Bank) -> None:
    empty = Bank(tmp_path, tuple(replace(drawing, split="train") for drawing in bank.drawings), bank.sizes)
    with pytest.raises(BadInput, match="holds no drawing out"):
        autoencoder_losses(Shift(0.0), empty)


def test_structural_similarity() -> None:
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(structural_similarity(x, x), torch.ones_like(x))
    # Flat pictures: the spread is 0 and the formula is that of the means alone.
    a, b = torch.full((1, 1, 16, 16), 0.5), torch.full((1, 1, 16, 16), -0.5)
    expected = (2 * 0.75 * 0.25 + 1e-4) / (0.75**2 + 0.25**2 + 1e-4)
    torch.testing.assert_close(structural_similarity(a, b), torch.full_like(a, expected), atol=1e-4, rtol=1e-4)
    assert structural_similarity(x, -x).mean() < 0
