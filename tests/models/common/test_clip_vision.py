"""Image towers: the reference's outputs, through every spelling of their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pinxit.models.common.clip_vision import ClipVision
from pinxit.models.common.vision import (
    VISION_BARE,
    VISION_HF,
    VISION_OPEN,
    ClipVisionConfig,
    Preprocessing,
    preprocessor_json,
    vision_config,
    vision_json,
)
from pinxit.schema.errors import BadModelFile
from pinxit.weights.folder import read_model
from pinxit.weights.identify import identify
from pinxit.weights.layout import Layout, Part, Place, Table
from pinxit.weights.load import load_into
from pinxit.weights.save import save_model
from pinxit.weights.settings import Settings
from tests.models.common.golden import TOLERANCE, det_weight, filled
from tests.reference import golden_arrays, golden_json
from tests.weights.files import header_of

TINY = ClipVisionConfig(
    width=32, intermediate=64, layers=3, heads=4, patch=14, image=56, activation="gelu", projection=24
)
HEADS = Settings(source="config.json", values={"num_attention_heads": 4, "hidden_act": "gelu"})


def layout_of(table: Table, prefix: str = "") -> Layout:
    part = Part(component="image_encoder", places=(Place(prefix=prefix, table=table),), required=True)
    return Layout(name=table.name, family="clip_vision", parts=(part,))


def agrees(tower: ClipVision) -> None:
    arrays = {
        key: torch.from_numpy(value) for key, value in golden_arrays("goldens/tiny_models/clip_vision.npz").items()
    }
    with torch.no_grad():
        states = tower(arrays["pixel_values"])
    assert states.embedded is not None
    found = {
        "image_embeds": states.embedded,
        "penultimate": states.hidden[-2],
        "last_hidden_state": states.last,
    }
    for key, value in found.items():
        assert (value - arrays[key]).abs().max() <= TOLERANCE, key


def test_the_tower_gives_the_reference_states() -> None:
    facts = golden_json("goldens/tiny_models/clip_vision.json")
    tower = filled(ClipVision(TINY), facts["keys"])
    assert isinstance(tower, ClipVision)
    agrees(tower)
    with pytest.raises(ValueError, match=r"takes pictures of 3 x 56 x 56, not \[3, 64, 64\]"):
        tower(torch.zeros(1, 3, 64, 64))


def open_clip(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Hugging Face tensors under OpenCLIP's names, by hand, so that the tables are not their own judge."""
    names = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj"}
    names |= {"mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    result = {
        "class_embedding": theirs["vision_model.embeddings.class_embedding"],
        "conv1.weight": theirs["vision_model.embeddings.patch_embedding.weight"],
        "positional_embedding": theirs["vision_model.embeddings.position_embedding.weight"],
        "proj": theirs["visual_projection.weight"].T.contiguous(),
    }
    for suffix in ("weight", "bias"):
        result[f"ln_pre.{suffix}"] = theirs[f"vision_model.pre_layrnorm.{suffix}"]
        result[f"ln_post.{suffix}"] = theirs[f"vision_model.post_layernorm.{suffix}"]
        for layer in range(3):
            block, source = f"transformer.resblocks.{layer}", f"vision_model.encoder.layers.{layer}"
            joined = [theirs[f"{source}.self_attn.{name}_proj.{suffix}"] for name in "qkv"]
            result[f"{block}.attn.in_proj_{suffix}"] = torch.cat(joined)
            for ours, name in names.items():
                result[f"{block}.{name}.{suffix}"] = theirs[f"{source}.{ours}.{suffix}"]
    return {f"visual.{name}": tensor for name, tensor in result.items()}


@pytest.mark.parametrize(
    ("table", "prefix"), [(VISION_HF, ""), (VISION_BARE, ""), (VISION_OPEN, "visual.")], ids=["hf", "bare", "open"]
)
def test_the_reference_states_through_every_spelling(tmp_path: Path, table: Table, prefix: str) -> None:
    keys = golden_json("goldens/tiny_models/clip_vision.json")["keys"]
    tensors = {key: det_weight(key, shape) for key, shape in keys.items()}
    spelt = {
        VISION_HF.name: tensors,
        VISION_BARE.name: {name.removeprefix("vision_model."): tensor for name, tensor in tensors.items()},
        VISION_OPEN.name: open_clip(tensors),
    }[table.name]
    save_file(spelt, tmp_path / "theirs.safetensors")
    layout = layout_of(table, prefix)
    save_model({"image_encoder": tensors}, layout, tmp_path / "ours.safetensors")
    for file in ("theirs", "ours"):
        match = identify(read_model(tmp_path / f"{file}.safetensors"), [layout])
        assert match.missing == match.unexpected == ()
        assert set(match.header.tensors) == set(spelt)
        config = vision_config(match, settings=HEADS)
        assert config is not None
        assert config == TINY
        with torch.device("meta"):
            tower = ClipVision(config)
        load_into(tower, match, "image_encoder", check_finite=True)
        agrees(tower)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("l", ClipVisionConfig()),
        ("h", ClipVisionConfig(width=1280, intermediate=5120, layers=32, activation="gelu", projection=1024)),
        ("bigg", ClipVisionConfig(width=1664, intermediate=8192, layers=48, activation="gelu", projection=1280)),
    ],
)
def test_towers_of_the_public_files(name: str, config: ClipVisionConfig) -> None:
    document = golden_json(f"manifests/diffusers/clip-vision-{name}.json")
    match = identify(header_of(document["tensors"]), [layout_of(VISION_HF)])
    assert match.missing == match.unexpected == ()
    assert vision_config(match) == config
    with torch.device("meta"):
        tower = ClipVision(config)
    assert {key: list(tensor.shape) for key, tensor in tower.state_dict().items()} == document["tensors"]
    written = vision_json(config)
    assert {key: written[key] for key in document["config"]} == document["config"]


def test_shapes_and_settings_that_cannot_be() -> None:
    layout = layout_of(VISION_HF)
    keys = golden_json("goldens/tiny_models/clip_vision.json")["keys"]
    match = identify(header_of(keys), [layout])
    for values, expected in (
        ({"num_attention_heads": 5}, "32 wide cannot have 5 heads"),
        ({"hidden_act": "relu"}, "hidden_act 'relu' is unknown"),
    ):
        with pytest.raises(BadModelFile, match=expected):
            vision_config(match, settings=Settings(source="config.json", values=values))
    broken = {**keys, "vision_model.embeddings.position_embedding.weight": [15, 32]}
    with pytest.raises(BadModelFile, match="14 places for patches, which make no square"):
        vision_config(identify(header_of(broken), [layout]))
    bare = {name: shape for name, shape in keys.items() if name != "visual_projection.weight"}
    found = vision_config(identify(header_of(bare), [layout]), settings=HEADS)
    assert found is not None
    assert found == replace(TINY, projection=None)
    assert vision_json(found)["projection_dim"] == 32


def test_how_pictures_are_prepared() -> None:
    note = golden_json("goldens/tiny_models/clip_vision.json")["note"]
    way = Preprocessing()
    for numbers in (way.mean, way.std):
        assert "[" + ",".join(map(str, numbers)) + "]" in note
    written = preprocessor_json(TINY)
    assert (written["image_mean"], written["size"]) == (list(way.mean), {"shortest_edge": 56})
