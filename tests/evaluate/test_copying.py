"""Copies must be found out, and drawings that no training saw must not be taken for copies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pinxit.evaluate.asks import make_asks
from pinxit.evaluate.copying import SIDE, aligned, copied, copied_pixels, nearest_drawings
from pinxit.evaluate.references import References
from pinxit.evaluate.run import judge_all
from pinxit.schema.errors import BadInput
from pinxit.train.data.bank import Bank
from pinxit.train.data.build import build
from tests.train.data import fakes

YELLOW, WHITE = (250, 245, 120), (255, 255, 255)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    options = replace(fakes.options(tmp_path_factory.mktemp("copies")), sizes=(128, 64))
    return build(replace(options, sources=("noto", "twemoji", "fluent-flat")), lambda _: None)


def pasted(bank: Bank, row: int, ground: tuple[int, int, int], *, side: int = 64, corner: tuple[int, int]) -> Tensor:
    """A picture of 96 pixels with this drawing somewhere on a plain ground."""
    drawing = torch.from_numpy(np.array(bank.pixels(128)[row])).permute(2, 0, 1).float()
    drawing = torch.nn.functional.interpolate(drawing[None], (side, side), mode="area")[0]
    colour = torch.tensor(ground, dtype=torch.float32).view(3, 1, 1)
    picture = colour.expand(3, 96, 96).clone()
    top, left = corner
    picture[:, top : top + side, left : left + side] = drawing[:3] + colour * (1 - drawing[3:] / 255)
    return picture.round().clamp(0, 255).to(torch.uint8)


def test_a_pasted_training_drawing_is_found_out(bank: Bank) -> None:
    rows = bank.rows(split="train")
    places = [(YELLOW, 64, (3, 20)), (WHITE, 80, (9, 2)), (YELLOW, 48, (40, 5))]
    chosen = [(row, place) for row in rows[::3] for place in places]
    pictures = torch.stack([pasted(bank, row, *place[:1], side=place[1], corner=place[2]) for row, place in chosen])
    distances, found = nearest_drawings(pictures, bank, rows)
    twins = {row: bank.drawings[row].twin for row in rows}
    assert [twins[row] for row in found.tolist()] == [twins[row] for row, _ in chosen]
    told = copied_pixels(pictures, bank)
    assert told["rgb_below"] == 1
    assert distances.max() < told["rgb_threshold"] < told["rgb_real"] + 1e-3
    assert told["rgb"] == pytest.approx(float(distances.mean()))


def test_a_drawing_that_was_never_shown_is_no_copy(bank: Bank) -> None:
    rows = bank.rows(split="held_out")
    pictures = torch.stack([pasted(bank, row, ground, corner=(8, 12)) for row in rows for ground in (YELLOW, WHITE)])
    copies = torch.stack([pasted(bank, row, YELLOW, corner=(8, 12)) for row in bank.rows(split="train")])
    real, _ = nearest_drawings(pictures, bank, bank.rows(split="train"))
    copy, _ = nearest_drawings(copies, bank, bank.rows(split="train"))
    assert real.min() > 2 * copy.max()
    told = copied_pixels(pictures, bank)
    assert told["rgb"] == pytest.approx(told["rgb_real"], rel=0.3)


def test_a_distance_is_what_the_formula_says(bank: Bank) -> None:
    picture = pasted(bank, 0, YELLOW, corner=(10, 10))[None]
    things, grounds = aligned(picture)
    assert things.shape == (1, 3, SIDE, SIDE)
    assert grounds.tolist() == [list(YELLOW)]
    rows = (3, 5)
    distances, found = nearest_drawings(picture, bank, rows)
    expected: list[float] = []
    for row in rows:
        drawing = torch.from_numpy(np.array(bank.pixels(64)[row])).permute(2, 0, 1).float()
        laid = drawing[:3] + grounds[0].view(3, 1, 1) * (1 - drawing[3:] / 255)
        expected.append(float((things[0] - laid).square().mean().sqrt()))
    assert distances[0] == pytest.approx(min(expected), rel=1e-3)
    assert found[0] == rows[int(np.argmin(expected))]


def test_nothing_and_stray_pixels_do_no_harm() -> None:
    empty = torch.full((1, 3, 96, 96), 200, dtype=torch.uint8)
    assert torch.equal(aligned(empty)[0][0, 0].round(), torch.full((SIDE, SIDE), 200.0))
    square = empty.clone()
    square[..., 30:60, 40:70] = 0
    stray = square.clone()
    stray[..., 1, 1] = 0
    torch.testing.assert_close(aligned(square)[0], aligned(stray)[0])


def test_the_report_tells_it_where_a_bank_is_given(bank: Bank, tmp_path: Path) -> None:
    references = References()
    asks = [ask for ask in make_asks(references.domain, 12) if ask.facts.kind == "single"]
    row = bank.rows(split="train")[0]
    pictures = pasted(bank, row, YELLOW, corner=(9, 9)).expand(len(asks), 3, 96, 96)
    painted = judge_all(asks, pictures, references)
    assert set(copied(painted, references, bank)) == {"similarity", "above"}
    painted = replace(painted, sharp=pictures)
    assert set(copied(painted, references)) == {"similarity", "above"}
    assert copied(painted, references, bank)["rgb_below"] == 1
    empty = Bank(tmp_path, tuple(replace(drawing, split="train") for drawing in bank.drawings), bank.sizes)
    with pytest.raises(BadInput, match="holds no drawing out"):
        copied(painted, references, empty)
