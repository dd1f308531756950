"""SD 1 and SD 2, noise and velocity, from text and from pictures, beside diffusers'; and the networks of their kin.

Folders are converted by us from single files, so they show that other programs read what we write. Run with
`pytest -m parity`; the usual run leaves these out.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pinxit.engine import stages
from pinxit.engine.means import Means
from pinxit.engine.residency import Residency
from pinxit.models.common.clip import ClipText
from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.vae import AutoencoderKL
from pinxit.models.sd1.layout import SINGLE_FILE as SD1_FILE
from pinxit.models.sd2.layout import SINGLE_FILE as SD2_FILE
from pinxit.plugins.manager import build_catalog
from pinxit.prompts.tokenizer import ClipTokenizer
from pinxit.studio.convert.model import Wish, convert
from pinxit.weights.folder import read_model
from pinxit.weights.identify import identify
from pinxit.weights.load import load_into
from pinxit.weights.save import save_model
from tests.easel import Easel, Easels, easel_for
from tests.tiny import seeded

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

LEAST = 60.0
"""Decibels between the two pictures: what differs is rounding alone."""
GUIDANCE, STEPS, SIZE = 5.0, 8, (96, 64)
NEAR = 2e-5
"""The largest difference of two networks' outputs, which are around 1 in size."""
CATALOG = build_catalog()


def published(path: Path, model: str, *, full: bool) -> Path:
    """A random single file with the published widths of U-Net and text; with fewer levels and layers unless `full`."""
    first = model == "sd1"
    levels = 4 if full else 3
    blocks, layers = (2, 12 if first else 24) if full else (1, 2)
    depth = (1, 1, 1, 0) if full else (1, 1, 1)
    unet = UNetConfig(
        in_channels=4,
        out_channels=4,
        model_channels=320,
        channel_mult=(1, 2, 4, 4)[:levels],
        num_res_blocks=(blocks,) * levels,
        transformer_depth=depth,
        transformer_depth_middle=1,
        transformer_depth_output=depth,
        context_dim=768 if first else 1024,
        num_heads=8 if first else None,
        head_width=None if first else 64,
        linear_projections=not first,
    )
    text = (
        ClipTextConfig(layers=layers)
        if first
        else ClipTextConfig(
            width=1024, intermediate=4096, layers=layers, heads=16, activation="gelu", projection=1024, pad_id=0
        )
    )
    vae = VaeConfig() if full else VaeConfig(channels=64, channel_mult=(1, 1, 2, 2), num_res_blocks=1)
    networks = {"unet": UNet(unet), "vae": AutoencoderKL(vae), "text_encoder": ClipText(text)}
    states = {name: seeded(network, seed).state_dict() for seed, (name, network) in enumerate(networks.items())}
    save_model(states, SD1_FILE if first else SD2_FILE, path, dtype=torch.float16)
    return path


