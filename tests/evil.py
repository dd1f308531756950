"""Every evil model file that the tests know, by name: what it is called below a folder, and how it is made there."""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from pinxit.plugins.manager import build_catalog
from pinxit.studio.convert import convert
from pinxit.weights.header import read_header
from tests import pickles
from tests.tiny import make_sd1
from tests.weights.files import described, manifest, raw_file, sparse_file
from tests.weights.test_gguf import EVIL as GGUF
from tests.weights.test_header import CASES, FOREIGN

Make = Callable[[Path], Path]
"""Makes the file (or folder) in an empty folder, and returns its path."""


def _bytes(data: bytes, name: str = "evil.safetensors") -> Make:
    def make(root: Path) -> Path:
        (root / name).write_bytes(data)
        return root / name

    return make


def _header(header: object, data: bytes) -> Make:
    return lambda root: raw_file(root / "evil.safetensors", header, data)


def _pickle(write: pickles.Write, name: str = "evil.ckpt") -> Make:
    def make(root: Path) -> Path:
        write(root / name)
        return root / name

    return make


def _shards(weight_map: object, text: bytes | None = None) -> Make:
    def make(root: Path) -> Path:
        sparse_file(root / "m-00001-of-00001.safetensors", {"a": (2,)})
        index = root / "m.safetensors.index.json"
        index.write_bytes(text if text is not None else json.dumps({"weight_map": weight_map}).encode())
        return index

    return make


def _folder(files: Mapping[str, bytes]) -> Make:
    """A tiny folder of SD 1 with some files replaced."""

    def make(root: Path) -> Path:
        model = _sd1_folder(root / "model")
        for name, data in files.items():
            (model / name).write_bytes(data)
        return model

    return make


def _checkpoint(change: Callable[[dict[str, tuple[int, ...]]], object], *, dtype: str = "F16") -> Make:
    """A tiny file of SD 1, of zeros, with its names and shapes changed."""

    def make(root: Path) -> Path:
        shapes = dict(_sd1_shapes())
        change(shapes)
        return sparse_file(root / "evil.safetensors", shapes, dtype=dtype)

    return make


@cache
def _sd1_shapes() -> dict[str, tuple[int, ...]]:
    with tempfile.TemporaryDirectory() as folder:
        return read_header(make_sd1(Path(folder) / "m.safetensors")).shapes


def _sd1_folder(root: Path) -> Path:
    path = sparse_file(root.parent / "whole.safetensors", _sd1_shapes(), dtype="F16")
    convert(path, root, build_catalog())
    path.unlink()
    return root


def _holed(root: Path) -> Path:
    path = root / "evil.safetensors"
    path.write_bytes(struct.pack("<Q", 2**30) + b"{")
    os.truncate(path, 2**30 + 8)
    return path


def _named(name: str) -> Make:
    return lambda root: sparse_file(root / name, {"a": (1,)})


def _linked(target: str) -> Make:
    def make(root: Path) -> Path:
        (root / "evil.safetensors").symlink_to(target)
        return root / "evil.safetensors"

    return make


def _pipe(root: Path) -> Path:
    os.mkfifo(root / "evil.safetensors")
    return root / "evil.safetensors"


def _piped_part(root: Path) -> Path:
    model = _sd1_folder(root / "model")
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    os.mkfifo(weights)
    return model


def _nan(root: Path) -> Path:
    """A VAE whose every number is NaN."""
    prefix = "first_stage_model."
    shapes = {name.removeprefix(prefix): shape for name, shape in _sd1_shapes().items() if name.startswith(prefix)}
    told = described(shapes, dtype="F8_E4M3")
    header = json.dumps(told).encode()
    data = b"\x7f" * max(info["data_offsets"][1] for info in told.values())
    path = root / "vae.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


