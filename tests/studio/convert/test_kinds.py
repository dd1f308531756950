"""Network files that are no models: each kind in every form that it has, number by number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pinxit.plugins.manager import build_catalog
from pinxit.schema.errors import BadInput
from pinxit.studio.convert import Wish, convert
from tests.models.common.golden import det_weight
from tests.reference import golden_json

CATALOG = build_catalog()
FILES = {
    "controlnet_sd1": ("controlnet", "control_model."),
    "t2i_adapter_sd15": ("t2i-adapter", ""),
    "t2i_adapter_sdxl": ("t2i-adapter", ""),
    "vae_kl_f4": ("vae", ""),
}


def made(path: Path, golden: str, prefix: str) -> Path:
    keys = golden_json(f"goldens/tiny_models/{golden}.json")["keys"]
    save_file({f"{prefix}{key}": det_weight(key, shape) for key, shape in keys.items()}, path)
    return path


@pytest.mark.parametrize("golden", FILES)
def test_every_kind_goes_both_ways(tmp_path: Path, golden: str) -> None:
    kind, prefix = FILES[golden]
    path = made(tmp_path / "one.safetensors", golden, prefix)
    there = convert(path, tmp_path / "folder", CATALOG)
    assert there.model == kind
    assert {file.name for file in there.files} == {"config.json", "diffusion_pytorch_model.safetensors"}
    back = convert(tmp_path / "folder", tmp_path / "back.safetensors", CATALOG)
    assert (back.model, there.left_out, back.left_out) == (kind, {}, {})
    first, second = load_file(path), load_file(tmp_path / "back.safetensors")
    assert {name.removeprefix(prefix) for name in first} == {name.removeprefix(prefix) for name in second}
    spelt = {name.removeprefix(prefix): tensor for name, tensor in second.items()}
    assert all(torch.equal(tensor, spelt[name.removeprefix(prefix)]) for name, tensor in first.items())


def test_a_kind_without_a_folder_says_so(tmp_path: Path) -> None:
    path = made(tmp_path / "up.safetensors", "esrgan_x4", "")
    with pytest.raises(BadInput, match=r"A esrgan is not written as a folder.* Choose the other layout"):
        convert(path, tmp_path / "folder", CATALOG)
    assert convert(path, tmp_path / "half.safetensors", CATALOG, Wish(dtype="F16")).model == "esrgan"
    torch.save({"params_ema": load_file(path)}, tmp_path / "up.pth")
    convert(tmp_path / "up.pth", tmp_path / "back.safetensors", CATALOG)
    first, second = load_file(path), load_file(tmp_path / "back.safetensors")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
