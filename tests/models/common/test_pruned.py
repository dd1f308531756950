"""U-Nets with blocks taken out: sizes read off the shapes, both spellings, and a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pinxit.models.common.configs import UNetConfig
from pinxit.models.common.cost import unet_cost
from pinxit.models.common.diffusers_json import unet_json
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.measured import unet_config
from pinxit.models.common.unet_layouts import UNET_DIFFUSERS, UNET_LDM
from pinxit.models.sd1.layout import LAYOUTS as SD1
from pinxit.models.sdxl.layout import LAYOUTS
from pinxit.weights.identify import identify
from pinxit.weights.layout import View
from tests.easel import Easels, easel_for
from tests.models.derived import DERIVED
from tests.tiny import sdxl_unet, seeded, tiny_unet
from tests.weights.files import header_of

PREFIX = "model.diffusion_model."


@pytest.mark.parametrize(
    ("name", "depth", "output", "middle", "blocks"),
    [
        ("ssd-1b", (0, 2, 4), (0, (2, 1, 1), (4, 4, 10)), 0, 1),
        ("segmind-vega", (0, 1, 2), (0, 1, 2), 0, 1),
        ("koala-700m", (0, 2, 5), (0, 2, 5), 0, 0),
        ("koala-1b", (0, 2, 6), (0, 2, 6), 6, 2),
    ],
)
def test_the_sizes_of_published_models(
    name: str, depth: tuple[int, ...], output: tuple[int | tuple[int, ...], ...], middle: int, blocks: int
) -> None:
    config = unet_config(identify(header_of(DERIVED[name]()), LAYOUTS), head_width=64)
    assert (config.transformer_depth, config.transformer_depth_output) == (depth, output)
    assert (config.transformer_depth_middle, config.middle_blocks) == (middle, blocks)
    assert config.num_res_blocks == ((1, 1, 1) if name.startswith("koala") else (2, 2, 2))
    assert config.context_dim == 2048


def test_the_folders_json_of_ssd_1b() -> None:
    config = unet_config(identify(header_of(DERIVED["ssd-1b"]()), LAYOUTS), head_width=64)
    written = unet_json(config, sample_size=128)
    assert written["mid_block_type"] == "UNetMidBlock2D"
    assert written["transformer_layers_per_block"] == [1, 2, 4]
    assert written["reverse_transformer_layers_per_block"] == [[4, 4, 10], [2, 1, 1], 1]
    assert unet_json(replace(config, middle_blocks=0), sample_size=128)["mid_block_type"] is None
    assert unet_json(replace(config, guidance_dim=256), sample_size=128)["time_cond_proj_dim"] == 256


UNEVEN = replace(
    sdxl_unet(levels=3, context=128, added=160),
    num_res_blocks=(1, 2, 2),
    transformer_depth=(0, (2, 1), 1),
    transformer_depth_output=(0, (1, 0, 2), (1, 3, 1)),
)
SHAPES: dict[str, UNetConfig] = {
    "another depth in each block": UNEVEN,
    "half a middle": replace(UNEVEN, middle_blocks=1, transformer_depth_middle=0),
    "no middle": replace(UNEVEN, middle_blocks=0, transformer_depth_middle=0),
    "no middle, convolutions": replace(tiny_unet(context=64), middle_blocks=0, transformer_depth_middle=0),
    "told the guidance": replace(tiny_unet(context=64), guidance_dim=24),
}


@pytest.mark.parametrize("name", SHAPES)
def test_both_spellings_and_back(name: str) -> None:
    config = SHAPES[name]
    with torch.device("meta"):
        shapes = {key: tuple(tensor.shape) for key, tensor in UNet(config).state_dict().items()}
    layouts = SD1 if config.num_heads else LAYOUTS
    for table, prefix in ((UNET_LDM, PREFIX), (UNET_DIFFUSERS, "unet/")):
        sizes = table.measure_ours(View(shapes))
        assert sizes is not None
        named = {
            f"{prefix}{entry.theirs[0]}": entry.theirs_shapes((shapes[entry.ours[0]],))[0]
            for entry in table.entries(sizes, View(shapes), "ours")
        }
        match = identify(header_of(named), layouts)
        assert match.missing == match.unexpected == ()
        assert dict(match.part("unet").shapes) == shapes
        found = unet_config(match, num_heads=config.num_heads, head_width=config.head_width)
        assert found == config


@pytest.mark.parametrize("name", ["another depth in each block", "half a middle", "no middle"])
def test_pruned_models_paint(easels: Easels, tmp_path: Path, name: str) -> None:
    kept = {key: value for key, value in load_file(easels.model("sdxl")).items() if not key.startswith(PREFIX)}
    state = seeded(UNet(SHAPES[name])).state_dict()
    save_file({**kept, **{PREFIX + key: value for key, value in state.items()}}, tmp_path / "pruned.safetensors")
    easel = easel_for(tmp_path, "pruned")
    assert easel.resolve().config.unet == SHAPES[name]
    assert len(easel.paint()) == 1


def test_blocks_cost_what_they_hold() -> None:
    whole, half = (unet_cost(config, 16, 16).flops for config in (UNEVEN, SHAPES["no middle"]))
    assert half < whole


def test_a_level_needs_a_depth_for_every_block() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\) gives 2 depths for 1 blocks"):
        replace(tiny_unet(context=64), transformer_depth=((1, 2), 1)).depths(0)
