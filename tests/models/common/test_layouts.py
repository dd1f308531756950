"""The tables of the shared networks, compared with maps that were traced through the reference implementations."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from pinxit.models.common.clip import ClipText
from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.models.common.layouts import CLIP_BARE, CLIP_HF, CLIP_OPEN, VAE_DIFFUSERS, VAE_DIFFUSERS_OLD, VAE_LDM
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.unet_layouts import UNET_DIFFUSERS, UNET_LDM
from pinxit.models.common.vae import AutoencoderKL
from pinxit.weights.layout import Shape, Side, Table, View
from tests.reference import golden_json
from tests.weights.files import manifest


def pairs(table: Table, view: View, side: Side) -> dict[str, str]:
    """Theirs by ours, one to one; the i-th of n tensors joined in X is written `X[i/n]`, as the references do."""
    sizes = (table.measure_ours if side == "ours" else table.measure)(view)
    assert sizes is not None
    result: dict[str, str] = {}
    for entry in table.entries(sizes, view, side):
        for number, ours in enumerate(entry.ours):
            theirs = entry.theirs[0]
            result[ours] = f"{theirs}[{number}/{len(entry.ours)}]" if len(entry.ours) > 1 else theirs
    return result


def below(prefix: str, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    return {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}


@pytest.mark.parametrize(
    ("keymap", "model"),
    [
        ("unet-sd1", "sd-v1"),
        ("unet-sd1-inpainting", "sd-v1-inpainting"),
        ("unet-sd2", "sd-v2-768-v"),
        ("unet-sdxl-base", "sdxl-base"),
        ("unet-sdxl-refiner", "sdxl-refiner"),
    ],
)
def test_unets(keymap: str, model: str) -> None:
    prefix = "model.diffusion_model."
    oracle = {k.removeprefix(prefix): v for k, v in golden_json(f"manifests/keymaps/{keymap}.json")["map"].items()}
    shapes = below(prefix, manifest(model))
    ours = View(shapes)
    assert pairs(UNET_DIFFUSERS, ours, "ours") == oracle
    theirs = View({theirs: shapes[name] for name, theirs in oracle.items()})
    assert pairs(UNET_DIFFUSERS, theirs, "theirs") == oracle
    assert pairs(UNET_LDM, ours, "theirs") == {name: name for name in shapes}


@pytest.mark.parametrize(("keymap", "model"), [("vae-sd1", "sd-v1"), ("vae-sdxl", "sdxl-base")])
def test_vaes(keymap: str, model: str) -> None:
    prefix = "first_stage_model."
    document = golden_json(f"manifests/keymaps/{keymap}.json")
    oracle = {k.removeprefix(prefix): v for k, v in document["map"].items()}
    shapes = below(prefix, manifest(model))
    view = View(shapes)
    assert pairs(VAE_DIFFUSERS, view, "ours") == oracle
    assert pairs(VAE_LDM, view, "theirs") == {name: name for name in shapes}
    sizes = VAE_DIFFUSERS.measure_ours(view)
    assert sizes is not None
    reshaped = [
        entry.theirs[0]
        for entry in VAE_DIFFUSERS.entries(sizes, view, "ours")
        if entry.theirs_shapes((shapes[entry.ours[0]],)) != (shapes[entry.ours[0]],)
    ]
    assert sorted(reshaped) == sorted(document["reshaped"])


def test_the_old_attention_names_of_the_vae() -> None:
    view = View(below("first_stage_model.", manifest("sd-v1")))
    old, new = (pairs(table, view, "ours") for table in (VAE_DIFFUSERS_OLD, VAE_DIFFUSERS))
    changed = {old[name].rsplit(".", 1)[0].rsplit(".", 1)[1] for name in old if old[name] != new[name]}
    assert changed == {"query", "key", "value", "proj_attn"}
    assert old["decoder.mid.attn_1.q.weight"] == "decoder.mid_block.attentions.0.query.weight"


@pytest.mark.parametrize(
    ("keymap", "model", "prefix", "table"),
    [
        ("clip-l-sd1", "sd-v1", "cond_stage_model.transformer.", CLIP_HF),
        ("clip-l-sdxl", "sdxl-base", "conditioner.embedders.0.transformer.", CLIP_HF),
        ("openclip-bigg-sdxl", "sdxl-base", "conditioner.embedders.1.model.", CLIP_OPEN),
        ("openclip-bigg-refiner", "sdxl-refiner", "conditioner.embedders.0.model.", CLIP_OPEN),
    ],
)
def test_text_encoders(keymap: str, model: str, prefix: str, table: Table) -> None:
    oracle = {v: k.removeprefix(prefix) for k, v in golden_json(f"manifests/keymaps/{keymap}.json")["map"].items()}
    assert pairs(table, View(below(prefix, manifest(model))), "theirs") == oracle


def test_openclip_h_has_one_layer_more_in_a_single_file() -> None:
    document = golden_json("manifests/keymaps/openclip-h-sd2.json")
    prefix = "cond_stage_model.model."
    oracle = {v: k.removeprefix(prefix) for k, v in document["map"].items()}
    found = pairs(CLIP_OPEN, View(below(prefix, manifest("sd-v2-768-v"))), "theirs")
    assert found.items() >= oracle.items()
    extra = {found[name].split("[")[0] for name in found.keys() - oracle.keys()}
    left = {name.removeprefix(prefix) for name in document["source_keys_without_target"]}
    assert extra == left - {"logit_scale"}


def test_text_encoders_without_text_model() -> None:
    shapes = below("cond_stage_model.transformer.", manifest("sd-v1"))
    bare = {name.removeprefix("text_model."): shape for name, shape in shapes.items() if "position_ids" not in name}
    found = pairs(CLIP_BARE, View(bare), "theirs")
    assert sorted(found.values()) == sorted(bare)
    assert all(ours == f"text_model.{theirs}" for ours, theirs in found.items())


def shapes_of(network: nn.Module) -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


UNETS = {
    "three levels, one block": UNetConfig(
        in_channels=4,
        out_channels=4,
        model_channels=32,
        channel_mult=(1, 2, 3),
        num_res_blocks=(1, 1, 1),
        transformer_depth=(0, 1, 2),
        transformer_depth_middle=2,
        transformer_depth_output=(0, 1, 2),
        context_dim=48,
        head_width=16,
        linear_projections=True,
        adm_in_channels=64,
    ),
    "blocks per level, outputs of another depth": UNetConfig(
        in_channels=7,
        out_channels=4,
        model_channels=32,
        channel_mult=(1, 2, 2, 4, 4),
        num_res_blocks=(1, 3, 2, 1, 2),
        transformer_depth=(1, 0, 2, 1, 0),
        transformer_depth_middle=0,
        transformer_depth_output=(1, 0, 3, 0, 1),
        context_dim=40,
        num_heads=4,
        num_classes=10,
    ),
    "one level": UNetConfig(
        in_channels=4,
        out_channels=4,
        model_channels=32,
        channel_mult=(1,),
        num_res_blocks=(2,),
        transformer_depth=(1,),
        transformer_depth_middle=1,
        transformer_depth_output=(1,),
        context_dim=32,
        num_heads=2,
    ),
}


@pytest.mark.parametrize("name", UNETS)
def test_every_shape_of_unet_goes_through_the_tables(name: str) -> None:
    with torch.device("meta"):
        shapes = shapes_of(UNet(UNETS[name]))
    there = pairs(UNET_DIFFUSERS, View(shapes), "ours")
    assert there.keys() == shapes.keys()
    assert len(set(there.values())) == len(there)
    back = pairs(UNET_DIFFUSERS, View({theirs: shapes[ours] for ours, theirs in there.items()}), "theirs")
    assert back == there
    assert pairs(UNET_LDM, View(shapes), "theirs").keys() == shapes.keys()


@pytest.mark.parametrize(
    "config",
    [
        VaeConfig(channels=32, channel_mult=(1, 2, 4, 4, 4), num_res_blocks=1, z_channels=8),
        VaeConfig(channels=32, channel_mult=(1, 1), num_res_blocks=3, mid_attention=False),
    ],
)
def test_every_shape_of_vae_goes_through_the_tables(config: VaeConfig) -> None:
    with torch.device("meta"):
        shapes = shapes_of(AutoencoderKL(config))
    there = pairs(VAE_DIFFUSERS, View(shapes), "ours")
    assert there.keys() == shapes.keys()
    back = pairs(VAE_DIFFUSERS, View({theirs: shapes[ours] for ours, theirs in there.items()}), "theirs")
    assert back == there


@pytest.mark.parametrize("projection", [None, 24])
def test_every_shape_of_text_encoder_goes_through_the_tables(projection: int | None) -> None:
    config = ClipTextConfig(vocab_size=64, width=32, intermediate=48, layers=3, heads=2, projection=projection)
    with torch.device("meta"):
        shapes = shapes_of(ClipText(config))
    for table in (CLIP_OPEN, CLIP_HF, CLIP_BARE):
        assert pairs(table, View(shapes), "ours").keys() == shapes.keys()


def test_what_is_not_there_has_no_sizes() -> None:
    nothing = View({"a.weight": (1,)})
    for table in (UNET_DIFFUSERS, UNET_LDM, VAE_DIFFUSERS, VAE_LDM, CLIP_OPEN, CLIP_HF, CLIP_BARE):
        assert table.measure(nothing) is None
        assert table.measure_ours(nothing) is None
