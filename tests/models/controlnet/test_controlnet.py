from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pinxit.models.controlnet.config import config_from
from pinxit.models.controlnet.folder import folder_files
from pinxit.models.controlnet.kind import KIND
from pinxit.models.controlnet.layout import DIFFUSERS, FOLDER, LAYOUTS, ORIGINAL, SINGLE_FILE
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import identify
from pinxit.weights.layout import Layout, View
from tests.models.common.golden import TOLERANCE
from tests.models.common.test_layouts import below, pairs
from tests.models.kind_files import found_in, golden_state, loaded, written
from tests.reference import golden_arrays, golden_json
from tests.weights.files import header_of, manifest

GOLDEN = "goldens/tiny_models/controlnet_sd1"
CONFIG: dict[str, object] = {"attention_head_dim": 8}
Shapes = dict[str, tuple[int, ...]]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_it_gives_the_reference_outputs_from_every_spelling(layout: Layout, tmp_path: Path) -> None:
    state = golden_state(golden_json(f"{GOLDEN}.json")["keys"])
    path = written(KIND, layout, state, tmp_path, config=CONFIG)
    # The tiny one is told a text of 24 channels, which names no family; its heads are only in the folder's JSON.
    found = found_in(path)
    assert found.match.layout is layout
    assert found.match.missing == found.match.unexpected == ()
    unet = replace(found.config.unet, num_heads=8, head_width=None)
    network = loaded(found, replace(found.config, unet=unet))
    arrays = {name: torch.from_numpy(array) for name, array in golden_arrays(f"{GOLDEN}.npz").items()}
    with torch.no_grad():
        outputs = network(arrays["x"], arrays["hint"], arrays["t"], arrays["context"])
    assert len(outputs) == 13
    for number, output in enumerate(outputs):
        wanted = arrays[f"control_{number:02}"]
        assert (output - wanted).norm() <= 2e-6 * wanted.norm(), number
        assert (output - wanted).abs().max() <= 2 * TOLERANCE * max(1.0, float(wanted.abs().max()) / 10), number


def test_the_spellings_are_those_of_the_reference() -> None:
    oracle = golden_json("manifests/keymaps/controlnet-sd15.json")["map"]
    prefix = "control_model."
    shapes = below(prefix, manifest("controlnet-sd15"))
    wanted = {ours.removeprefix(prefix): theirs for ours, theirs in oracle.items()}
    assert pairs(DIFFUSERS, View(shapes), "ours") == wanted
    assert pairs(DIFFUSERS, View({theirs: shapes[ours] for ours, theirs in wanted.items()}), "theirs") == wanted
    assert pairs(ORIGINAL, View(shapes), "theirs") == {name: name for name in shapes}


def test_a_whole_checkpoint_beside_it_is_left_out_and_the_prefix_may_lack() -> None:
    shapes = manifest("controlnet-sd15")
    match = identify(header_of({**shapes, **manifest("sd-v1")}), LAYOUTS)
    assert match.layout is SINGLE_FILE
    assert match.missing == ()
    assert match.dropped["model.diffusion_model.out.2.bias"] == "the U-Net beside the ControlNet"
    bare = identify(header_of(below("control_model.", shapes)), LAYOUTS)
    assert bare.layout is SINGLE_FILE
    assert bare.missing == bare.unexpected == ()
    assert config_from(bare) == config_from(identify(header_of(shapes), LAYOUTS))


def small(text: bool) -> Shapes:
    """A small ControlNet of SDXL in the folder's spelling, without attention where `text` is False."""
    document = golden_json("manifests/diffusers/controlnet-sdxl.json")["components"]["controlnet"]["tensors"]
    shapes = {name: tuple(shape) for name, shape in document.items()}
    if text:
        return shapes
    return {name: s for name, s in shapes.items() if "attentions" not in name and "mid_block.resnets.1" not in name}


def test_one_without_attention_is_known_by_its_sizes() -> None:
    match = identify(header_of(small(text=False)), LAYOUTS)
    config = config_from(match)
    assert match.layout is FOLDER
    assert match.missing == match.unexpected == ()
    assert config.about.bases == ("sdxl",)
    assert config.about.evidence[1] == "no attention to text"
    assert (config.unet.context_dim, config.unet.transformer_depth, config.unet.middle_blocks) == (0, (0, 0, 0), 1)
    with torch.device("meta"):
        network = KIND.network(config)
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == dict(
        match.part("controlnet").shapes
    )


def test_a_union_is_named_and_its_own_tensors_are_strangers() -> None:
    shapes = {**small(text=True), "task_embedding": (6, 320), "control_add_embedding.linear_1.bias": (1280,)}
    match = identify(header_of(shapes), LAYOUTS)
    assert config_from(match).about.variant == "union"
    assert set(match.unexpected) == {"task_embedding", "control_add_embedding.linear_1.bias"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"control_model.zero_convs.12.0.weight": (1280, 1280, 1, 1)}, "answers to 13 skips; its way down has 12"),
        ({"control_model.input_hint_block.14.weight": (32, 256, 3, 3)}, "ends with other channels than its 320"),
        ({"control_model.input_blocks.0.0.weight": (0, 4, 3, 3)}, "which are no multiples of its 0"),
    ],
)
def test_sizes_that_contradict_each_other_are_told(change: Shapes, told: str) -> None:
    match = identify(header_of({**manifest("controlnet-sd15"), **change}), LAYOUTS)
    with pytest.raises(BadModelFile, match=told):
        config_from(match)


def test_one_without_a_hint_is_told() -> None:
    shapes = {name: shape for name, shape in manifest("controlnet-sd15").items() if "input_hint_block" not in name}
    with pytest.raises(BadModelFile, match="has no layers that read its hint"):
        config_from(identify(header_of(shapes), LAYOUTS))


def test_a_hint_of_another_size_is_fitted() -> None:
    state = golden_state(golden_json(f"{GOLDEN}.json")["keys"])
    match = identify(header_of({name: tuple(tensor.shape) for name, tensor in state.items()}), LAYOUTS)
    config = config_from(match)
    network = KIND.network(replace(config, unet=replace(config.unet, num_heads=8, head_width=None)))
    network.load_state_dict(state)
    with torch.no_grad():
        outputs = network(torch.zeros(1, 4, 5, 7), torch.zeros(1, 3, 44, 60), torch.zeros(1), torch.zeros(1, 3, 24))
    assert [tuple(output.shape[2:]) for output in outputs] == [(5, 7)] * 3 + [(3, 4)] * 3 + [(2, 2)] * 3 + [(1, 1)] * 4


@pytest.mark.parametrize("name", ["controlnet-sd15", "controlnet-sdxl"])
def test_the_folders_json_is_that_of_the_reference(name: str) -> None:
    document = golden_json(f"manifests/diffusers/{name}.json")["components"]["controlnet"]
    shapes: Shapes = {key: tuple(shape) for key, shape in document["tensors"].items()}
    match = identify(header_of(shapes, configs={"config.json": document["config"]}), LAYOUTS)
    theirs, ours = document["config"], folder_files(config_from(match))["config.json"]
    assert isinstance(ours, dict)
    shared = {key for key in theirs if key in ours and not key.startswith("_diffusers")}
    assert {key: ours[key] for key in shared} == {key: theirs[key] for key in shared}
    assert {"conditioning_embedding_out_channels", "cross_attention_dim", "attention_head_dim"} <= shared
