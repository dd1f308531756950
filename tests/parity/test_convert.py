"""Folders that we write are loaded by diffusers, and single files by its own reader, with equal outputs.

Run with `pytest -m parity`; the usual run leaves these out.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pinxit.plugins.manager import build_catalog
from pinxit.studio.convert import Wish, convert, extract_vae
from pinxit.studio.convert.understanding import open_source, understand
from pinxit.weights.load import load_into
from tests import tiny

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

CATALOG = build_catalog()
PIPELINES: dict[str, str] = {
    "sd1": "StableDiffusionPipeline",
    "sd2": "StableDiffusionPipeline",
    "upscale4": "StableDiffusionUpscalePipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "sd35": "StableDiffusion3Pipeline",
}


def folder_of(root: Path, name: str) -> Path:
    """A folder converted from a tiny single file of the family `name`."""
    maker: Callable[[Path], Path] = getattr(tiny, f"make_{name}")
    source = maker(root / f"{name}.safetensors")
    convert(source, root / name, CATALOG, Wish(dtype="F32"))
    return root / name


@pytest.mark.parametrize("name", PIPELINES)
def test_diffusers_loads_what_we_convert(tmp_path: Path, name: str) -> None:
    diffusers: Any = importlib.import_module("diffusers")
    folder = folder_of(tmp_path, name)
    pipeline: Any = getattr(diffusers, PIPELINES[name])
    given: dict[str, dict[str, Any]] = {
        "upscale4": {"low_res_scheduler": diffusers.DDPMScheduler()},
        "sd35": {"tokenizer_3": None},
    }
    loaded = pipeline.from_pretrained(folder, torch_dtype=torch.float32, **given.get(name, {}))
    known = understand(open_source(folder), CATALOG)
    assert known.family is not None
    for component in known.match.parts:
        network = known.family.build(known.config, component).to_empty(device="cpu")
        load_into(network, known.match, component, dtype=torch.float32)
        theirs = getattr(loaded, component)
        # The names differ, the numbers do not.
        mine = sum(float(tensor.double().abs().sum()) for tensor in network.parameters())
        other = sum(float(tensor.double().abs().sum()) for tensor in theirs.parameters())
        assert mine == pytest.approx(other, rel=1e-9), component
    if hasattr(loaded, "tokenizer"):
        assert loaded.tokenizer("a red cat").input_ids == [49406, 320, 736, 2368, 49407]


@pytest.mark.parametrize("name", ["sd1", "sd2"])
def test_the_unet_computes_the_same(tmp_path: Path, name: str) -> None:
    diffusers: Any = importlib.import_module("diffusers")
    folder = folder_of(tmp_path, name)
    theirs: Any = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet").eval()
    known = understand(open_source(tmp_path / f"{name}.safetensors"), CATALOG)
    assert known.family is not None
    mine: Any = known.family.build(known.config, "unet").eval()
    load_into(mine, known.match, "unet", dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    x, tokens = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 77, 64, generator=generator)
    with torch.no_grad():
        ours = mine(x, torch.tensor([321.0]), tokens)
        other = theirs(x, 321, encoder_hidden_states=tokens).sample
    torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-5)


def test_an_extracted_vae_is_loaded(tmp_path: Path) -> None:
    diffusers: Any = importlib.import_module("diffusers")
    source = tiny.make_sd1(tmp_path / "m.safetensors")
    extract_vae(source, tmp_path / "vae", CATALOG)
    loaded: Any = diffusers.AutoencoderKL.from_pretrained(tmp_path / "vae")
    assert loaded.config.scaling_factor == 0.18215


def test_what_diffusers_writes_is_converted(tmp_path: Path) -> None:
    diffusers: Any = importlib.import_module("diffusers")
    folder = folder_of(tmp_path, "sd1")
    diffusers.StableDiffusionPipeline.from_pretrained(folder).save_pretrained(tmp_path / "theirs", max_shard_size="1MB")
    convert(tmp_path / "theirs", tmp_path / "back.safetensors", CATALOG, Wish(dtype="F16"))
    first, back = load_file(tmp_path / "sd1.safetensors"), load_file(tmp_path / "back.safetensors")
    assert first.keys() == back.keys()
    assert all(torch.equal(first[name], back[name]) for name in first)
