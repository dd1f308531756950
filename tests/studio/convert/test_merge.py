"""Mixtures are what the formulas say, and refuse what does not fit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pinxit.plugins.manager import build_catalog
from pinxit.schema.errors import BadInput, UnknownName
from pinxit.studio.convert import Mixture, Wish, convert, merge
from pinxit.studio.convert.blocks import PRESETS, block_of, blocks_of, read_blocks
from pinxit.weights.folder import read_model
from tests.tiny import make_sd1, make_sd2

CATALOG = build_catalog()
UNET = "model.diffusion_model."
CONV_IN = f"{UNET}input_blocks.0.0.weight"
ALL = ("IN00", "IN01", "IN02", "M00", "OUT00", "OUT01", "OUT02")


def variant(path: Path, base: Path, seed: int, *, channels: int = 4) -> Path:
    """A model like `base` with other numbers, and with more input channels if wanted."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(tensor.shape, generator=generator).half() for name, tensor in load_file(base).items()}
    conv = tensors[CONV_IN]
    if channels > 4:
        tensors[CONV_IN] = torch.randn((conv.shape[0], channels, 3, 3), generator=generator).half()
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def abc(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    root = tmp_path_factory.mktemp("merge")
    a = make_sd1(root / "a.safetensors")
    return a, variant(root / "b.safetensors", a, 1), variant(root / "c.safetensors", a, 2)


def test_weighted_sums(tmp_path: Path, abc: tuple[Path, Path, Path]) -> None:
    a, b, _ = abc
    done = merge([a, b], tmp_path / "m.safetensors", CATALOG, Mixture(ratio=0.4, text="merge"))
    mixed, first, second = (load_file(path) for path in (tmp_path / "m.safetensors", a, b))
    assert done.model == "sd1"
    for name, tensor in mixed.items():
        wanted = first[name].float() * 0.6 + second[name].float() * 0.4
        expected = first[name] if name.startswith("first_stage") else wanted.half()
        torch.testing.assert_close(tensor, expected, rtol=0, atol=2e-3 * float(wanted.abs().max()))
        assert tensor.dtype == torch.float16
        if name.startswith("first_stage"):
            assert torch.equal(tensor, first[name])


def test_the_ends_are_exact(tmp_path: Path, abc: tuple[Path, Path, Path]) -> None:
    a, b, _ = abc
    for ratio, owner in ((0.0, a), (1.0, b)):
        merge(
            [a, b],
            tmp_path / "m.safetensors",
            CATALOG,
            Mixture(ratio=ratio, text="merge", vae="merge"),
            Wish(overwrite=True),
        )
        mixed, whole = load_file(tmp_path / "m.safetensors"), load_file(owner)
        assert all(torch.equal(mixed[name], whole[name]) for name in whole)


def test_added_differences(tmp_path: Path, abc: tuple[Path, Path, Path]) -> None:
    a, b, c = abc
    merge([a, b, c], tmp_path / "m.safetensors", CATALOG, Mixture(mode="add-difference", ratio=0.7), Wish(dtype="F32"))
    mixed, one, two, three = (load_file(path) for path in (tmp_path / "m.safetensors", a, b, c))
    for name, tensor in mixed.items():
        wanted = one[name].float() + 0.7 * (two[name].float() - three[name].float())
        torch.testing.assert_close(tensor, wanted if name.startswith(UNET) else one[name].float(), rtol=1e-6, atol=1e-6)
    merge([a, b, b], tmp_path / "n.safetensors", CATALOG, Mixture(mode="add-difference", ratio=0.7))
    assert all(torch.equal(tensor, one[name]) for name, tensor in load_file(tmp_path / "n.safetensors").items())


def test_blocks_have_ratios_of_their_own(tmp_path: Path, abc: tuple[Path, Path, Path]) -> None:
    a, b, _ = abc
    merge([a, b], tmp_path / "m.safetensors", CATALOG, Mixture(ratio=0.0, blocks="in01=1,mid=1"))
    mixed, first, second = (load_file(path) for path in (tmp_path / "m.safetensors", a, b))
    for name, tensor in mixed.items():
        theirs = name.startswith((f"{UNET}input_blocks.1.", f"{UNET}middle_block."))
        assert torch.equal(tensor, (second if theirs else first)[name]), name


def test_networks_are_taken_from_where_they_are_wanted(tmp_path: Path, abc: tuple[Path, Path, Path]) -> None:
    a, b, _ = abc
    merge([a, b], tmp_path / "m.safetensors", CATALOG, Mixture(ratio=0.0, vae="b", text="b"))
    mixed, first, second = (load_file(path) for path in (tmp_path / "m.safetensors", a, b))
    assert all(
        torch.equal(tensor, (first if name.startswith(UNET) else second)[name]) for name, tensor in mixed.items()
    )
    convert(a, tmp_path / "unet.safetensors", CATALOG, Wish(components=("unet",)))
    done = merge([tmp_path / "unet.safetensors", b], tmp_path / "n", CATALOG, Mixture(ratio=0.5))
    assert set(done.components) == {"unet", "vae", "text_encoder"}
    assert set(done.notes) == {
        "only one of the models brings the vae",
        "only one of the models brings the text_encoder",
    }


def test_layouts_mix(tmp_path: Path, abc: tuple[Path, Path, Path]) -> None:
    a, b, _ = abc
    convert(b, tmp_path / "folder", CATALOG)
    merge([a, b], tmp_path / "one.safetensors", CATALOG, Mixture(ratio=0.3))
    merge([a, tmp_path / "folder"], tmp_path / "two", CATALOG, Mixture(ratio=0.3))
    convert(tmp_path / "two", tmp_path / "two.safetensors", CATALOG)
    one, two = load_file(tmp_path / "one.safetensors"), load_file(tmp_path / "two.safetensors")
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("channels", [9, 8])
def test_an_inpainting_model_keeps_its_own_channels(
    tmp_path: Path, abc: tuple[Path, Path, Path], channels: int
) -> None:
    a, b, c = abc
    wide = variant(tmp_path / "wide.safetensors", a, 3, channels=channels)
    merge(
        [wide, b, c], tmp_path / "m.safetensors", CATALOG, Mixture(mode="add-difference", ratio=1.0), Wish(dtype="F32")
    )
    mixed, one, two, three = (load_file(path)[CONV_IN].float() for path in (tmp_path / "m.safetensors", wide, b, c))
    torch.testing.assert_close(mixed[:, :4], one[:, :4] + two - three, rtol=1e-6, atol=1e-6)
    assert torch.equal(mixed[:, 4:], one[:, 4:])
    merge([wide, b], tmp_path / "w.safetensors", CATALOG, Mixture(ratio=0.25), Wish(dtype="F32"))
    mixed = load_file(tmp_path / "w.safetensors")[CONV_IN]
    torch.testing.assert_close(mixed[:, :4], 0.75 * one[:, :4] + 0.25 * two, rtol=1e-6, atol=1e-6)
    with pytest.raises(BadInput, match=r"is \[32, 4, 3, 3\] in A and .* Give the model with more input channels"):
        merge([b, wide], tmp_path / "x.safetensors", CATALOG, Mixture())


def test_what_does_not_fit_is_refused(tmp_path: Path, abc: tuple[Path, Path, Path]) -> None:
    a, b, c = abc
    out = tmp_path / "m.safetensors"
    sd2 = make_sd2(tmp_path / "sd2.safetensors")
    with pytest.raises(BadInput, match=r"A is a sd1 model and B is a sd2 one.* Only models of one family mix"):
        merge([a, sd2], out, CATALOG, Mixture())
    with pytest.raises(BadInput, match="weighted needs 2 models, not 3"):
        merge([a, b, c], out, CATALOG, Mixture())
    with pytest.raises(BadInput, match="add-difference needs 3 models, not 2"):
        merge([a, b], out, CATALOG, Mixture(mode="add-difference"))
    with pytest.raises(BadInput, match=r"no way to merge called 'sum'.* weighted, add-difference"):
        Mixture(mode="sum")
    with pytest.raises(BadInput, match="ratio nan is out of bounds"):
        Mixture(ratio=float("nan"))
    with pytest.raises(BadInput, match="VAE cannot be taken from 'c'"):
        Mixture(vae="c")
    with pytest.raises(BadInput, match="would replace what it is made from"):
        merge([a, b], b, CATALOG, Mixture(), Wish(overwrite=True))
    tensors = load_file(b)
    save_file(
        {
            name: tensor.repeat(2, *[1] * (tensor.ndim - 1)) if name == f"{UNET}time_embed.0.bias" else tensor
            for name, tensor in tensors.items()
        },
        tmp_path / "other.safetensors",
    )
    with pytest.raises(BadInput, match=r"time_embed.0.bias of the unet is \[128\] in A and \[256\] in B"):
        merge([a, tmp_path / "other.safetensors"], out, CATALOG, Mixture())
    save_file(tensors | {"v_pred": torch.zeros(0)}, tmp_path / "v.safetensors")
    with pytest.raises(BadInput, match=r"A predicts epsilon .* and B velocity"):
        merge([a, tmp_path / "v.safetensors"], out, CATALOG, Mixture())
    assert not out.exists()


def test_the_recipe_is_in_the_file(tmp_path: Path, abc: tuple[Path, Path, Path]) -> None:
    a, b, c = abc
    merge([a, b], tmp_path / "m.safetensors", CATALOG, Mixture(ratio=0.4, blocks="in00=0.1"))
    metadata = read_model(tmp_path / "m.safetensors").metadata
    recipe = json.loads(metadata["sd_merge_recipe"])
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in (a, b)}
    assert recipe["inputs"][1] == {"model": "B", "name": "b.safetensors", "sha256": {"b.safetensors": digests[b]}}
    assert (recipe["mode"], recipe["ratio"], recipe["blocks"]) == ("weighted", 0.4, {"IN00": 0.1})
    assert set(json.loads(metadata["sd_merge_models"])) == set(digests.values())
    assert metadata["modelspec.merged_from"] == "a.safetensors, b.safetensors"
    assert json.loads(metadata["pinxit.history"])[-1]["did"] == "merge"
    merge(
        [tmp_path / "m.safetensors", c],
        tmp_path / "n.safetensors",
        CATALOG,
        Mixture(),
        fingerprint=lambda path: path.name,
    )
    ancestors = json.loads(read_model(tmp_path / "n.safetensors").metadata["sd_merge_models"])
    assert ancestors["m.safetensors"]["sd_merge_recipe"] == metadata["sd_merge_recipe"]


