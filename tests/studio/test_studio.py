"""One object to paint with, and recipes that give the same pixels in another process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pinxit.schema.errors import Missing
from pinxit.schema.events import ImageReady
from pinxit.schema.picture import read_record
from pinxit.schema.request import GenerationRequest
from pinxit.studio import Studio
from pinxit.studio.library import Library
from pinxit.studio.verify import Verdict, verify

REQUEST = GenerationRequest.model_validate({"prompt": "a cat, 一只猫", "steps": 3, "count": 2, "seed": 2**64 - 1})

REDO = """
import sys
from pathlib import Path
import torch
from pinxit.schema.events import ImageReady
from pinxit.schema.picture import read_record
from pinxit.studio import Studio
from pinxit.studio.library import Library
torch.set_num_threads(int(sys.argv[2]))
record = read_record(Path(sys.argv[1]))
studio = Studio(library=Library([], builtin=Path(sys.argv[3])))
for event in studio.paint(record.request):
    if isinstance(event, ImageReady):
        print(event.pixels_sha256, event.record == record)
"""


@pytest.fixture
def studio(tiny_models: Path) -> Studio:
    return Studio(library=Library([tiny_models], builtin=tiny_models / "pinxit"))


def painted(studio: Studio, request: GenerationRequest, output: Path | None = None) -> list[ImageReady]:
    return [event for event in studio.paint(request, output=output) if isinstance(event, ImageReady)]


def test_a_recipe_gives_the_same_pixels_in_another_process(studio: Studio, tiny_models: Path, tmp_path: Path) -> None:
    ready = painted(studio, REQUEST.replace(model="pinxit"), tmp_path)[1]
    assert ready.path is not None
    assert ready.seed == 0, "seeds go round"
    words = [sys.executable, "-c", REDO, str(ready.path), str(torch.get_num_threads()), str(tiny_models / "pinxit")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout == f"{ready.pixels_sha256} True\n", done.stderr


def test_a_picture_is_verified(studio: Studio, tmp_path: Path) -> None:
    ready = painted(studio, REQUEST.replace(count=1, model="sd1", size="64x64"), tmp_path)[0]
    assert ready.path is not None
    data = ready.path.read_bytes()
    verdict = verify(studio, read_record(data), data, {}, watch=lambda event: None, stop=lambda: False)
    assert isinstance(verdict, Verdict)
    assert verdict.equal
    assert verdict.changes == ()


def test_a_plan_loads_nothing(studio: Studio) -> None:
    made = studio.plan(REQUEST)
    assert made.resolved.entry.name == "pinxit"
    assert str(made.resolved.size) == "64x64"


def test_models_are_listed_and_added(studio: Studio, tiny_models: Path, tmp_path: Path) -> None:
    assert studio.models()[0].name == "pinxit"
    path = tmp_path / "other.safetensors"
    path.symlink_to(tiny_models / "sd1.safetensors")
    assert studio.add_model(path) == "sd1", "a link is the file that it leads to"
    path.unlink()
    path.write_bytes((tiny_models / "sd1.safetensors").read_bytes())
    assert studio.add_model(path) == "other"
    assert studio.plan(REQUEST.replace(model="other")).resolved.family.name == "sd1"


def test_without_any_model_the_way_on_is_told(tmp_path: Path) -> None:
    studio = Studio(library=Library([tmp_path], builtin=tmp_path / "absent"))
    with pytest.raises(Missing, match="The built-in model is not in this installation"):
        list(studio.paint(REQUEST))
