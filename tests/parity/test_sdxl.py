"""Whole pictures of SDXL, of its refiner, and of the hand-over between them, beside diffusers'.

The folders are converted by us from single files. Run with `pytest -m parity`; the usual run leaves these out.
"""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pinxit.engine import stages
from pinxit.engine.means import Means
from pinxit.engine.residency import Residency
from pinxit.models.common.clip import ClipText
from pinxit.models.common.configs import ClipTextConfig
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.vae import AutoencoderKL
from pinxit.models.sdxl.layout import BASE_FILE, REFINER_FILE
from pinxit.plugins.manager import build_catalog
from pinxit.prompts.tokenizer import ClipTokenizer
from pinxit.studio.convert.model import Wish, convert
from pinxit.weights.save import save_model
from tests.easel import easel_for
from tests.tiny import VaeConfig, make_refiner, make_sdxl, sdxl_unet, seeded

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

LEAST = 60.0
"""Decibels between the two pictures: what differs is rounding alone."""
GUIDANCE, STEPS, SIZE = 5.0, 10, (96, 64)
SWITCH = 0.8
FROM_NOISE = 1e-4
"""Where a run of their refiner begins that takes every step."""
CATALOG = build_catalog()
Picture = np.ndarray[Any, Any]


def wide(path: Path, *, refiner: bool) -> Path:
    """A random single file with the published widths of text and added vector, and a thin, shallow U-Net."""
    text = ClipTextConfig(layers=3)
    pooling = ClipTextConfig(
        width=1280, intermediate=5120, layers=3, heads=20, activation="gelu", projection=1280, pad_id=0
    )
    levels, context, added = (4, 1280, 2560) if refiner else (3, 2048, 2816)
    unet = replace(
        sdxl_unet(levels=levels, context=context, added=added),
        model_channels=128,
        transformer_depth_output=(0, (1, 2), 1) if levels == 3 else (0, 1, 1, 0),
        head_width=64,
    )
    vae = VaeConfig(channels=32, channel_mult=(1, 1, 1, 1), num_res_blocks=1)
    networks = {
        "unet": UNet(unet),
        "vae": AutoencoderKL(vae),
        "text_encoder_2": ClipText(pooling),
        **({} if refiner else {"text_encoder": ClipText(text)}),
    }
    states = {name: seeded(network, seed).state_dict() for seed, (name, network) in enumerate(networks.items())}
    save_model(states, REFINER_FILE if refiner else BASE_FILE, path, dtype=torch.float16)
    return path


def folders(root: Path, size: str) -> Path:
    """A folder with `base` and `last`, its refiner, as diffusers folders in float32."""
    for name, refiner in (("base", False), ("last", True)):
        source = root / f"{name}-source.safetensors"
        if size == "wide":
            wide(source, refiner=refiner)
        else:
            (make_refiner if refiner else make_sdxl)(source)
        target = root / "models" / name
        target.parent.mkdir(exist_ok=True)
        convert(source, target, CATALOG, Wish(layout="diffusers", dtype="F32"))
        source.unlink()
        vocab, merges = ClipTokenizer.openai().vocabulary.texts()
        for tokenizer in target.glob("tokenizer*"):
            (tokenizer / "vocab.json").write_text(vocab, "utf-8")
            (tokenizer / "merges.txt").write_text(merges, "utf-8")
        path = target / "scheduler" / "scheduler_config.json"
        told = {"timestep_spacing": "trailing", "set_alpha_to_one": True, "steps_offset": 0}
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | told), "utf-8")
    return root / "models"


def ours(root: Path, model: str, **fields: Any) -> tuple[Picture, Tensor]:
    """Our picture in 0..1, and the noise it began with."""
    resolved = easel_for(root, model).resolve(
        size=f"{SIZE[0]}x{SIZE[1]}",
        steps=STEPS,
        sampler="ddim",
        schedule="trailing",
        guidance=GUIDANCE,
        start_noise="root",
        empty_negative="model",
        **fields,
    )
    residency = Residency(means=Means(precision="float32"))
    start = stages.prepare(resolved, residency, seed=7)
    x = start.x
    for step in stages.denoise(resolved, residency, stages.encode(resolved, residency), start):
        x = step.x
    return np.asarray(stages.decode(resolved, residency, x), dtype=np.float64) / 255, start.noise.start()


