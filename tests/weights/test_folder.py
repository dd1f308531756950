from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from pinxit.schema.errors import BadModelFile
from pinxit.weights.folder import read_model
from pinxit.weights.settings import Settings, read_json
from tests.weights.files import sparse_file


def shards(root: Path, weight_map: object) -> Path:
    sparse_file(root / "m-00001-of-00002.safetensors", {"a": (2,)})
    sparse_file(root / "m-00002-of-00002.safetensors", {"b": (3,)})
    index = root / "m.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 20}, "weight_map": weight_map}))
    return index


GOOD_MAP = {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"}


def test_shards_are_one_model(tmp_path: Path) -> None:
    header = read_model(shards(tmp_path, GOOD_MAP))
    assert header.shapes == {"a": (2,), "b": (3,)}
    assert header.tensors["b"].path.name == "m-00002-of-00002.safetensors"
    assert len(header.sizes) == 2


@pytest.mark.parametrize(
    ("weight_map", "expected"),
    [
        (None, "has no weight_map"),
        ({**GOOD_MAP, "a": "../m.safetensors"}, "not a plain .safetensors file name"),
        ({**GOOD_MAP, "a": "/etc/passwd.safetensors"}, "not a plain .safetensors file name"),
        ({**GOOD_MAP, "a": "sub/m.safetensors"}, "not a plain .safetensors file name"),
        ({**GOOD_MAP, "a": "sub\\m.safetensors"}, "not a plain .safetensors file name"),
        ({**GOOD_MAP, "a": "m.bin"}, "not a plain .safetensors file name"),
        ({**GOOD_MAP, "a": "m.safetensors\n"}, "not a plain .safetensors file name"),
        ({**GOOD_MAP, "a": 3}, "not a plain .safetensors file name"),
        ({**GOOD_MAP, "c": "m-00003-of-00002.safetensors"}, "shard m-00003-of-00002.safetensors of .* is missing"),
        ({"a": GOOD_MAP["a"], "c": GOOD_MAP["b"]}, "holds the tensor 'b', which .* does not place there"),
        ({"a": GOOD_MAP["b"], "b": GOOD_MAP["b"]}, "lack 1 of its tensors, such as 'a'"),
        ({str(n): f"{n}.safetensors" for n in range(600)}, "lists 600 shards, at most 512"),
    ],
)
def test_evil_indexes_are_refused(tmp_path: Path, weight_map: object, expected: str) -> None:
    began = time.process_time()
    with pytest.raises(BadModelFile, match=expected):
        read_model(shards(tmp_path, weight_map))
    assert time.process_time() - began < 10


def folder(root: Path, index: object) -> Path:
    root.mkdir(exist_ok=True)
    (root / "model_index.json").write_text(json.dumps(index))
    return root


def test_a_folder_of_parts(tmp_path: Path) -> None:
    root = folder(
        tmp_path / "m",
        {
            "_class_name": "X",
            "unet": ["diffusers", "UNet"],
            "vae": ["diffusers", "VAE"],
            "safety_checker": [None, None],
            "feature_extractor": ["transformers", "CLIP"],
            "scheduler": ["diffusers", "DDIM"],
            "requires_safety_checker": False,
        },
    )
    sparse_file(root / "unet" / "diffusion_pytorch_model.safetensors", {"a": (2,)})
    sparse_file(root / "vae" / "diffusion_pytorch_model.fp16.safetensors", {"a": (3,)}, dtype="F16")
    sparse_file(root / "safety_checker" / "model.safetensors", {"a": (4,)})
    (root / "scheduler").mkdir()
    (root / "scheduler" / "scheduler_config.json").write_text('{"prediction_type": "epsilon"}')
    for part in ("unet", "vae"):
        (root / part / "config.json").write_text('{"in_channels": 4}')
    header = read_model(root)
    assert header.shapes == {"unet/a": (2,), "vae/a": (3,)}
    assert header.configs["scheduler/scheduler_config.json"] == {"prediction_type": "epsilon"}
    assert header.tensors["unet/a"].name == "a"
    part = read_model(root / "vae", variant="fp16")
    assert (part.path, part.shapes, part.configs) == (root / "vae", {"a": (3,)}, {"config.json": {"in_channels": 4}})
    with pytest.raises(
        BadModelFile, match=r"no weights named diffusion_pytorch_model.bf16.safetensors; it has diffusion"
    ):
        read_model(root / "vae", variant="bf16")


def test_folders_without_weights_say_why(tmp_path: Path) -> None:
    with pytest.raises(BadModelFile, match="The folder m holds no weights"):
        read_model(folder(tmp_path / "m", {"unet": ["diffusers", "UNet"]}))
    (tmp_path / "m" / "unet").mkdir()
    (tmp_path / "m" / "unet" / "config.json").write_text("{}")
    (tmp_path / "m" / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"PK\x03\x04")
    with pytest.raises(BadModelFile, match=r"weights of unet are a pickle, .* Convert it to safetensors first"):
        read_model(tmp_path / "m")
    with pytest.raises(BadModelFile, match="lists parts that are no folder names"):
        read_model(folder(tmp_path / "m", {"../unet": ["diffusers", "UNet"]}))
    with pytest.raises(BadModelFile, match="lists parts that are no folder names"):
        read_model(folder(tmp_path / "m", {f"p{n}": ["a", "b"] for n in range(40)}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadModelFile, match="The folder empty holds no model"):
        read_model(tmp_path / "empty")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"[1]", "is not a JSON object"),
        (b"{", "is not valid JSON"),
        (b"\xff{}", "is not valid JSON"),
        (b'{"a":' + b"[" * 100_000, "is not valid JSON"),
        (b'{"a": 1, "a": 2}', "gives one key twice"),
        (b" " * 2000, "is longer than 1,000 bytes"),
    ],
)
def test_json_files_are_bounded(tmp_path: Path, text: bytes, expected: str) -> None:
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(BadModelFile, match=expected):
        read_json(tmp_path / "config.json", limit=1000 if len(text) == 2000 else 10**6)


