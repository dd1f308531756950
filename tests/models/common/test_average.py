"""Checkpoints whose only U-Net is the moving average of its training, with names that lost their dots."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pinxit.models.common.unet_layouts import UNET_LDM, ldm_unet_sizes
from pinxit.weights.identify import identify
from pinxit.weights.layout import SquashedView, View
from tests.easel import Easels, easel_for
from tests.weights.files import header_of, manifest

UNET, AVERAGE = "model.diffusion_model.", "model_ema.diffusion_model"


def squashed(name: str) -> str:
    return AVERAGE + name.removeprefix(UNET).replace(".", "") if name.startswith(UNET) else name


@pytest.mark.parametrize("name", ["sd-v1", "sd-v2-depth", "sdxl-base", "sdxl-refiner"])
def test_sizes_are_read_off_names_without_dots(name: str) -> None:
    shapes = {key.removeprefix(UNET): shape for key, shape in manifest(name).items() if key.startswith(UNET)}
    bare = SquashedView({key.replace(".", ""): shape for key, shape in shapes.items()})
    sizes = ldm_unet_sizes(bare)
    assert sizes == ldm_unet_sizes(View(shapes))
    assert sizes is not None
    entries = UNET_LDM.entries(sizes, bare, "theirs")
    assert {entry.theirs[0] for entry in entries} == set(shapes)


@pytest.mark.parametrize("model", ["sd1", "sd2", "sdxl", "refiner"])
def test_the_average_alone_paints(easels: Easels, tmp_path: Path, model: str) -> None:
    tensors = {squashed(name): tensor for name, tensor in load_file(easels.model(model)).items()}
    extra = {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(7, dtype=torch.int32)}
    save_file({**tensors, **extra}, tmp_path / "average.safetensors")
    easel = easel_for(tmp_path, "average")
    resolved = easel.resolve()
    assert "unet: only the moving average of its training is there" in resolved.match.evidence
    assert "unet: only the moving average of its training is there" in resolved.notes
    assert set(resolved.match.dropped) == set(extra)
    assert "unet_average" not in resolved.match.parts
    assert easel.pixels() == easels(model).pixels()


def test_where_both_are_there_the_weights_count() -> None:
    shapes = manifest("sd-v1")
    both = {**shapes, **{squashed(name): shape for name, shape in shapes.items() if name.startswith(UNET)}}
    from pinxit.models.sd1.layout import LAYOUTS

    match = identify(header_of(both), LAYOUTS)
    assert match.part("unet").place.prefix == UNET
    assert match.part("unet_average").place.prefix == AVERAGE
    assert match.missing == match.unexpected == ()