def pipeline(root: Path, model: str) -> Any:
    """The folder in their hands; the refiner's misses an encoder, which must be said."""
    diffusers: Any = importlib.import_module("diffusers")
    absent = {"text_encoder": None, "tokenizer": None} if model == "last" else {}
    name = "StableDiffusionXLImg2ImgPipeline" if model == "last" else "StableDiffusionXLPipeline"
    made: Any = getattr(diffusers, name).from_pretrained(
        root / model, torch_dtype=torch.float32, add_watermarker=False, **absent
    )
    made.set_progress_bar_config(disable=True)
    return made


def theirs(root: Path, model: str, noise: Tensor, prompt: str, negative: str | None, **options: Any) -> Any:
    usual: dict[str, Any] = {
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE,
        "negative_prompt": negative,
        "output_type": "np",
    }
    if model == "last":
        usual |= {"image": noise, "denoising_start": FROM_NOISE, "original_size": SIZE[::-1], "target_size": SIZE[::-1]}
    else:
        usual |= {"latents": noise.clone(), "width": SIZE[0], "height": SIZE[1]}
    return pipeline(root, model)(prompt, **(usual | options)).images


def agree(mine: Picture, other: Picture, name: str, record: Callable[[str, object], None]) -> None:
    """Ours is rounded to 8 bits; theirs is rounded likewise, so that equal pictures are equal."""
    assert other.shape == mine.shape
    assert mine.std() > 0.02
    psnr = -10 * float(np.log10(float(np.mean((mine - np.round(other * 255) / 255) ** 2)) + 1e-12))
    record("psnr", round(psnr, 2))
    print(f"{name}: {psnr:.2f} dB")
    assert psnr >= LEAST


@pytest.mark.parametrize("size", ["tiny", "wide"])
@pytest.mark.parametrize(("prompt", "negative"), [("two dogs in the snow", "fog"), ("a red apple", "")])
@pytest.mark.parametrize("model", ["base", "last"])
def test_a_picture_equals_diffusers(
    tmp_path: Path, size: str, model: str, prompt: str, negative: str, record_property: Callable[[str, object], None]
) -> None:
    root = folders(tmp_path, size)
    mine, noise = ours(root, model, prompt=prompt, negative=negative)
    other = theirs(root, model, noise, prompt, negative or None)[0]
    agree(mine, other, f"{size} {model} {prompt!r}", record_property)


def test_a_zero_terminal_velocity_model_equals_diffusers(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    root = folders(tmp_path, "tiny")
    path = root / "base" / "scheduler" / "scheduler_config.json"
    told = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | told), "utf-8")
    mine, noise = ours(root, "base", prompt="two dogs", negative="fog")
    agree(mine, theirs(root, "base", noise, "two dogs", "fog")[0], "zero terminal velocity", record_property)


@pytest.mark.parametrize("size", ["tiny", "wide"])
def test_the_hand_over_equals_diffusers(
    tmp_path: Path, size: str, record_property: Callable[[str, object], None]
) -> None:
    root = folders(tmp_path, size)
    shutil.copytree(root / "base" / "vae", root / "last" / "vae", dirs_exist_ok=True)
    passes = ({"kind": "refine", "model": "last", "switch": SWITCH},)
    mine, noise = ours(root, "base", prompt="two dogs", negative="fog", passes=passes)
    half = theirs(root, "base", noise, "two dogs", "fog", denoising_end=SWITCH, output_type="latent")
    other = theirs(root, "last", half, "two dogs", "fog", denoising_start=SWITCH)[0]
    agree(mine, other, f"{size} hand-over", record_property)


def test_other_sizes_and_scores_equal_diffusers(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    root = folders(tmp_path, "tiny")
    told = {"original_size": "200x300", "crop_top": 10, "crop_left": 20, "target_size": "400x100"}
    sizes = {"original_size": (300, 200), "crops_coords_top_left": (10, 20), "target_size": (100, 400)}
    mine, noise = ours(root, "base", prompt="two dogs", negative="fog", **told)
    agree(mine, theirs(root, "base", noise, "two dogs", "fog", **sizes)[0], "sizes", record_property)
    mine, noise = ours(root, "last", prompt="a", negative="b", aesthetic_score=8.0, negative_aesthetic_score=1.0)
    scores = {"aesthetic_score": 8.0, "negative_aesthetic_score": 1.0}
    agree(mine, theirs(root, "last", noise, "a", "b", **scores)[0], "scores", record_property)
