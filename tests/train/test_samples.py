from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pinxit.schema.errors import BadInput
from pinxit.train.data.bank import Bank
from pinxit.train.loop import Limits
from pinxit.train.recipe import Optimisation
from pinxit.train.samples import COLUMNS, tiled
from pinxit.train.workshop import Job, run
from tests.train.shapes import RECIPES, trained


@pytest.fixture(scope="module")
def start(drawings: Bank, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("samples"), drawings, "inner", "outer", "text", "unet")


def _run(folder: Path, start: Path, drawings: Bank, name: str, samples: int | None) -> Path:
    """A run of four steps from a copy of the workshop `start`."""
    for file in ("vae", "text", "unet"):
        (folder / f"{file}.safetensors").write_bytes((start / f"{file}.safetensors").read_bytes())
    (folder / "shape.json").write_bytes((start / "shape.json").read_bytes())
    (folder / "tokenizer").mkdir()
    for file in (start / "tokenizer").iterdir():
        (folder / "tokenizer" / file.name).write_bytes(file.read_bytes())
    recipe = RECIPES[name].model_copy(
        update={"dropout": 0.1, "optimisation": Optimisation(steps=4, batch=4, learning_rate=1e-3, warmup=1)}
    )
    limits = Limits(log_every=1, samples_every=samples)
    assert run(Job(name=name, recipe=recipe, bank=drawings.folder, workshop=folder, limits=limits), lambda _: None)
    return folder


@pytest.mark.parametrize("name", ["unet", "refiner"])
def test_samples_change_no_byte_of_a_run(name: str, start: Path, drawings: Bank, tmp_path: Path) -> None:
    folders: dict[int | None, Path] = {}
    for samples in (None, 2):
        folder = tmp_path / str(samples)
        folder.mkdir()
        folders[samples] = _run(folder, start, drawings, name, samples)
    without, given = (load_file(next((folder / "runs" / name).glob("state-00000004.*"))) for folder in folders.values())
    assert without.keys() == given.keys()
    assert all(torch.equal(value, given[key]) for key, value in without.items())
    assert not (folders[None] / "runs" / name / "samples").exists()
    grids = sorted((folders[2] / "runs" / name / "samples").iterdir())
    assert [grid.name for grid in grids] == ["step_2.png", "step_4.png"]
    sheets = [np.asarray(Image.open(grid)) for grid in grids]
    assert sheets[0].shape == (4 * 64, COLUMNS * 64, 3)
    assert not np.array_equal(sheets[0], sheets[1])


def test_a_recipe_without_samples_says_so(drawings: Bank, tmp_path: Path) -> None:
    limits = Limits(samples_every=1)
    job = Job(name="inner", recipe=RECIPES["inner"], bank=drawings.folder, workshop=tmp_path, limits=limits)
    with pytest.raises(BadInput, match="kind vae paints no samples") as caught:
        run(job, lambda _: None)
    assert "--samples" in caught.value.hint


def test_tiles_lie_in_rows() -> None:
    pictures = torch.stack([torch.full((3, 2, 3), value) for value in (-1.0, 0, 0, 0, 1.0)])
    sheet = np.asarray(tiled(pictures))
    assert sheet.shape == (4, COLUMNS * 3, 3)
    assert sheet[0, 0].tolist() == [0, 0, 0]
    assert sheet[2, 0].tolist() == [255, 255, 255]
    assert sheet[2, 3].tolist() == [0, 0, 0]
