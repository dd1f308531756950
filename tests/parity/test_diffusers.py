"""Whole pictures beside diffusers': the same folder, the same noise, the same steps. Needs the extra `parity`.

Run with `pytest -m parity`; the usual run leaves these out.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pinxit.engine import stages
from pinxit.engine.means import Means
from pinxit.engine.residency import Residency
from pinxit.models.common.ldm_family import latent_size
from pinxit.plugins.manager import build_catalog
from pinxit.studio.library import Library
from tests.easel import Easel, Easels

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

LEAST = 40.0
"""Decibels between the two pictures: what differs is rounding alone."""
GUIDANCE, RESCALE = 4.0, 0.2
BUILTIN = Path(str(files("pinxit"))) / "builtin"


def folders() -> list[str]:
    return ["tiny", *(["builtin"] if (BUILTIN / "model_index.json").is_file() else [])]


def easel_of(easels: Easels, folder: str) -> tuple[Easel, Path]:
    if folder == "tiny":
        return easels("pinxit"), easels.model("pinxit")
    library = Library([], builtin=BUILTIN)
    residency = Residency(means=Means(precision="float32"))
    return Easel(library=library, catalog=build_catalog(), residency=residency, model="pinxit"), BUILTIN


def theirs(folder: Path, prompt: str, noise: torch.Tensor, size: tuple[int, int], steps: int) -> np.ndarray[Any, Any]:
    diffusers: Any = importlib.import_module("diffusers")
    # Missing parts are said, since the pipeline expects two text encoders.
    absent = {"text_encoder": None, "tokenizer": None, "image_encoder": None, "feature_extractor": None}
    pipeline: Any = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, torch_dtype=torch.float32, **absent)
    pipeline.set_progress_bar_config(disable=True)
    width, height = size
    options: dict[str, Any] = {
        "width": width,
        "height": height,
        "num_inference_steps": steps,
        "guidance_scale": GUIDANCE,
        "guidance_rescale": RESCALE,
        "latents": noise.clone(),
        "output_type": "np",
    }
    return np.asarray(pipeline(prompt, negative_prompt="", **options).images[0])


@pytest.mark.parametrize("folder", folders())
@pytest.mark.parametrize("prompt", ["a red apple on a blue background", "一只猫，蓝色背景", ""])
def test_a_picture_equals_diffusers(
    easels: Easels, folder: str, prompt: str, record_property: Callable[[str, object], None]
) -> None:
    easel, path = easel_of(easels, folder)
    resolved = easel.resolve(
        prompt=prompt,
        size=None,
        steps=8,
        sampler="ddim",
        schedule="trailing",
        guidance=GUIDANCE,
        guidance_rescale=RESCALE,
        guidance_interval="all",
    )
    residency = Residency(means=Means(precision="float32"))
    start = stages.prepare(resolved, residency, seed=7)
    clean = start.x
    for step in stages.denoise(resolved, residency, stages.encode(resolved, residency), start):
        clean = step.x
    ours = np.asarray(stages.decode(resolved, residency, clean), dtype=np.float64) / 255
    size = (resolved.size.width, resolved.size.height)
    noise = start.noise.start()
    assert tuple(noise.shape[2:]) == latent_size(*size, resolved.facts.latent.downscale)
    other = theirs(path, prompt, noise, size, 8)
    assert other.shape == ours.shape
    psnr = -10 * np.log10(float(np.mean((ours - other) ** 2)))
    record_property("psnr", round(psnr, 2))
    print(f"{folder} {prompt!r}: {psnr:.2f} dB")
    assert psnr >= LEAST
