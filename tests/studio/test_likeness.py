from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.engine.machine import this_machine
from pinxit.engine.means import Means
from pinxit.nn.int8 import why_not
from pinxit.schema.errors import Missing
from pinxit.schema.request import GenerationRequest
from pinxit.studio.library import Library
from pinxit.studio.likeness import Comparison, Likeness, Painted, compare, likeness, recipes
from pinxit.studio.studio import Studio
from tests.easel import Easels

HERE = why_not(torch.bfloat16 if this_machine().fast_bfloat16 else torch.float32) is None


def painted(picture: np.ndarray[tuple[int, ...], np.dtype[np.float64]], latent: float = 1.0) -> Painted:
    image = Image.fromarray((picture * 255).round().astype(np.uint8))
    return Painted(latent=torch.full((1, 4, 2, 2), latent), image=image, seconds=1.0)


def compared(*similarities: float) -> Comparison:
    pictures = tuple(Likeness(prompt="a cat", seed=1, psnr=math.inf, ssim=ssim, latent=0.01) for ssim in similarities)
    return Comparison(pictures=pictures, seconds=(1.0, 2.0))


def test_two_results_are_compared_as_the_formulas_say() -> None:
    request = GenerationRequest(prompt="a cat", seed=3)
    picture = np.random.default_rng(0).random((32, 24, 3))
    same = likeness(request, painted(picture), painted(picture))
    assert (same.prompt, same.seed, same.psnr, same.latent) == ("a cat", 3, math.inf, 0)
    assert same.ssim == pytest.approx(1, abs=1e-5)
    grey = np.full((32, 24, 3), 0.4)
    found = likeness(request, painted(grey, 1.1), painted(grey + 0.2, 1.0))
    assert found.psnr == pytest.approx(-20 * math.log10(0.2), abs=0.05)
    assert found.latent == pytest.approx(0.1, abs=1e-5)
    assert likeness(request, painted(picture), painted(1 - picture)).ssim < 0


@pytest.mark.parametrize(("worst", "verdict"), [(0.99, "same"), (0.95, "close"), (0.5, "differs")])
def test_the_verdict_goes_by_the_worst_picture(worst: float, verdict: str) -> None:
    found = compared(1.0, worst)
    assert found.verdict == verdict
    told = found.to_json()
    assert (told["verdict"], told["worst"], told["seconds"]) == (verdict, worst, [1.0, 2.0])
    assert '"psnr": None' in str(told).replace("'", '"')


def test_the_same_way_gives_the_same_pictures_side_by_side(easels: Easels, tmp_path: Path) -> None:
    library = Library([easels.model("sd1").parent], builtin=tmp_path / "absent")
    one, other = (Studio(library=library, means=Means(precision="float32")) for _ in range(2))
    found = compare(one, other, recipes(2, "sd1", 2), folder=tmp_path / "pairs")
    assert [(one.seed, one.psnr, one.latent) for one in found.pictures] == [(1, math.inf, 0), (2, math.inf, 0)]
    with Image.open(tmp_path / "pairs" / "2.png") as pair:
        left, right = np.split(np.asarray(pair), 2, axis=1)
    assert np.array_equal(left, right)


def test_the_built_in_model_looks_the_same_in_int8() -> None:
    one, other = Studio(means=Means(precision="int8")), Studio()
    if not HERE:
        with pytest.raises(Missing, match="Computing in 8 bits"):
            compare(one, other, recipes(1, None, 4))
        return
    (picture,) = compare(one, other, recipes(1, None, 4)).pictures
    assert picture.latent < 0.06
    assert picture.psnr > 34
    assert picture.ssim > 0.97
