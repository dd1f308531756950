"""Whole pictures of SD 3 and 3.5 at reduced depth beside diffusers': one folder, one noise, the same steps.

Run with `pytest -m parity`; the usual run leaves these out.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pinxit.engine import stages
from pinxit.engine.means import Means
from pinxit.engine.residency import Residency
from pinxit.models.common.configs import ClipTextConfig, MmditConfig, T5Config
from pinxit.models.sd3.config import Sd3Config
from pinxit.models.sd3.layout import SINGLE_FILE
from pinxit.prompts.tokenizer import ClipTokenizer
from pinxit.studio.convert.model import convert
from pinxit.weights.save import save_model
from tests.easel import easel_for
from tests.tiny import make_sd3, sd3_config, sd3_states

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

LEAST = 60.0
"""Decibels between the two pictures: what differs is rounding alone."""
GUIDANCE, STEPS, SIZE = 4.5, 6, (128, 96)
WIDE = replace(
    sd3_config(variant="3.5-medium"),
    transformer=MmditConfig(depth=2, positions=64, norm=True, dual=(0,)),
    text_encoder=ClipTextConfig(layers=2, projection=768),
    text_encoder_2=ClipTextConfig(
        width=1280, intermediate=5120, layers=2, heads=20, activation="gelu", projection=1280, pad_id=0
    ),
    text_encoder_3=T5Config(vocab_size=96, intermediate=1024, layers=2, heads=16, inner=1024),
)
"""The published widths of transformer and text, at two layers each; T5 is thin inside."""
CONFIGS: Mapping[str, Sd3Config] = {
    "tiny 3-medium": sd3_config(variant="3-medium"),
    "tiny 3.5-medium": sd3_config(variant="3.5-medium"),
    "tiny 3.5-large": sd3_config(variant="3.5-large"),
    "wide 3.5-medium": WIDE,
}


def with_vocabulary(folder: Path) -> Path:
    """The folder with both CLIP vocabularies written out, which other programs need."""
    vocab, merges = ClipTokenizer.openai().vocabulary.texts()
    for name in ("tokenizer", "tokenizer_2"):
        (folder / name / "vocab.json").write_text(vocab, "utf-8")
        (folder / name / "merges.txt").write_text(merges, "utf-8")
    return folder


def their_pipeline(folder: Path, **absent: None) -> Any:
    """The folder in their hands; parts that it does not have must be said to be None."""
    diffusers: Any = importlib.import_module("diffusers")
    pipeline = diffusers.StableDiffusion3Pipeline.from_pretrained(folder, torch_dtype=torch.float32, **absent)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def theirs(pipeline: Any, prompt: str, negative: str, noise: torch.Tensor) -> np.ndarray[Any, Any]:
    options: dict[str, Any] = {
        "width": SIZE[0],
        "height": SIZE[1],
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE,
        "latents": noise.clone(),
        "max_sequence_length": 77,
        "output_type": "np",
    }
    return np.asarray(pipeline(prompt, negative_prompt=negative, **options).images[0])


def ours(folder: Path, name: str, prompt: str, negative: str) -> tuple[np.ndarray[Any, Any], torch.Tensor]:
    """Our picture in 0..1, and the noise it began with."""
    resolved = easel_for(folder, name).resolve(
        prompt=prompt,
        negative=negative,
        size=f"{SIZE[0]}x{SIZE[1]}",
        steps=STEPS,
        sampler="euler",
        schedule="normal",
        guidance=GUIDANCE,
    )
    residency = Residency(means=Means(precision="float32"))
    start = stages.prepare(resolved, residency, seed=7)
    clean = start.x
    for step in stages.denoise(resolved, residency, stages.encode(resolved, residency), start):
        clean = step.x
    return np.asarray(stages.decode(resolved, residency, clean), dtype=np.float64) / 255, start.noise.start()


def decibels(mine: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Ours is rounded to 8 bits; theirs is rounded likewise, so that equal pictures are equal."""
    assert other.shape == mine.shape
    assert mine.std() > 0.02
    return -10 * float(np.log10(float(np.mean((mine - np.round(other * 255) / 255) ** 2)) + 1e-12))


@pytest.mark.parametrize(
    ("name", "prompt", "negative"),
    [*((name, "two dogs in the snow, 3d style", "") for name in CONFIGS), ("tiny 3-medium", "", "a red apple")],
)
def test_pictures_are_those_of_diffusers(
    tmp_path: Path, name: str, prompt: str, negative: str, record_property: Callable[[str, object], None]
) -> None:
    path = with_vocabulary(make_sd3(tmp_path / "sd3", CONFIGS[name]))
    mine, noise = ours(tmp_path, "sd3", prompt, negative)
    psnr = decibels(mine, theirs(their_pipeline(path), prompt, negative, noise))
    record_property("psnr", round(psnr, 2))
    print(f"{name} {prompt!r}: {psnr:.2f} dB")
    assert psnr >= LEAST


def test_what_either_writes_the_other_reads(tmp_path: Path) -> None:
    """A single file without T5, converted by us to a folder, painted and saved by diffusers, and read by us again."""
    states = sd3_states(sd3_config(variant="3.5-medium"))
    del states["text_encoder_3"], states["text_encoder"]["text_projection.weight"]
    save_model(states, SINGLE_FILE, tmp_path / "single.safetensors")
    convert(tmp_path / "single.safetensors", tmp_path / "ours", easel_for(tmp_path, "single").catalog)
    pipeline = their_pipeline(tmp_path / "ours", text_encoder_3=None, tokenizer_3=None)
    prompt = "two dogs in the snow"
    mine, noise = ours(tmp_path, "single", prompt, "")
    assert decibels(mine, theirs(pipeline, prompt, "", noise)) >= LEAST
    pipeline.save_pretrained(tmp_path / "theirs")
    assert np.array_equal(ours(tmp_path, "theirs", prompt, "")[0], mine)
