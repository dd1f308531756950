"""Text and image encoders by themselves: what their files say, and the JSON that we write for them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pinxit.models.clip_text.kind import KIND as CLIP_TEXT
from pinxit.models.clip_text.layout import LAYOUTS
from pinxit.models.clip_vision.kind import KIND as CLIP_VISION
from pinxit.models.common.clip import ClipText
from pinxit.weights.layout import Layout
from tests.models.derived_kinds import component, table
from tests.models.kind_files import KINDS, find_kind, found_in, golden_state, loaded, written
from tests.reference import golden_json
from tests.weights.files import header_of


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_a_text_encoder_is_the_same_from_every_spelling(layout: Layout, tmp_path: Path) -> None:
    golden = golden_json("goldens/tiny_models/text_clip_l.json")
    state = golden_state(golden["keys"])
    found = found_in(written(CLIP_TEXT, layout, state, tmp_path, config=golden["config"]))
    assert (found.kind, found.match.layout) == (CLIP_TEXT, layout)
    network = loaded(found)
    assert isinstance(network, ClipText)
    assert network.state_dict().keys() == state.keys()
    assert all(torch.equal(network.state_dict()[name], state[name]) for name in state)
    if layout.folder:
        assert found.config.network.heads == golden["config"]["num_attention_heads"]


def test_the_json_of_a_text_encoder_is_the_references() -> None:
    document = golden_json("manifests/diffusers/sdxl-base.json")["components"]["text_encoder_2"]
    config = find_kind(header_of(component("sdxl-base", "text_encoder_2")), KINDS).config
    assert CLIP_TEXT.files is not None
    ours = CLIP_TEXT.files(config)["config.json"]
    assert isinstance(ours, dict)
    for key in ("hidden_size", "hidden_act", "intermediate_size", "num_hidden_layers", "projection_dim", "vocab_size"):
        assert ours[key] == document["config"][key]


def test_the_json_of_an_image_encoder_is_the_references() -> None:
    config = find_kind(header_of(table("diffusers/clip-vision-h")), KINDS).config
    theirs = golden_json("manifests/diffusers/clip-vision-h.json")["config"]
    assert CLIP_VISION.files is not None
    files = CLIP_VISION.files(config)
    ours = files["config.json"]
    assert isinstance(ours, dict)
    assert {key: ours[key] for key in theirs} == theirs
    assert "preprocessor_config.json" in files
