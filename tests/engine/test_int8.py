"""Whole pictures in 8 bits: the network loaded, the pictures the same whatever came before, the record honest."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from pinxit.cli.app import run
from pinxit.cli.terminal import Terminal
from pinxit.engine.machine import Machine, this_machine
from pinxit.engine.means import Means, way_of
from pinxit.engine.memory import INT8_SCALES, component_bytes
from pinxit.engine.residency import Residency
from pinxit.nn import int8
from pinxit.nn.int8 import Int8Weight, why_not
from pinxit.nn.layers import Conv2d, Linear
from pinxit.plugins.manager import build_catalog
from pinxit.schema.errors import Missing, ModelError
from pinxit.schema.picture import read_record
from pinxit.schema.request import GenerationRequest
from pinxit.studio.library import Library
from pinxit.studio.studio import Studio
from tests.easel import Easel, Easels

FEW = Machine(cores=1, memory=None, available=None, flags=frozenset())
"""A machine without bfloat16, where 8 bits stand beside float32."""
HERE = why_not(torch.float32) is None


@pytest.fixture
def easel(easels: Easels) -> Easel:
    return in_int8(easels, "sd1")


def in_int8(easels: Easels, name: str) -> Easel:
    folder = easels.model(name).parent
    library = Library([folder], builtin=folder / "pinxit")
    return Easel(
        library=library, catalog=build_catalog(), residency=Residency(means=Means(precision="int8")), model=name
    )


def slots(network: torch.nn.Module) -> list[str]:
    return [
        name
        for name, layer in network.named_modules()
        if isinstance(layer, Conv2d | Linear) and isinstance(layer.packed, Int8Weight)
    ]


def test_a_torch_that_lacks_it_is_told_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Without:
        def __getattr__(self, name: str) -> object:
            raise AttributeError(f"no {name}")

    monkeypatch.setattr(int8, "_ops", Without())
    why_not.cache_clear()
    try:
        with pytest.raises(Missing, match=r"Computing in 8 bits is not to be had here: torch .* lacks") as told:
            Residency(FEW, means=Means(precision="int8"))
    finally:
        why_not.cache_clear()
    assert told.value.hint == "Leave out --precision int8."
    assert told.value.exit_code == 5


def test_most_weights_are_in_8_bits_and_the_sensitive_ones_are_not(easel: Easel) -> None:
    resolved = easel.resolve()
    unet, vae = (easel.residency.network(resolved, name) for name in ("unet", "vae"))
    found = slots(unet)
    assert "input_blocks.1.0.in_layers.2" in found
    assert not [name for name in found if "skip_connection" in name or "emb_layers" in name or "time_embed" in name]
    assert not {"input_blocks.0.0", "out.2"} & set(found)
    assert slots(vae)
    assert not slots(easel.residency.network(resolved, "text_encoder"))
    held = sum(parameter.nbytes for parameter in unet.parameters())
    plain = sum(parameter.nbytes for parameter in easel.residency.precise(resolved, "unet").parameters())
    assert held < plain / 4
    with pytest.raises(ModelError, match="rounded to 8 bits"):
        unet.state_dict()


@pytest.mark.parametrize("name", ["pinxit", "sd1", "sdxl", "sd3"])
def test_pictures_depend_on_nothing_but_their_recipe(easels: Easels, name: str) -> None:
    easel = in_int8(easels, name)
    together = easel.pixels(prompt="a cat", seed=5, count=3, steps=2)
    other = in_int8(easels, name)
    other.pixels(prompt="two dogs", seed=1, size={"width": 72, "height": 104}, steps=1)
    backwards = [other.pixels(prompt="a cat", seed=seed, steps=2)[0] for seed in (7, 6, 5)]
    assert together == backwards[::-1]
    assert len(set(together)) == 3


def test_the_record_names_it_and_floats_differ_little(easel: Easel, easels: Easels) -> None:
    fields = {"prompt": "a cat", "seed": 5, "steps": 3}
    (ready,) = easel.paint(**fields)
    assert "int8" in ready.record.numerics.split("-")
    assert ready.record.dtype == easel.residency.dtype_name
    (plain,) = easels("sd1", None).paint(**fields)
    assert "int8" not in plain.record.numerics
    assert ready.pixels_sha256 != plain.pixels_sha256


def test_a_machine_without_bfloat16_keeps_float32_beside_it(easels: Easels) -> None:
    residency = Residency(FEW, means=Means(precision="int8"))
    assert residency.dtype_name == "float32"
    easel = Easel(library=in_int8(easels, "sd1").library, catalog=build_catalog(), residency=residency, model="sd1")
    assert easel.pixels(prompt="a cat", seed=5, steps=2) == easel.pixels(prompt="a cat", seed=5, steps=2)


def test_the_command_line_paints_the_built_in_model_and_verifies_it(tmp_path: Path) -> None:
    def call(*words: str) -> tuple[int, str]:
        out = io.StringIO()
        terminal = Terminal(out=out, err=io.StringIO(), input=io.BytesIO(), lang="en")
        return run(words, terminal, open_studio=lambda means=None: Studio(means=means)), out.getvalue()

    path = tmp_path / "fox.png"
    code, _ = call("paint", "a fox", "--seed", "1", "--steps", "2", "--output", str(path), "--precision", "int8")
    assert code == 0
    assert "int8" in read_record(path).numerics
    code, told = call("verify", str(path), "--precision", "int8", "--json")
    assert (code, json.loads(told.splitlines()[-1])["equal"]) == (0, True)
    code, told = call("verify", str(path), "--json")
    verdict = json.loads(told.splitlines()[-1])
    assert code == 1
    assert "numerics" in {change["what"] for change in verdict["changes"]}
    assert verdict["psnr"] > 32
    with Image.open(path) as picture:
        assert picture.size == (256, 256)


def test_the_plan_counts_a_byte_for_a_weight_and_reads_none_again(easels: Easels) -> None:
    studio = Studio(library=in_int8(easels, "sd1").library, means=Means(precision="int8", memory="low"))
    request = GenerationRequest(prompt="a cat", model="sd1")
    found = studio.plan(request)
    assert not [note for note in found.notes if "read again in every step" in note]
    resolved, machine = found.resolved, this_machine()
    ours, floats = (
        component_bytes(resolved, "unet", way_of(machine, Means(precision=name))) for name in ("int8", "float32")
    )
    assert ours / floats == pytest.approx(INT8_SCALES / 4)