def test_missing_json(tmp_path: Path) -> None:
    with pytest.raises(BadModelFile, match=r"config.json in .* is missing"):
        read_json(tmp_path / "config.json")


def test_settings_are_typed() -> None:
    values = {"n": 3, "list": [1, 2], "x": 0.5, "t": "a", "f": True, "none": None}
    settings = Settings(source="unet/config.json", values=values)
    assert settings.integer("n") == 3
    assert settings.integers("list") == (1, 2)
    assert settings.number("x") == 0.5
    assert settings.number("n") == 3.0
    assert settings.text("t") == "a"
    assert settings.flag("f") is True
    assert settings.is_list("list")
    getters = (settings.integer, settings.integers, settings.number, settings.text, settings.flag)
    assert all(get("none") is None and get("absent") is None for get in getters)
    with pytest.raises(BadModelFile, match=r"unet/config.json: f is True, expected a whole number from 1 to"):
        settings.integer("f")
    with pytest.raises(BadModelFile, match="n is 3, expected a whole number from 1 to 2"):
        settings.integer("n", high=2)
    with pytest.raises(BadModelFile, match="n is 3, expected a list of whole numbers"):
        settings.integers("n")
    with pytest.raises(BadModelFile, match="expected a list of whole numbers from 2"):
        settings.integers("list", low=2)
    with pytest.raises(BadModelFile, match="f is True, expected a finite number"):
        settings.number("f")
    with pytest.raises(BadModelFile, match="n is 3, expected a short text"):
        settings.text("n")
    with pytest.raises(BadModelFile, match="t is 'a', expected true or false"):
        settings.flag("t")
    with pytest.raises(BadModelFile, match="expected a finite number"):
        Settings(source="s", values={"x": float("nan")}).number("x")
