"""A second opinion: features of an InceptionV3 that was trained by others, for distances no loss of ours has seen.

The npm package nsfwjs carries its weights, eight bits each, and the Keras graph that they belong to, both inside
JavaScript files. Nothing of them is run: the graph is read as JSON and worked off layer by layer. It was trained on
other pictures than the Inception of published FIDs, so its numbers compare only with one another.
"""

from __future__ import annotations

import base64
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pinxit.schema.errors import BadInput
from pinxit.train.data.sources import Pinned

NETWORK = Pinned(
    name="nsfwjs",
    client="npm",
    package="nsfwjs",
    version="4.3.0",
    sha256="4496790efc9bdc6f3e85a826a8e482c1fa1e9db4b3d18c095e98cc0c73cfb12f",
    licence="MIT",
    author="Infinite Red, Inc.",
)
LABEL = "nsfwjs-Inception"
SIDE = 299
FEATURES = "average_pooling2d_10"
_FOLDER = "package/dist/models/inception_v3/"
_JAVASCRIPT = re.compile(r'"(?:[^"\\]|\\.)*"|([A-Za-z_$]\w*)(?=:)|!([01])|(?<![\w.])(?=\.\d)')
"""Strings, bare keys, `!0` and `!1`, numbers without their zero: what tells a literal from JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One step of the graph. `inputs` name the layers whose outputs it takes."""

    name: str
    kind: str
    config: Mapping[str, Any]
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A Keras model: its layers in an order in which they can be worked off, and their float32 weights by name."""

    layers: tuple[Layer, ...]
    weights: Mapping[str, Tensor]

    def run(self, x: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """The outputs of the layers `wanted` for pictures [B, 3, H, W]; the others are dropped after their last use."""
        last = {name: at for at, layer in enumerate(self.layers) for name in layer.inputs}
        values: dict[str, Tensor] = {}
        for at, layer in enumerate(self.layers):
            taken = [values[name] for name in layer.inputs] or [x]
            values[layer.name] = _worked(layer, taken, self.weights)
            for name in layer.inputs:
                if last[name] == at and name not in wanted:
                    values.pop(name, None)
        return {name: values[name] for name in wanted}


def load_network(package: Path) -> Graph:
    """The InceptionV3 in the package file. Raises BadInput when it is not laid out as expected."""
    try:
        with tarfile.open(package) as archive:
            told = json_of(_text(archive, "model.min.js"))
            groups = told["weightsManifest"]
            data = b"".join(_bytes(archive, path) for group in groups for path in group["paths"])
        rows: list[Any] = told["modelTopology"]["model_config"]["config"]["layers"]
        layers = tuple(
            Layer(
                name=row["name"],
                kind=row["class_name"],
                config=row["config"],
                inputs=tuple(node[0] for nodes in row["inbound_nodes"] for node in nodes),
            )
            for row in rows
        )
        return Graph(layers=layers, weights=_weights([spec for group in groups for spec in group["weights"]], data))
    except (KeyError, TypeError, ValueError, IndexError, tarfile.TarError) as error:
        raise BadInput(
            f"{package.name} holds no network as expected: {error}.", hint="Delete it and fetch it again."
        ) from error


def _text(archive: tarfile.TarFile, name: str) -> str:
    file = archive.extractfile(_FOLDER + name)
    if file is None:
        raise KeyError(name)
    return file.read().decode()


def json_of(script: str) -> Any:
    """The first object literal that a script exports. Raises ValueError when there is none."""
    literal = script[script.index("exports={") + len("exports=") :]
    return json.JSONDecoder().raw_decode(_JAVASCRIPT.sub(_as_json, literal))[0]


def _as_json(found: re.Match[str]) -> str:
    if found[1]:
        return f'"{found[1]}"'
    if found[2]:
        return "false" if found[2] == "1" else "true"
    return found[0] or "0"


def _bytes(archive: tarfile.TarFile, name: str) -> bytes:
    found = re.search(r'exports="([A-Za-z0-9+/=]*)"', _text(archive, f"{name}.min.js"))
    if found is None:
        raise ValueError(f"{name} holds no data")
    return base64.b64decode(found[1], validate=True)


def _weights(specs: Sequence[Mapping[str, Any]], data: bytes) -> dict[str, Tensor]:
    """Weights out of the bytes: value = byte x scale + minimum."""
    weights: dict[str, Tensor] = {}
    at = 0
    for spec in specs:
        shape, scaled = spec["shape"], spec["quantization"]
        count = int(np.prod(shape))
        values = np.frombuffer(data, np.uint8, count, at).astype(np.float32)
        weights[spec["name"]] = torch.from_numpy(values * scaled["scale"] + scaled["min"]).reshape(shape)
        at += count
    if at != len(data):
        raise ValueError(f"{len(data)} bytes of weights, {at} expected")
    return {name: _turned(value) for name, value in weights.items()}


def _turned(weight: Tensor) -> Tensor:
    """A convolution's [H, W, in, out] as torch has it, and a dense layer's [in, out]."""
    if weight.ndim == 4:
        return weight.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    return weight.T.contiguous() if weight.ndim == 2 else weight


def _worked(layer: Layer, taken: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    config, x, name = layer.config, taken[0], layer.name
    match layer.kind:
        case "InputLayer" | "Dropout":
            return x
        case "Conv2D":
            kernel = weights[f"{name}/kernel"]
            return F.conv2d(x, kernel, stride=config["strides"], padding=_padding(config, kernel.shape[2:]))
        case "BatchNormalization":
            mean, variance, shift = (weights[f"{name}/{part}"] for part in ("moving_mean", "moving_variance", "beta"))
            return F.batch_norm(x, mean, variance, weights.get(f"{name}/gamma"), shift, eps=config["epsilon"])
        case "Activation":
            return _activated(x, config["activation"])
        case "MaxPooling2D":
            return F.max_pool2d(x, config["pool_size"], config["strides"], _padding(config, config["pool_size"]))
        case "AveragePooling2D":
            padding = _padding(config, config["pool_size"])
            return F.avg_pool2d(x, config["pool_size"], config["strides"], padding, count_include_pad=False)
        case "Concatenate":
            return torch.cat(list(taken), dim=1)
        case "Flatten":
            return x.permute(0, 2, 3, 1).flatten(1)
        case "Dense":
            return _activated(F.linear(x, weights[f"{name}/kernel"], weights[f"{name}/bias"]), config["activation"])
        case kind:
            raise BadInput(f"The network has a layer {name} of the kind {kind}, which is not known here.")


def _padding(config: Mapping[str, Any], kernel: Sequence[int]) -> tuple[int, int]:
    """Keras's `same` is symmetric where an odd kernel moves by one."""
    if config["padding"] == "valid":
        return 0, 0
    if any(size % 2 == 0 for size in kernel) or any(step != 1 for step in config["strides"]):
        raise BadInput(f"The network pads a layer in a way that is not known here: {config['name']}.")
    return kernel[0] // 2, kernel[1] // 2


def _activated(x: Tensor, name: str) -> Tensor:
    match name:
        case "linear":
            return x
        case "relu":
            return x.relu()
        case "softmax":
            return x.softmax(dim=1)
        case _:
            raise BadInput(f"The network has an activation {name}, which is not known here.")


@torch.inference_mode()
def inception_features(graph: Graph, pictures: Tensor, *, batch: int = 8) -> NDArray[np.float64]:
    """Features [N, 2048] of uint8 pictures [N, 3, H, W] of any size."""
    found: list[Tensor] = []
    for at in range(0, len(pictures), batch):
        x = pictures[at : at + batch].float() / 255
        x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        x = x.contiguous(memory_format=torch.channels_last)
        found.append(graph.run(x, [FEATURES])[FEATURES].flatten(1))
    return torch.cat(found).double().numpy()
