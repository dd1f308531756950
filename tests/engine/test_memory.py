"""A checkpoint is never twice in memory, and what comes and goes leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pinxit.engine import allocator
from pinxit.models.common.clip import ClipText
from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.vae import AutoencoderKL
from pinxit.models.sd1.layout import SINGLE_FILE
from pinxit.nn.pages import glibc, own_pages
from pinxit.weights.save import save_model
from tests.easel import easel_for
from tests.tiny import make_sd1, tiny_unet

ROOT = Path(__file__).parents[2]
SWITCHES = 50


SHALLOW = replace(tiny_unet(context=64), model_channels=128)
"""Two levels, so few tensors: what a switch takes of time goes by their number."""


def all_blocks(width: int) -> UNetConfig:
    """SD 1.5's U-Net with `width` channels instead of 320."""
    return UNetConfig(
        in_channels=4,
        out_channels=4,
        model_channels=width,
        channel_mult=(1, 2, 4, 4),
        num_res_blocks=(2, 2, 2, 2),
        transformer_depth=(1, 1, 1, 0),
        transformer_depth_middle=1,
        transformer_depth_output=(1, 1, 1, 0),
        context_dim=64,
        num_heads=8,
    )


def slim_sd1(path: Path, unet: UNetConfig, dtype: torch.dtype) -> Path:
    """An SD 1.x file with this U-Net, and zeros for weights."""
    with torch.device("meta"):
        networks = {
            "unet": UNet(unet),
            "vae": AutoencoderKL(VaeConfig(channels=32, channel_mult=(1, 1, 1, 1), num_res_blocks=1)),
            "text_encoder": ClipText(ClipTextConfig(width=64, intermediate=64, layers=2, heads=1)),
        }
    states = {
        part: {name: torch.zeros(tensor.shape) for name, tensor in network.state_dict().items()}
        for part, network in networks.items()
    }
    save_model(states, SINGLE_FILE, path, dtype=dtype)
    return path


def measured(*words: object) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.engine.memory", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("dtype", "computed", "factor"),
    [(torch.bfloat16, "bfloat16", 1.0), (torch.float32, "float32", 1.0), (torch.float32, "bfloat16", 0.5)],
    ids=["as it is in bfloat16", "as it is in float32", "halved"],
)
def test_loading_adds_little_more_than_the_files_size(
    tmp_path: Path, dtype: torch.dtype, computed: str, factor: float
) -> None:
    warm = make_sd1(tmp_path / "warm.safetensors")
    path = slim_sd1(tmp_path / "model.safetensors", all_blocks(96 if dtype == torch.bfloat16 else 64), dtype)
    size = path.stat().st_size * factor
    assert size > 60 * 2**20
    found = measured("load", path, computed, warm)
    assert 0.8 * size < found["added"] < size + 45 * 2**20, "folded weights, and what computing leaves behind"
    assert found["peak"] < size + 60 * 2**20, "one tensor at a time is there twice"


def test_fifty_switches_end_where_they_began(tmp_path: Path) -> None:
    paths = [slim_sd1(tmp_path / f"{name}.safetensors", SHALLOW, torch.bfloat16) for name in ("one", "two")]
    seen = measured("switch", *paths, SWITCHES)["seen"]
    first, last = max(seen[:2]), max(seen[-2:])
    assert len(seen) == SWITCHES + 2
    assert last < 1.05 * first
    assert max(seen) < 1.5 * first


def test_a_table_of_words_stays_as_narrow_as_its_file_and_gives_the_same_numbers(tmp_path: Path) -> None:
    make_sd1(tmp_path / "sd1.safetensors")
    easel = easel_for(tmp_path, "sd1")
    text: Any = easel.residency.network(easel.resolve(), "text_encoder")
    table = text.text_model.embeddings.token_embedding
    assert table.weight.dtype == torch.float16
    others = {name: tensor.dtype for name, tensor in text.named_parameters() if tensor is not table.weight}
    assert set(others.values()) == {torch.float32}
    ids = torch.arange(77)[None] * 600 + 49_407 * (torch.arange(77)[None] > 70)
    ids = ids.clamp(max=49_407)
    with torch.inference_mode():
        narrow = text(ids)
        table.weight.data = table.weight.data.float()
        wide = text(ids)
    assert narrow.last.dtype == torch.float32
    assert torch.equal(narrow.last, wide.last)
    assert torch.equal(narrow.pooled, wide.pooled)


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for platform in ("linux", "win32"):
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.setattr("ctypes.CDLL", lambda _: object())
        glibc.cache_clear()
        allocator.release()
        with own_pages():
            pass
    monkeypatch.undo()
    glibc.cache_clear()
    allocator.release()
