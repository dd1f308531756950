from __future__ import annotations

from typing import Any

import pytest
import torch

from pinxit.models.common.configs import T5Config
from pinxit.models.common.t5 import T5Encoder, buckets
from pinxit.models.common.transformer_layouts import T5
from pinxit.weights.layout import View
from tests.models.common.golden import TOLERANCE, filled
from tests.models.common.test_layouts import below, pairs, shapes_of
from tests.reference import golden_arrays, golden_json


def golden_config(theirs: dict[str, Any]) -> T5Config:
    return T5Config(
        vocab_size=theirs["vocab_size"],
        width=theirs["d_model"],
        intermediate=theirs["d_ff"],
        layers=theirs["num_layers"],
        heads=theirs["num_heads"],
        inner=theirs["num_heads"] * theirs["d_kv"],
        buckets=theirs["relative_attention_num_buckets"],
        distance=theirs["relative_attention_max_distance"],
    )


def test_t5_gives_the_reference_outputs() -> None:
    facts = golden_json("goldens/tiny_models/text_t5.json")
    arrays = golden_arrays("goldens/tiny_models/text_t5.npz")
    keys = {name: shape for name, shape in facts["keys"].items() if name != "encoder.embed_tokens.weight"}
    network = filled(T5Encoder(golden_config(facts["config"])), keys)
    with torch.no_grad():
        out = network(torch.from_numpy(arrays["input_ids"]))
    assert (out - torch.from_numpy(arrays["last_hidden_state"])).abs().max() <= TOLERANCE


def test_buckets_grow_with_the_distance() -> None:
    found = buckets(torch.tensor([0, -1, -7, -8, -15, -16, -127, -128, -5000, 1, 8, 5000]), count=32, distance=128)
    assert found.tolist() == [0, 1, 7, 8, 9, 10, 15, 15, 15, 17, 24, 31]


@pytest.mark.parametrize("name", ["shared", "encoder.embed_tokens"])
def test_the_embedding_has_two_names(name: str) -> None:
    with torch.device("meta"):
        shapes = shapes_of(T5Encoder(T5Config(vocab_size=30, width=8, intermediate=9, layers=2, heads=2, inner=6)))
    theirs = {key.replace("shared", name): shape for key, shape in shapes.items()}
    found = pairs(T5, View(theirs), "theirs")
    assert found == {key: key.replace("shared", name) for key in shapes}
    assert pairs(T5, View(shapes), "ours") == {key: key for key in shapes}


def test_the_names_of_the_published_encoder() -> None:
    content = golden_json("manifests/singlefile/sd3-medium.json")["optional_tensors"]
    single = below("text_encoders.t5xxl.transformer.", {key: tuple(shape) for key, shape in content.items()})
    folder = golden_json("manifests/diffusers/sd3-medium.json")["components"]["text_encoder_3"]["tensors"]
    for shapes in (single, {key: tuple(shape) for key, shape in folder.items()}):
        with torch.device("meta"):
            network = shapes_of(T5Encoder(T5Config()))
        found = pairs(T5, View(shapes), "theirs")
        assert {*found.values(), "encoder.embed_tokens.weight"} == set(shapes)
        assert network == {ours: shapes[theirs] for ours, theirs in found.items()}


def test_what_is_not_there_has_no_sizes() -> None:
    assert T5.measure(View({"a.weight": (1,)})) is None