def folder_of(easels: Easels, model: str, target: Path) -> Path:
    """A tiny, wide or full model as a diffusers folder in float32, with the vocabulary that other programs need."""
    size, _, name = model.rpartition(" ")
    source = published(target.with_suffix(".safetensors"), name, full=size == "full") if size else easels.model(name)
    convert(source, target, CATALOG, Wish(layout="diffusers", dtype="F32"))
    vocabulary = ClipTokenizer.openai().vocabulary
    (target / "tokenizer" / "vocab.json").write_text(json.dumps(dict(vocabulary.ids)), "utf-8")
    merges = "\n".join(f"{left} {right}" for left, right in vocabulary.ranks)
    (target / "tokenizer" / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", "utf-8")
    if name != model:
        source.unlink()
    return target


def says(folder: Path, prediction: str) -> None:
    """Let the folder's schedule name another prediction type, and give its steps the spacing that we compare at."""
    path = folder / "scheduler" / "scheduler_config.json"
    found = json.loads(path.read_text("utf-8"))
    found |= {"prediction_type": prediction, "timestep_spacing": "trailing", "set_alpha_to_one": True}
    path.write_text(json.dumps(found | {"steps_offset": 0}), "utf-8")


def ours(easel: Easel, latent: Tensor | None, noise: Tensor, **fields: object) -> Tensor:
    """Our picture [1,3,H,W] in 0..1, from `noise` or from `noise` over `latent`."""
    given = {"size": f"{SIZE[0]}x{SIZE[1]}", "sampler": "ddim", "schedule": "trailing", "guidance": GUIDANCE}
    resolved = easel.resolve(steps=STEPS, **given, **fields)
    residency = Residency(means=Means(precision="float32"))
    start = stages.prepare(resolved, residency, seed=7)
    process, sigmas = resolved.facts.process, resolved.sigmas
    x = noise * (1 + sigmas[0] ** 2) ** 0.5
    if latent is not None:
        sigmas = sigmas[len(sigmas) - 1 - STEPS // 2 :]
        resolved, x = replace(resolved, sigmas=sigmas), process.add_noise(latent, noise, sigmas[0])
    start = replace(start, x=x, sigmas=sigmas)
    for step in stages.denoise(resolved, residency, stages.encode(resolved, residency), start):
        x = step.x
    vae = cast(AutoencoderKL, residency.network(resolved, "vae"))
    with torch.inference_mode():
        return (vae.decode(x / resolved.facts.latent.scale) / 2 + 0.5).clamp(0, 1)


def theirs(folder: Path, latent: Tensor | None, noise: Tensor, patch: pytest.MonkeyPatch, **fields: str) -> Tensor:
    diffusers: Any = importlib.import_module("diffusers")
    name = "StableDiffusionPipeline" if latent is None else "StableDiffusionImg2ImgPipeline"
    pipeline: Any = getattr(diffusers, name).from_pretrained(
        folder, torch_dtype=torch.float32, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    options: dict[str, Any] = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "output_type": "np"}
    if latent is None:
        options |= {"width": SIZE[0], "height": SIZE[1], "latents": noise.clone()}
    else:
        patch.setattr(
            importlib.import_module(type(pipeline).__module__), "randn_tensor", lambda *_, **__: noise.clone()
        )
        options |= {"image": latent.clone(), "strength": 0.5}
    picture = pipeline(fields["prompt"], negative_prompt=fields["negative"], **options).images[0]
    return torch.from_numpy(np.asarray(picture)).permute(2, 0, 1)[None]


@pytest.mark.parametrize("picture", [False, True], ids=["text", "picture"])
@pytest.mark.parametrize(
    ("model", "prediction"),
    [
        ("sd1", "epsilon"),
        ("sd2", "epsilon"),
        ("sd2", "v_prediction"),
        ("wide sd1", "epsilon"),
        ("wide sd2", "v_prediction"),
        ("full sd1", "epsilon"),
        ("full sd2", "v_prediction"),
    ],
)
def test_a_picture_equals_diffusers(
    easels: Easels,
    model: str,
    prediction: str,
    picture: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    folder = folder_of(easels, model, tmp_path / "model")
    says(folder, prediction)
    generator = torch.Generator().manual_seed(5)
    shape = (1, 4, SIZE[1] // 8, SIZE[0] // 8)
    noise, latent = torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)
    fields = {"prompt": "a red apple on a blue background", "negative": "two dogs"}
    given = latent if picture else None
    left = ours(easel_for(tmp_path, "model"), given, noise, **fields)
    right = theirs(folder, given, noise, monkeypatch, **fields)
    assert left.shape == right.shape
    psnr = -10 * float(torch.log10(((left - right) ** 2).mean()))
    record_property("psnr", round(psnr, 2))
    print(f"{model} {prediction} {'picture' if picture else 'text'}: {psnr:.2f} dB")
    assert psnr >= LEAST


def loaded(folder: Path, component: str) -> nn.Module:
    """Our network of one part of a folder."""
    match = identify(read_model(folder), [layout for family in CATALOG.families for layout in family.layouts])
    family = CATALOG.families.get(match.family)
    with torch.device("meta"):
        network = family.build(family.config_from(match), component)
    load_into(network, match, component)
    return network.eval()


def near(left: Tensor, right: Tensor) -> None:
    assert left.shape == right.shape
    assert float((left - right).abs().max()) <= NEAR * max(1.0, float(right.abs().max()))


@pytest.mark.parametrize("model", ["upscale4", "unclip", "upscale2"])
def test_a_network_equals_diffusers(easels: Easels, model: str, tmp_path: Path) -> None:
    folder = folder_of(easels, model, tmp_path / "model")
    diffusers: Any = importlib.import_module("diffusers")
    other: Any = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder="unet").eval()
    unet: Any = loaded(folder, "unet")
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, unet.config.in_channels, 16, 8, generator=generator)
    context, t = torch.randn(2, 77, 64, generator=generator), torch.tensor([500.0, 3.0])
    if model == "upscale2":
        t, told = torch.tensor([0.4, -0.3]), torch.randn(2, unet.config.condition, generator=generator)
        named: dict[str, Tensor] = {"timestep_cond": told}
    else:
        vector = torch.randn(2, 64, generator=generator)
        told = torch.tensor([20, 350]) if model == "upscale4" else vector
        named = {"class_labels": told}
    with torch.no_grad():
        near(unet(x, t, context, told), other(x, t, encoder_hidden_states=context, **named).sample)
    vae: Any = diffusers.AutoencoderKL.from_pretrained(folder, subfolder="vae").eval()
    z = torch.randn(1, 4, 6, 8, generator=generator)
    with torch.no_grad():
        near(cast(AutoencoderKL, loaded(folder, "vae")).decode(z), vae.decode(z).sample)


def test_what_unclip_is_told_equals_diffusers(easels: Easels, tmp_path: Path) -> None:
    folder = folder_of(easels, "unclip", tmp_path / "model")
    diffusers: Any = importlib.import_module("diffusers")
    transformers: Any = importlib.import_module("transformers")
    module: Any = importlib.import_module("diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer")
    tower: Any = transformers.CLIPVisionModelWithProjection.from_pretrained(folder, subfolder="image_encoder").eval()
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    ours: Any = loaded(folder, "image_encoder")
    absent = dict.fromkeys(
        ("feature_extractor", "image_encoder", "tokenizer", "text_encoder", "unet", "scheduler", "vae")
    )
    pipeline: Any = diffusers.StableUnCLIPImg2ImgPipeline(
        image_normalizer=module.StableUnCLIPImageNormalizer.from_pretrained(folder, subfolder="image_normalizer"),
        image_noising_scheduler=diffusers.DDPMScheduler.from_pretrained(folder, subfolder="image_noising_scheduler"),
        **absent,
    )
    with torch.no_grad():
        embedded = ours(pixels).embedded
        near(embedded, tower(pixels).image_embeds)
        noise = torch.randn(embedded.shape, generator=torch.Generator().manual_seed(6))
        other = pipeline.noise_image_embeddings(embedded, noise_level=123, noise=noise)
        normalizer: Any = loaded(folder, "image_normalizer")
        near(normalizer.vector(embedded, 123, noise), other)
