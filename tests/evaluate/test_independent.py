"""The independent network: read out of JavaScript without running any, and worked off as Keras means it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pinxit.evaluate.independent import Graph, Layer, json_of, load_network
from pinxit.schema.errors import BadInput
from tests.train.data import fakes

FOLDER = "dist/models/inception_v3/"


def row(name: str, kind: str, inputs: list[str], **config: Any) -> dict[str, Any]:
    nodes = [[[source, 0, 0, {}] for source in inputs]] if inputs else []
    return {"name": name, "class_name": kind, "config": {"name": name, **config}, "inbound_nodes": nodes}


ROWS = [
    row("input_1", "InputLayer", []),
    row("conv", "Conv2D", ["input_1"], strides=[2, 2], padding="valid", use_bias=False),
    row("norm", "BatchNormalization", ["conv"], epsilon=0.001),
    row("act", "Activation", ["norm"], activation="relu"),
    row("mean", "AveragePooling2D", ["act"], pool_size=[3, 3], strides=[1, 1], padding="same"),
    row("max", "MaxPooling2D", ["act"], pool_size=[3, 3], strides=[1, 1], padding="same"),
    row("both", "Concatenate", ["mean", "max"], axis=3),
    row("flat", "Flatten", ["both"]),
    row("drop", "Dropout", ["flat"], rate=0.5),
    row("dense", "Dense", ["drop"], activation="softmax"),
]
SHAPES = {
    "conv/kernel": [3, 3, 3, 2],
    "norm/beta": [2],
    "norm/moving_mean": [2],
    "norm/moving_variance": [2],
    "dense/kernel": [36, 4],
    "dense/bias": [4],
}


def package(folder: Path, rows: list[dict[str, Any]] = ROWS, spare: bytes = b"") -> tuple[Path, bytes]:
    """A package with a small network in two shards, and the bytes of its weights."""
    count = sum(int(np.prod(shape)) for shape in SHAPES.values())
    data = np.random.default_rng(0).integers(0, 256, count, np.uint8).tobytes()
    weights = [
        {
            "name": name,
            "shape": shape,
            "dtype": "float32",
            "quantization": {"min": -0.5, "scale": 0.01, "dtype": "uint8"},
        }
        if "variance" not in name
        else {"name": name, "shape": shape, "quantization": {"min": 0.1, "scale": 0.01}}
        for name, shape in SHAPES.items()
    ]
    told = {
        "modelTopology": {"model_config": {"config": {"layers": rows, "sparse": False, "trainable": True}}},
        "weightsManifest": [{"paths": ["one", "two"], "weights": weights}],
    }
    script = json.dumps(told).replace('"sparse": false', "sparse:!1").replace('"scale": 0.01', "scale:.01")
    script = script.replace('"trainable": true', "trainable:!0").replace('"min": -0.5', "min:-.5")
    shards = {"one": data[:50], "two": data[50:] + spare}
    files = {FOLDER + "model.min.js": f"!function(){{n.exports={script}}}()".encode()}
    for name, part in shards.items():
        files[f"{FOLDER}{name}.min.js"] = f'x.exports="{base64.b64encode(part).decode()}"}},'.encode()
    return fakes.pack(folder, files), data


def test_the_network_is_what_keras_would_compute(tmp_path: Path) -> None:
    path, data = package(tmp_path / "p")
    graph = load_network(path)
    assert len(graph.layers) == len(ROWS)
    x = torch.from_numpy(np.random.default_rng(1).random((2, 3, 7, 7), np.float32))
    found = graph.run(x, ["act", "dense"])

    values, at = {}, 0
    for name, shape in SHAPES.items():
        count, low = int(np.prod(shape)), 0.1 if "variance" in name else -0.5
        values[name] = torch.from_numpy(np.frombuffer(data, np.uint8, count, at).astype(np.float32) * 0.01 + low)
        values[name] = values[name].reshape(shape).float()
        at += count
    y = F.conv2d(x, values["conv/kernel"].permute(3, 2, 0, 1), stride=2)
    scale = (values["norm/moving_variance"] + 0.001).rsqrt()
    y = (y - values["norm/moving_mean"][:, None, None]) * scale[:, None, None] + values["norm/beta"][:, None, None]
    y = y.relu()
    torch.testing.assert_close(found["act"], y)
    mean = F.avg_pool2d(F.pad(y, (1, 1, 1, 1)), 3, 1) * 9
    mean = mean / (F.avg_pool2d(F.pad(torch.ones_like(y), (1, 1, 1, 1)), 3, 1) * 9)
    both = torch.cat([mean, F.max_pool2d(y, 3, 1, 1)], dim=1).permute(0, 2, 3, 1).flatten(1)
    expected = (both @ values["dense/kernel"] + values["dense/bias"]).softmax(dim=1)
    torch.testing.assert_close(found["dense"], expected)


def test_a_literal_is_read_as_json() -> None:
    found = json_of('a;exports={a:!0,"b:c":[!1,.5,-.25,1e-3],s:"x,y:!1 .5",n:null}};b')
    assert found == {"a": True, "b:c": [False, 0.5, -0.25, 0.001], "s": "x,y:!1 .5", "n": None}


@pytest.mark.parametrize("script", ["", "exports={", "exports={a:alert(1)}"])
def test_a_script_is_never_run(script: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        json_of(script)


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"package\.tgz holds no network as expected"):
        load_network(fakes.pack(tmp_path / "a", {"x": b""}))
    with pytest.raises(BadInput, match="bytes of weights"):
        load_network(package(tmp_path / "b", spare=b"!")[0])


def test_unknown_layers_are_named() -> None:
    graph = Graph(layers=(Layer(name="odd", kind="Lambda", config={}, inputs=()),), weights={})
    with pytest.raises(BadInput, match="a layer odd of the kind Lambda"):
        graph.run(torch.zeros(1, 3, 4, 4), ["odd"])
