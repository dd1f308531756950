"""Models of few steps: recognised by what the file says, run as they were made to, and said aloud."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pinxit.models.common.ldm_unet import UNet, guidance_embedding
from pinxit.models.sdxl.config import config_from
from pinxit.models.sdxl.layout import LAYOUTS
from pinxit.weights.folder import read_model
from pinxit.weights.identify import identify
from tests.easel import CountedCalls, Easel, Easels, easel_for
from tests.reference import golden_json
from tests.tiny import tiny_unet
from tests.weights.files import header_of, manifest, sparse_file


@pytest.fixture
def named(easels: Easels, tmp_path: Path) -> Callable[..., Easel]:
    """An easel of a tiny model under another name, with metadata."""

    def make(model: str, name: str, metadata: Mapping[str, str] | None = None) -> Easel:
        save_file(load_file(easels.model(model)), tmp_path / f"{name}.safetensors", metadata=dict(metadata or {}))
        return easel_for(tmp_path, name)

    return make


@pytest.mark.parametrize(
    ("model", "name", "expected"),
    [
        ("sdxl", "sd_xl_turbo_1.0", (4, "euler_ancestral", "turbo", 1.0, 512)),
        ("sdxl", "dreamshaperXL_v21TurboDPMSDE", None),
        ("sdxl", "juggernautXL-lightning-8step", (8, "euler", "sgm_uniform", 1.0, 1024)),
        ("sdxl", "Hyper-SDXL-4steps", (4, "ddim", "sgm_uniform", 1.0, 1024)),
        ("sd1", "photon_lcm", (4, "lcm", "sgm_uniform", 1.0, 512)),
        ("sd2", "sd_turbo", (4, "euler_ancestral", "turbo", 1.0, 512)),
        ("sdxl", "dmd2_sdxl_4step", (4, "lcm", "sgm_uniform", 1.0, 1024)),
        ("sdxl", "lightning_100steps", (4, "euler", "sgm_uniform", 1.0, 1024)),
        ("sdxl", "hypernatural", None),
    ],
)
def test_names(named: Callable[..., Easel], model: str, name: str, expected: tuple[Any, ...] | None) -> None:
    easel = named(model, name)
    resolved = easel.resolve(size=None, steps=None)
    request = resolved.request
    if expected is None:
        assert resolved.facts.notes == ()
        return
    assert request.size is not None
    assert (request.steps, request.sampler, request.schedule, request.guidance, request.size.width) == expected
    assert any("only its name says" in note for note in resolved.notes)
    asked = easel.resolve(steps=9, sampler="dpmpp_2m", guidance=5.0)
    assert (asked.request.steps, asked.sampler.name, asked.schedule.name) == (9, "dpmpp_2m", "karras")


def test_what_the_metadata_says(named: Callable[..., Easel]) -> None:
    resolved = named("sdxl", "model", {"modelspec.title": "Sharp Lightning 2-step"}).resolve(steps=None)
    assert resolved.request.steps == 2
    assert resolved.facts.notes == (
        "Lightning model, 2 steps, without guidance: the metadata's modelspec.title says 'Lightning'",
    )


def test_what_a_folders_scheduler_says() -> None:

    shapes = {f"unet/{name}": shape for name, shape in folder_unet().items()}
    for scheduler, method in (("LCMScheduler", "lcm"), ("TCDScheduler", "hyper"), ("EulerDiscreteScheduler", None)):
        configs = {"scheduler/scheduler_config.json": {"_class_name": scheduler}}
        found = config_from(identify(header_of(shapes, configs=configs), LAYOUTS)).distilled
        assert (found.method if found else None) == method


def folder_unet() -> dict[str, tuple[int, ...]]:

    tensors = golden_json("manifests/diffusers/sdxl-base.json")["components"]["unet"]["tensors"]
    return {name: tuple(shape) for name, shape in tensors.items()}


def test_a_network_that_is_told_the_guidance(tmp_path: Path) -> None:
    shapes = {**manifest("sdxl-base"), "model.diffusion_model.time_embed.cond_proj.weight": (320, 256)}
    match = identify(read_model(sparse_file(tmp_path / "model.safetensors", shapes)), LAYOUTS)
    config = config_from(match)
    assert match.unexpected == ()
    assert config.unet.guidance_dim == 256
    assert config.distilled is not None
    assert config.distilled.note == "LCM model, 4 steps, told the guidance: the U-Net is told the guidance (cond_proj)"
    named = {name.replace("unet/", ""): shape for name, shape in folder_unet().items()}
    folder = {f"unet/{name}": shape for name, shape in named.items()}

    there = identify(header_of({**folder, "unet/time_embedding.cond_proj.weight": (320, 256)}), LAYOUTS)
    assert config_from(there).unet.guidance_dim == 256


def test_the_guidance_goes_into_the_network(easels: Easels, tmp_path: Path) -> None:
    tensors = load_file(easels.model("sd1"))
    more = torch.randn(32, 16, generator=torch.Generator().manual_seed(1)).half()
    save_file({**tensors, "model.diffusion_model.time_embed.cond_proj.weight": more}, tmp_path / "told.safetensors")
    easel = easel_for(tmp_path, "told")
    resolved = easel.resolve(guidance=None)
    assert (resolved.request.guidance, resolved.facts.tells_guidance) == (8.0, True)
    with CountedCalls(easel.residency.network(resolved, "unet")) as calls:
        strong = easel.pixels(guidance=9.0)
    assert calls.count == 3
    assert easel.pixels(guidance=2.0) != strong
    assert easel.plan(guidance=9.0).stages[2].seconds == easel.plan(guidance=1.0).stages[2].seconds


def test_the_embedded_guidance() -> None:
    embedded = guidance_embedding(torch.tensor([1.0, 8.5]), 8)
    half = torch.arange(4, dtype=torch.float64)
    angles = 7500.0 * torch.exp(-torch.log(torch.tensor(10000.0, dtype=torch.float64)) / 3 * half)
    assert torch.allclose(embedded[0], torch.tensor([0.0] * 4 + [1.0] * 4))
    assert torch.allclose(embedded[1].double(), torch.cat([angles.sin(), angles.cos()]), atol=1e-3)
    assert guidance_embedding(torch.tensor([3.0]), 7).shape == (1, 7)


def test_a_distilled_unet_without_a_scale_is_told_one() -> None:

    torch.manual_seed(0)
    unet = UNet(replace(tiny_unet(context=64), guidance_dim=16)).eval()
    given = torch.zeros(1, 4, 8, 8), torch.tensor([3.0]), torch.zeros(1, 77, 64)
    with torch.no_grad():
        assert torch.equal(unet(*given), unet(*given, guidance=torch.ones(1)))
        assert not torch.equal(unet(*given), unet(*given, guidance=torch.full((1,), 4.0)))
