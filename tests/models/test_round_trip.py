"""Tiny networks through every layout of SD 1 and 2: written, recognised, measured and loaded, number by number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.models.common.diffusers_json import clip_json, scheduler_json, unet_json, vae_json
from pinxit.models.common.prediction import Prediction
from pinxit.models.sd1 import config as sd1
from pinxit.models.sd1.layout import LAYOUTS as SD1_LAYOUTS
from pinxit.models.sd2 import config as sd2
from pinxit.models.sd2.layout import LAYOUTS as SD2_LAYOUTS
from pinxit.weights.folder import read_model
from pinxit.weights.identify import identify
from pinxit.weights.layout import Layout
from pinxit.weights.load import load_into
from pinxit.weights.save import save_model
from tests.models.checks import networks

ALL = (*SD1_LAYOUTS, *SD2_LAYOUTS)
UNET = UNetConfig(
    in_channels=4,
    out_channels=4,
    model_channels=64,
    channel_mult=(1, 2),
    num_res_blocks=(1, 2),
    transformer_depth=(1, 2),
    transformer_depth_middle=1,
    transformer_depth_output=(1, 2),
    context_dim=64,
    num_heads=8,
)
TEXT = ClipTextConfig(vocab_size=60, width=64, intermediate=96, layers=2, heads=1, bos_id=58, eos_id=59, pad_id=59)
VAE = VaeConfig(channels=32, channel_mult=(1, 2, 2), num_res_blocks=1)
SD2_UNET = replace(UNET, num_heads=None, head_width=64, linear_projections=True)
SD2_TEXT = replace(TEXT, activation="gelu", pad_id=0)


def filled(network: nn.Module, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(tensor.shape, generator=generator) for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("layout", ALL, ids=lambda layout: layout.name)
def test_tiny_models_come_back(tmp_path: Path, layout: Layout) -> None:
    first = layout.family == "sd1"
    unet, text = (UNET, TEXT) if first else (SD2_UNET, SD2_TEXT)
    if layout.folder or first:
        built = networks(unet, VAE, text)
    else:
        text = replace(text, projection=32)
        built = networks(unet, VAE, text)
    states = {name: filled(network, seed) for seed, (name, network) in enumerate(built.items())}
    prediction = Prediction(kind="velocity", zero_terminal_snr=True, evidence="test")
    configs: dict[str, object] = {
        "model_index.json": {
            "_class_name": "StableDiffusionPipeline",
            **{name: ["diffusers", "Part"] for name in ("unet", "vae", "text_encoder", "scheduler")},
        },
        "unet/config.json": unet_json(unet, sample_size=8),
        "vae/config.json": vae_json(VAE, sample_size=32, scale=0.18215),
        "text_encoder/config.json": clip_json(text),
        "scheduler/scheduler_config.json": scheduler_json(prediction),
    }
    target = tmp_path / ("model" if layout.folder else "model.safetensors")
    save_model(states, layout, target, configs=configs if layout.folder else None, dtype=torch.float16)
    match = identify(read_model(target), ALL)
    assert match.layout is layout
    found: Any = sd1.config_from(match) if first else sd2.config_from(match)
    assert found.unet == unet
    assert found.vae == VAE
    assert found.text_encoder == text
    if layout.folder:
        assert (found.prediction.kind, found.prediction.zero_terminal_snr) == ("velocity", True)
    for name, network in networks(found.unet, found.vae, found.text_encoder).items():
        load_into(network, match, name, check_finite=True)
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, states[name][key].half()), key
