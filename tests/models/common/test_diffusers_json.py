"""The JSON that we write says what the public repositories' JSON says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pinxit.models.common.configs import UNetConfig, VaeConfig
from pinxit.models.common.diffusers_json import clip_json, scheduler_json, unet_json, vae_json
from pinxit.models.common.prediction import Prediction
from pinxit.models.sd1 import config as sd1
from pinxit.models.sd1.layout import LAYOUTS as SD1_LAYOUTS
from pinxit.models.sd2 import config as sd2
from pinxit.models.sd2.layout import LAYOUTS as SD2_LAYOUTS
from pinxit.weights.folder import read_model
from pinxit.weights.identify import identify
from tests.reference import golden_json
from tests.weights.files import manifest_folder

PRIVATE = {"_diffusers_version", "_name_or_path", "torch_dtype", "dropout", "initializer_factor", "initializer_range"}


def same(written: dict[str, object], public: dict[str, Any], *apart: str) -> None:
    """Every key that both have, but for `apart`, has the same value."""
    shared = (written.keys() & public.keys()) - PRIVATE - set(apart)
    assert len(shared) > 5
    assert {key: written[key] for key in shared} == {key: public[key] for key in shared}


@pytest.mark.parametrize(("name", "config"), [("sd15", sd1.config_from), ("sd21", sd2.config_from)])
def test_public_configurations(tmp_path: Path, name: str, config: Any) -> None:
    public = golden_json(f"manifests/diffusers/{name}.json")["components"]
    found = config(identify(read_model(manifest_folder(tmp_path / "m", name)), (*SD1_LAYOUTS, *SD2_LAYOUTS)))
    size = public["unet"]["config"]["sample_size"]
    written = unet_json(found.unet, sample_size=size)
    same(written, public["unet"]["config"])
    assert written["transformer_layers_per_block"] == 1
    same(vae_json(found.vae, sample_size=8 * size, scale=0.18215), public["vae"]["config"])
    apart = ("bos_token_id", "eos_token_id", "pad_token_id", "projection_dim")
    same(clip_json(found.text_encoder), public["text_encoder"]["config"], *apart)
    public_scheduler = public["scheduler"]["scheduler_config"]
    same(scheduler_json(found.prediction, name=public_scheduler["_class_name"]), public_scheduler)


SDXL = UNetConfig(
    in_channels=4,
    out_channels=4,
    model_channels=320,
    channel_mult=(1, 2, 4),
    num_res_blocks=(2, 2, 2),
    transformer_depth=(0, 2, 10),
    transformer_depth_middle=10,
    transformer_depth_output=(0, 2, 10),
    context_dim=2048,
    head_width=64,
    linear_projections=True,
    adm_in_channels=2816,
)


def test_sdxl_and_its_relatives() -> None:
    written = unet_json(SDXL, sample_size=128)
    assert written["transformer_layers_per_block"] == [1, 2, 10]
    assert written["attention_head_dim"] == [5, 10, 20]
    assert written["down_block_types"] == ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]
    assert written["up_block_types"] == ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"]
    assert written["projection_class_embeddings_input_dim"] == 2816
    assert "reverse_transformer_layers_per_block" not in written
    other = replace(
        SDXL,
        num_res_blocks=(2, 1, 2),
        transformer_depth_output=(0, 3, 10),
        transformer_depth_middle=0,
        adm_in_channels=None,
        num_classes=1000,
        disable_self_attention=(True, True, False),
    )
    written = unet_json(other, sample_size=128)
    assert written["layers_per_block"] == [2, 1, 2]
    assert written["reverse_transformer_layers_per_block"] == [10, 3, 1]
    assert written["mid_block_type"] == "UNetMidBlock2D"
    assert written["num_class_embeds"] == 1000
    assert written["only_cross_attention"] == [True, True, False]


def test_zero_terminal_snr_shift_and_attention_are_said() -> None:
    prediction = Prediction(kind="velocity", zero_terminal_snr=True, evidence="test")
    written = scheduler_json(prediction)
    assert written["rescale_betas_zero_snr"] is True
    assert written["timestep_spacing"] == "trailing"
    vae = vae_json(replace(VaeConfig(), mid_attention=False), sample_size=512, scale=1.5, shift=0.06)
    assert (vae["mid_block_add_attention"], vae["shift_factor"], vae["scaling_factor"]) == (False, 0.06, 1.5)