def test_blocks_are_named_as_people_name_them() -> None:
    assert block_of("input_blocks.11.0.in_layers.0.weight") == "IN11"
    assert block_of("middle_block.1.proj_in.weight") == "M00"
    assert block_of("output_blocks.3.1.proj_in.weight") == "OUT03"
    assert block_of("joint_blocks.7.x_block.attn.qkv.weight") == "JOINT07"
    assert block_of("time_embed.0.weight") is None
    assert blocks_of(
        ["out.2.bias", "output_blocks.0.0.x", "input_blocks.10.0.x", "input_blocks.2.0.x", "middle_block.0.x"]
    ) == ("IN02", "IN10", "M00", "OUT00")


def test_weights_of_blocks_are_read() -> None:
    assert read_blocks(None, ALL) == {}
    assert read_blocks("in00=0.25, MID=1, out2=0.5", ALL) == {"IN00": 0.25, "M00": 1.0, "OUT02": 0.5}
    assert read_blocks("m00=1", ALL) == {"M00": 1.0}
    assert read_blocks("0,.1,.2,.3,.4,.5,.6", ALL) == {name: at / 10 for at, name in enumerate(ALL)}
    assert read_blocks("9,0,.1,.2,.3,.4,.5,.6", ALL) == {name: at / 10 for at, name in enumerate(ALL)}
    gradient = read_blocks("grad_v,in00=0.5", ALL)
    assert (gradient["IN00"], gradient["M00"], gradient["OUT02"]) == (0.5, 0.0, 1.0)
    assert all(0 <= value <= 1 for name in PRESETS for value in read_blocks(name, ALL).values())
    with pytest.raises(BadInput, match=r"lists 3 numbers; this model has 7 blocks.* They are IN00, IN01"):
        read_blocks("1,2,3", ALL)
    with pytest.raises(BadInput, match="'x' is no weight of a block"):
        read_blocks("in00=x", ALL)
    with pytest.raises(UnknownName, match="There is no block named 'in11'"):
        read_blocks("in11=1", ALL)
    with pytest.raises(UnknownName, match=r"no preset of block weights named 'grad-x'.* Did you mean"):
        read_blocks("grad-x", ALL)