UNET = "model.diffusion_model."
DEEP = b'{"a":' + b"[" * 200_000
FILES: dict[str, Make] = {
    **{f"foreign: {name}": _bytes(data) for name, (data, _) in FOREIGN.items()},
    **{f"foreign .ckpt: {name}": _bytes(data, "evil.ckpt") for name, (data, _) in FOREIGN.items()},
    **{f"header: {name}": _header(header, data) for name, (header, data, _) in CASES.items()},
    **{f"pickle: {name}": _pickle(write) for name, (write, _) in pickles.EVIL.items()},
    **{f"gguf: {name}": _bytes(data, "evil.gguf") for name, (data, _) in GGUF.items()},
    "a pickle named .safetensors": _pickle(pickles.EVIL["os.system"][0], "evil.safetensors"),
    "a zip of a pickle named .safetensors": _pickle(
        pickles.EVIL["os.system inside a checkpoint"][0], "evil.safetensors"
    ),
    "a header of 1 GB": _holed,
    "200,000 empty tensors": _header(described({f"t{n}": (0,) for n in range(200_000)}), b""),
    "NaN everywhere": _nan,
    "a pipe": _pipe,
    "a device": lambda root: Path("/dev/zero"),
    "a folder": lambda root: root,
    "nothing there": lambda root: root / "none.safetensors",
    "a link to itself": _linked("evil.safetensors"),
    "a link to nothing": _linked("nothing"),
    "a link to a device": _linked("/dev/zero"),
    "a link to a text": _linked("/etc/hostname"),
    "a name of 300 characters": lambda root: root / ("n" * 300 + ".safetensors"),
    "a name with a zero": lambda root: root / "a\0b.safetensors",
    "a name that acts on terminals": _named("\x1b[31mred\u202e.safetensors"),
    "an index out of its folder": _shards({"a": "../../../etc/passwd"}),
    "an absolute index": _shards({"a": "/etc/passwd.safetensors"}),
    "an index of numbers": _shards({"a": 3}),
    "an index of nothing": _shards(None),
    "an index of 600 shards": _shards({str(n): f"{n}.safetensors" for n in range(600)}),
    "an index with a wrong place": _shards({"b": "m-00001-of-00001.safetensors"}),
    "an index that is deep": _shards(None, DEEP),
    "an index that is long": _shards(None, b" " * (9 * 2**20)),
    "an index with a key twice": _shards(None, b'{"weight_map": {}, "weight_map": {}}'),
    "model_index of a path": _folder({"model_index.json": b'{"../unet": ["diffusers", "UNet"]}'}),
    "model_index of 100 parts": _folder(
        {"model_index.json": json.dumps({f"p{n}": ["a", "b"] for n in range(100)}).encode()}
    ),
    "model_index that is a list": _folder({"model_index.json": b"[1]"}),
    "model_index that is deep": _folder({"model_index.json": DEEP}),
    "model_index of another program": _folder(
        {"model_index.json": b'{"unet": ["os", "system"], "vae": ["x", "__import__"]}'}
    ),
    "config of nonsense": _folder({"unet/config.json": b'{"attention_head_dim": "many"}'}),
    "config of enormous heads": _folder({"unet/config.json": b'{"attention_head_dim": 999999999999}'}),
    "config of negative heads": _folder({"unet/config.json": b'{"attention_head_dim": -8}'}),
    "config with no heads": _folder({"unet/config.json": b'{"attention_head_dim": [0, 0, 0, 0]}'}),
    "config with NaN": _folder({"vae/config.json": b'{"scaling_factor": NaN, "norm_num_groups": Infinity}'}),
    "config of a text": _folder({"unet/config.json": b'"unet"'}),
    "config that is deep": _folder({"vae/config.json": DEEP}),
    "config that is no UTF-8": _folder({"vae/config.json": b"\xff\xfe{}"}),
    "text config of no layers": _folder(
        {"text_encoder/config.json": b'{"num_attention_heads": 7, "hidden_act": "eval"}'}
    ),
    "scheduler of nonsense": _folder({"scheduler/scheduler_config.json": b'{"prediction_type": "__import__(\'os\')"}'}),
    "scheduler of wrong types": _folder(
        {"scheduler/scheduler_config.json": b'{"prediction_type": ["v"], "rescale_betas_zero_snr": "x"}'}
    ),
    "tokenizer of nonsense": _folder({"tokenizer_config.json": b"[]"}),
    "weights that are a page": _folder({"unet/diffusion_pytorch_model.safetensors": b"<!DOCTYPE html><html>"}),
    "weights that are a pickle": _folder({"vae/diffusion_pytorch_model.safetensors": b"\x80\x02cos\nsystem\n."}),
    "weights that are a pipe": _piped_part,
    "half of the U-Net": _checkpoint(lambda shapes: [shapes.pop(name) for name in list(shapes)[::2]]),
    "a U-Net of no channels": _checkpoint(
        lambda shapes: shapes.update({f"{UNET}input_blocks.0.0.weight": (0, 4, 3, 3)})
    ),
    "a U-Net of 7 channels in": _checkpoint(
        lambda shapes: shapes.update({f"{UNET}input_blocks.0.0.weight": (32, 7, 3, 3)})
    ),
    "a convolution that is a vector": _checkpoint(
        lambda shapes: shapes.update({f"{UNET}input_blocks.0.0.weight": (32,)})
    ),
    "an output that is a number": _checkpoint(lambda shapes: shapes.update({f"{UNET}out.2.weight": ()})),
    "keys of another width": _checkpoint(
        lambda shapes: shapes.update({f"{UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight": (64, 13)})
    ),
    "a thousand strangers": _checkpoint(lambda shapes: shapes.update({f"stranger.{n}": (1,) for n in range(5000)})),
    "whole numbers for weights": _checkpoint(lambda shapes: None, dtype="I32"),
    "true or false for weights": _checkpoint(lambda shapes: None, dtype="BOOL"),
    "a level without end": _checkpoint(
        lambda shapes: shapes.update({f"{UNET}input_blocks.{n}.0.in_layers.0.weight": (1,) for n in range(4, 4000)})
    ),
    "a text encoder of 5,000 layers": _checkpoint(
        lambda shapes: shapes.update(
            {
                f"cond_stage_model.transformer.text_model.encoder.layers.{n}.layer_norm1.weight": (1,)
                for n in range(5000)
            }
        )
    ),
    "two families at once": _checkpoint(lambda shapes: shapes.update(manifest("sd35-medium"))),
}
HARMLESS = (
    "a name that acts on terminals",
    "config with NaN",
    "model_index of another program",
    "tokenizer of nonsense",
    "keys of another width",
    "a thousand strangers",
    "two families at once",
)
"""What is wrong with these concerns painting alone, or is left out; a conversion may go well."""

HEAVY = (
    "header: deeply nested",
    "header: 20,001 tensors",
    "header: 100,000 numbers",
    "header: three million objects",
    "200,000 empty tensors",
    "a header of 1 GB",
    "NaN everywhere",
    "an index that is deep",
    "an index that is long",
    "model_index that is deep",
    "a level without end",
    "a text encoder of 5,000 layers",
    "pickle: ten million marks",
    "pickle: compressed storage",
    "pickle: a terabyte of one number",
    "gguf: a billion tensors",
)
"""Those that ask for memory."""
