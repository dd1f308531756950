"""Models change their form and stay the same: every family both ways, number by number, and never half written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pinxit.plugins.manager import build_catalog
from pinxit.schema.errors import BadInput, BadModelFile, NumericError, OutOfSpace, UnknownModelFormat
from pinxit.studio.convert import Converted, Wish, convert, extract_vae, prune
from pinxit.studio.convert.understanding import open_source, parse_size, understand
from pinxit.weights import files
from pinxit.weights.folder import read_model
from pinxit.weights.numbers import decoded
from tests import tiny

CATALOG = build_catalog()
MAKERS: dict[str, Callable[[Path], Path]] = {
    name.removeprefix("make_"): maker for name, maker in vars(tiny).items() if name.startswith("make_")
}


def numbers(path: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a file, or of a folder with its part's name."""
    if path.is_file():
        return load_file(path)
    return {
        f"{file.parent.name}/{name}": tensor
        for file in sorted(path.rglob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def same(one: Path, other: Path, *, but: set[str] | None = None) -> None:
    first, second = numbers(one), numbers(other)
    assert set(first) ^ set(second) <= (but or set())
    assert all(torch.equal(first[name], second[name]) for name in set(first) & set(second))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """One tiny model of each family, made when it is asked for."""
    root = tmp_path_factory.mktemp("models")
    made: dict[str, Path] = {}

    def model(name: str) -> Path:
        if name not in made:
            made[name] = made_by(name, root)
        return made[name]

    return model


def made_by(name: str, root: Path) -> Path:
    """The tiny model `name`, which is a file or a folder."""
    try:
        return MAKERS[name](root / f"{name}.safetensors")
    except BadInput:
        return MAKERS[name](root / name)


@pytest.mark.parametrize("name", MAKERS)
def test_every_family_goes_both_ways(tmp_path: Path, name: str) -> None:
    path = made_by(name, tmp_path)
    other = tmp_path / ("other.safetensors" if path.is_dir() else "other")
    there = convert(path, other, CATALOG)
    back = convert(other, tmp_path / ("back" if path.is_dir() else "back.safetensors"), CATALOG)
    assert there.model == back.model
    assert set(there.components) == set(back.components)
    returned = tmp_path / ("back" if path.is_dir() else "back.safetensors")
    projections = {key for file in (path, returned) for key in numbers(file) if "text_projection" in key}
    same(path, returned, but=projections)
    assert sum(there.left_out.values()) <= 1
    one, two = (understand(open_source(model), CATALOG) for model in (path, other))
    facts = [known.family.facts(known.config) for known in (one, two) if known.family]
    assert facts[0].prediction == facts[1].prediction
    assert facts[0].process == facts[1].process


def test_a_folder_is_one_that_others_read(tmp_path: Path, models: Callable[[str], Path]) -> None:
    done = convert(models("sd1"), tmp_path / "m", CATALOG)
    names = {path.relative_to(tmp_path / "m").as_posix() for path in done.files}
    assert names == {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    }
    vocabulary = json.loads((tmp_path / "m/tokenizer/vocab.json").read_text("utf-8"))
    assert len(vocabulary) == 49408
    assert vocabulary["cat</w>"] == 2368
    assert len((tmp_path / "m/tokenizer/merges.txt").read_text("utf-8").splitlines()) == 48895
    again = convert(tmp_path / "m", tmp_path / "n", CATALOG, Wish(dtype="F32"))
    assert len(again.files) == len(done.files)
    assert (tmp_path / "n/tokenizer/vocab.json").read_bytes() == (tmp_path / "m/tokenizer/vocab.json").read_bytes()


def test_types_shards_and_parts(tmp_path: Path, models: Callable[[str], Path]) -> None:
    wish = Wish(dtype="BF16", max_shard_bytes=500_000, components=("unet", "vae"))
    done = convert(models("sd1"), tmp_path / "m", CATALOG, wish)
    assert all(path.stat().st_size < 600_000 for path in done.files if path.suffix == ".safetensors")
    assert (tmp_path / "m/unet/diffusion_pytorch_model.safetensors.index.json").is_file()
    assert {tensor.dtype for tensor in numbers(tmp_path / "m").values()} == {torch.bfloat16}
    index = json.loads((tmp_path / "m/model_index.json").read_text())
    assert index["text_encoder"] == index["tokenizer"] == [None, None]
    assert done.components == ("unet", "vae")
    assert done.left_out == {"the text_encoder was not asked for": 36}
    alone = convert(tmp_path / "m", tmp_path / "unet.safetensors", CATALOG, Wish(components=("unet",)))
    original = numbers(models("sd1"))
    kept = numbers(tmp_path / "unet.safetensors")
    assert all(torch.equal(tensor, original[name].bfloat16()) for name, tensor in kept.items())
    assert alone.tensors == len(kept)
    with pytest.raises(BadInput, match=r"holds no text_encoder_2 and no x.* It holds unet, vae, text_encoder"):
        convert(models("sd1"), tmp_path / "x", CATALOG, Wish(components=("unet", "text_encoder_2", "x")))


def test_what_a_file_says_of_itself_comes_along(tmp_path: Path, models: Callable[[str], Path]) -> None:
    path = tmp_path / "m.safetensors"
    save_file(
        numbers(models("sd1")),
        path,
        {"modelspec.title": "Mine", "modelspec.license": "MIT", "sshs_model_hash": "ab", "pinxit.history": "nonsense"},
    )
    convert(path, tmp_path / "folder", CATALOG)
    convert(tmp_path / "folder", tmp_path / "n.safetensors", CATALOG, Wish(dtype="F32"))
    metadata = read_model(tmp_path / "n.safetensors").metadata
    assert metadata["modelspec.title"] == "Mine"
    assert metadata["modelspec.license"] == "MIT"
    assert metadata["modelspec.prediction_type"] == "epsilon"
    assert "sshs_model_hash" not in metadata
    history = json.loads(metadata["pinxit.history"])
    assert [line["from"] for line in history] == ["m.safetensors", "folder"]
    assert history[1] | {"pinxit": ""} == {
        "did": "convert",
        "from": "folder",
        "layout": "sd1",
        "dtype": "F32",
        "pinxit": "",
    }


def test_a_card_beside_a_folder_gives_the_licence(tmp_path: Path, models: Callable[[str], Path]) -> None:
    convert(models("sd1"), tmp_path / "m", CATALOG)
    (tmp_path / "m/README.md").write_text("---\nlicense: apache-2.0\n---\n# Mine\n")
    convert(tmp_path / "m", tmp_path / "n.safetensors", CATALOG)
    assert "apache" in read_model(tmp_path / "n.safetensors").metadata["modelspec.license"].lower()
    convert(tmp_path / "m", tmp_path / "k", CATALOG)
    assert (tmp_path / "k/README.md").read_text().startswith("---\nlicense")


def test_velocity_and_its_markers_survive(tmp_path: Path, models: Callable[[str], Path]) -> None:
    path = tmp_path / "v.safetensors"
    save_file(numbers(models("sd1")) | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, path)
    convert(path, tmp_path / "folder", CATALOG)
    scheduler = json.loads((tmp_path / "folder/scheduler/scheduler_config.json").read_text())
    assert (scheduler["prediction_type"], scheduler["rescale_betas_zero_snr"]) == ("v_prediction", True)
    convert(tmp_path / "folder", tmp_path / "n.safetensors", CATALOG)
    same(path, tmp_path / "n.safetensors")
    assert read_model(tmp_path / "n.safetensors").metadata["modelspec.prediction_type"] == "v"
    pruned = prune(path, tmp_path / "p.safetensors", CATALOG)
    same(path, tmp_path / "p.safetensors")
    assert pruned.left_out == {}


def averaged(models: Callable[[str], Path], path: Path) -> Path:
    """SD 1 with averaged weights, a schedule and a stranger beside it."""
    tensors = numbers(models("sd1"))
    prefix = "model.diffusion_model."
    tensors |= {
        "model_ema.diffusion_model" + name.removeprefix(prefix).replace(".", ""): tensor + 1
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    save_file(tensors | {"betas": torch.zeros(1000), "stranger": torch.zeros(3)}, path)
    return path


def test_averages_are_dropped_kept_or_used(tmp_path: Path, models: Callable[[str], Path]) -> None:
    path = averaged(models, tmp_path / "m.safetensors")
    plain = numbers(models("sd1"))
    done = prune(path, tmp_path / "a.safetensors", CATALOG)
    same(models("sd1"), tmp_path / "a.safetensors")
    assert done.left_out["average of the training, beside the weights"] == sum("model.diff" in name for name in plain)
    assert done.left_out["nothing is known of them, such as stranger"] == 1
    prune(path, tmp_path / "b.safetensors", CATALOG, Wish(average="keep"))
    kept = numbers(tmp_path / "b.safetensors")
    assert len(kept) == len(plain) + sum("model.diff" in name for name in plain)
    convert(path, tmp_path / "c.safetensors", CATALOG, Wish(average="use"))
    used = numbers(tmp_path / "c.safetensors")
    name = "model.diffusion_model.input_blocks.0.0.weight"
    assert torch.equal(used[name], plain[name] + 1)
    with pytest.raises(BadInput, match="holds no averaged weights"):
        convert(models("sd1"), tmp_path / "d.safetensors", CATALOG, Wish(average="use"))


def test_pruning_keeps_the_layout(tmp_path: Path, models: Callable[[str], Path]) -> None:
    convert(models("sd1"), tmp_path / "m", CATALOG, Wish(dtype="F32"))
    done = prune(tmp_path / "m", tmp_path / "n", CATALOG)
    assert done.layout == "sd1-diffusers"
    assert {tensor.dtype for tensor in numbers(tmp_path / "n").values()} == {torch.float16}
    with pytest.raises(BadInput, match=r"m is a folder, and n.safetensors would not be one"):
        prune(tmp_path / "m", tmp_path / "n.safetensors", CATALOG)


def test_a_vae_by_itself(tmp_path: Path, models: Callable[[str], Path]) -> None:
    done = extract_vae(models("sd1"), tmp_path / "vae.safetensors", CATALOG)
    prefix = "first_stage_model."
    wanted = {name.removeprefix(prefix): tensor for name, tensor in numbers(models("sd1")).items() if prefix in name}
    found = numbers(tmp_path / "vae.safetensors")
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert done.model == "vae"
    convert(models("sd1"), tmp_path / "m", CATALOG)
    extract_vae(tmp_path / "m", tmp_path / "folder", CATALOG)
    config = json.loads((tmp_path / "folder/config.json").read_text())
    assert (config["_class_name"], config["scaling_factor"]) == ("AutoencoderKL", 0.18215)
    convert(tmp_path / "folder", tmp_path / "again.safetensors", CATALOG)
    same(tmp_path / "vae.safetensors", tmp_path / "again.safetensors")
    known: Any = understand(open_source(tmp_path / "vae.safetensors"), CATALOG).config
    assert known.latent.scale == 0.18215
    assert not known.assumed
    convert(tmp_path / "vae.safetensors", tmp_path / "same.safetensors", CATALOG, Wish(layout="same", dtype="BF16"))
    convert(models("sd1"), tmp_path / "u.safetensors", CATALOG, Wish(components=("unet",)))
    with pytest.raises(BadInput, match="holds no whole VAE"):
        extract_vae(tmp_path / "u.safetensors", tmp_path / "x.safetensors", CATALOG)


@pytest.mark.parametrize("zipped", [True, False])
def test_old_pickles_become_safetensors(tmp_path: Path, models: Callable[[str], Path], zipped: bool) -> None:
    content = {"state_dict": numbers(models("sd1")), "epoch": 4, "optimizer_states": [torch.zeros(3)]}
    torch.save(content, tmp_path / "old.ckpt", _use_new_zipfile_serialization=zipped)
    done = convert(tmp_path / "old.ckpt", tmp_path / "new.safetensors", CATALOG)
    same(models("sd1"), tmp_path / "new.safetensors")
    assert done.notes == ("left out beside the weights: optimizer_states",)
    assert read_model(tmp_path / "new.safetensors").metadata["legacy.epoch"] == "4"
    convert(tmp_path / "old.ckpt", tmp_path / "folder", CATALOG)
    convert(tmp_path / "folder", tmp_path / "back.safetensors", CATALOG)
    same(models("sd1"), tmp_path / "back.safetensors")
    with pytest.raises(BadModelFile, match=r"pinxit models convert OLD.ckpt NEW.safetensors"):
        read_model(tmp_path / "old.ckpt")


def test_a_folder_of_pickles(tmp_path: Path, models: Callable[[str], Path]) -> None:
    convert(models("sd1"), tmp_path / "m", CATALOG)
    for path in list((tmp_path / "m").rglob("*.safetensors")):
        torch.save(load_file(path), path.with_suffix(".bin"))
        path.unlink()
    convert(tmp_path / "m", tmp_path / "n.safetensors", CATALOG)
    same(models("sd1"), tmp_path / "n.safetensors")


def test_what_nobody_knows_keeps_its_names(tmp_path: Path) -> None:
    tensors = {"emb_params": torch.randn(3, 768), "turned": torch.randn(4, 5).T, "n": torch.arange(3)}
    torch.save(tensors, tmp_path / "old.pt")
    done = convert(tmp_path / "old.pt", tmp_path / "new.safetensors", CATALOG)
    assert (done.model, done.layout) in {("", "same"), ("embedding", "same")}
    found = numbers(tmp_path / "new.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    half = convert(tmp_path / "old.pt", tmp_path / "half.safetensors", CATALOG, Wish(layout="same", dtype="F16"))
    assert half.tensors == 3
    assert numbers(tmp_path / "half.safetensors")["n"].dtype == torch.int64
    with pytest.raises(UnknownModelFormat):
        prune(tmp_path / "new.safetensors", tmp_path / "x.safetensors", CATALOG)
    with pytest.raises(BadInput, match=r"must end in .safetensors"):
        convert(tmp_path / "old.pt", tmp_path / "x", CATALOG, Wish(layout="same"))


def test_8_bit_floats_are_widened(tmp_path: Path, models: Callable[[str], Path]) -> None:
    eight = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in numbers(models("sd1")).items()}
    save_file(eight, tmp_path / "m.safetensors")
    convert(tmp_path / "m.safetensors", tmp_path / "n.safetensors", CATALOG, Wish(dtype="F16"))
    found = numbers(tmp_path / "n.safetensors")
    assert all(torch.equal(found[name], tensor.half()) for name, tensor in eight.items())
    convert(tmp_path / "m.safetensors", tmp_path / "k", CATALOG)
    assert {tensor.dtype for tensor in numbers(tmp_path / "k").values()} == {torch.float8_e4m3fn}
    assert decoded is not None


def test_numbers_that_cannot_be(tmp_path: Path, models: Callable[[str], Path]) -> None:
    name = "model.diffusion_model.out.2.weight"
    tensors = {key: tensor.float() for key, tensor in numbers(models("sd1")).items()}
    tensors[name][0, 0, 0, 0] = 1e6
    save_file(tensors, tmp_path / "m.safetensors")
    with pytest.raises(NumericError, match=rf"{name} holds numbers that F16 cannot express.* Convert to bf16 or f32"):
        convert(tmp_path / "m.safetensors", tmp_path / "n.safetensors", CATALOG, Wish(dtype="F16"))
    convert(tmp_path / "m.safetensors", tmp_path / "bf.safetensors", CATALOG, Wish(dtype="BF16"))
    tensors[name][0, 0, 0, 0] = torch.nan
    save_file(tensors, tmp_path / "m.safetensors")
    for target in ("n.safetensors", "folder"):
        with pytest.raises(NumericError, match=r"out.* holds NaN or infinity"):
            convert(tmp_path / "m.safetensors", tmp_path / target, CATALOG)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bf.safetensors", "m.safetensors"]


def test_places_that_are_refused(
    tmp_path: Path, models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(models("sd1"), tmp_path / "m.safetensors"))
    with pytest.raises(BadInput, match="would replace what it is made from"):
        convert(path, path, CATALOG, Wish(overwrite=True))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.png").write_bytes(b"x")
    with pytest.raises(BadInput, match="photos is a folder, and no model that could be replaced"):
        convert(path, tmp_path / "photos", CATALOG, Wish(overwrite=True))
    convert(path, tmp_path / "n", CATALOG)
    with pytest.raises(BadInput, match="exists already"):
        convert(path, tmp_path / "n", CATALOG)
    convert(path, tmp_path / "n", CATALOG, Wish(overwrite=True))
    with pytest.raises(BadInput, match=r"There is no layout 'x'.* single, diffusers, same"):
        convert(path, tmp_path / "k", CATALOG, Wish(layout="x"))
    with pytest.raises(BadInput, match=r"must end in .safetensors"):
        convert(path, tmp_path / "k", CATALOG, Wish(layout="single"))
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(OutOfSpace, match="Nothing was written"):
        convert(path, tmp_path / "k.safetensors", CATALOG)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.safetensors", "n", "photos"]


def test_incomplete_models_are_refused(tmp_path: Path, models: Callable[[str], Path]) -> None:
    tensors = numbers(models("sd1"))
    del tensors["model.diffusion_model.out.0.weight"]
    save_file(tensors, tmp_path / "m.safetensors")
    with pytest.raises(
        BadModelFile, match=r"lacks 1 tensors of a sd1 model, such as model.diffusion_model.out.0.weight"
    ):
        convert(tmp_path / "m.safetensors", tmp_path / "n", CATALOG)
    assert convert(tmp_path / "m.safetensors", tmp_path / "n.safetensors", CATALOG, Wish(layout="same")).tensors == len(
        tensors
    )


MEASURE = """
import resource, sys, threading, time
from pathlib import Path
from pinxit.plugins.manager import build_catalog
from pinxit.studio.convert import Wish, convert
catalog = build_catalog()
source, target = map(Path, sys.argv[1:])
def used():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
before = peak = used()
def watch():
    global peak
    while True:
        peak = max(peak, used())
        time.sleep(0.001)
threading.Thread(target=watch, daemon=True).start()
convert(source, target, catalog, Wish(dtype="F16"))
print(peak - before, "torch" in sys.modules)
"""


def big(path: Path) -> Path:
    """A file of 200 MB that nobody knows."""
    save_file({f"t{n}": torch.ones(25_000, 250) for n in range(8)}, path)
    return path


def test_a_model_is_never_in_memory(tmp_path: Path) -> None:
    words = [sys.executable, "-c", MEASURE, str(big(tmp_path / "m.safetensors")), str(tmp_path / "n.safetensors")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    grown, torch_came = done.stdout.split()
    assert int(grown) < 64e6
    assert torch_came == "False"


def test_what_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    path = big(tmp_path / "m.safetensors")
    words = [sys.executable, "-m", "pinxit", "models", "convert", str(path), str(tmp_path / "out" / "n.safetensors")]
    words += ["--layout", "same"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    out = tmp_path / "out"
    until = time.monotonic() + 30
    while time.monotonic() < until and not any(file.stat().st_size for file in out.glob(".pinxit-*/*")):
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 130
    assert list(out.iterdir()) == []


def test_sizes_are_read() -> None:
    assert [parse_size(text) for text in ("2GB", "500 mb", "1.5GiB", "1000", "3k", None)] == [
        2 * 10**9,
        500 * 10**6,
        3 * 2**29,
        1000,
        3000,
        None,
    ]
    for text in ("", "many", "-1GB", "0", "1XB"):
        with pytest.raises(BadInput, match=r"is no size of a file.* Write it as in 2GB"):
            parse_size(text)


def test_the_result_is_plain_json(tmp_path: Path, models: Callable[[str], Path]) -> None:
    done = convert(models("sd1"), tmp_path / "n.safetensors", CATALOG)
    assert isinstance(done, Converted)
    assert json.loads(json.dumps(done.to_json()))["files"] == [str(tmp_path / "n.safetensors")]
