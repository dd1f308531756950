"""What is loaded: fresh after a change on disk, one model at a time, and never numbers that are not finite."""

from __future__ import annotations

import gc
import os
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pinxit.engine.machine import Machine, this_machine
from pinxit.engine.means import Means
from pinxit.engine.places import cache_folder
from pinxit.engine.residency import Residency
from pinxit.nn.kernels.winograd import load_winograd
from pinxit.plugins.manager import build_catalog
from pinxit.schema.errors import BadModelFile, NumericError, OutOfMemory
from tests.easel import Easel, Easels, easel_for

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"


@pytest.fixture
def own(easels: Easels, tmp_path: Path) -> Easel:
    """A copy of our tiny model that a test may change."""
    shutil.copytree(easels.model("pinxit"), tmp_path / "own")
    return easel_for(tmp_path, "own")


def change(path: Path, edit: Callable[[dict[str, Tensor]], None]) -> None:
    """Write the file anew, with another time of change."""
    before = path.stat().st_mtime_ns
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    edit(tensors)
    save_file(tensors, path)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def scale(name: str, factor: float) -> Callable[[dict[str, Tensor]], None]:
    def edit(tensors: dict[str, Tensor]) -> None:
        tensors[name].mul_(factor)

    return edit


def test_weights_that_changed_on_disk_are_loaded_again(own: Easel, tmp_path: Path) -> None:
    before = own.paint()[0]
    change(tmp_path / "own" / UNET, scale("conv_out.weight", 0.5))
    after = own.paint()[0]
    assert after.pixels_sha256 != before.pixels_sha256
    assert after.record.model.files != before.record.model.files
    change(tmp_path / "own" / UNET, scale("conv_out.weight", 2.0))
    assert own.paint()[0].pixels_sha256 == before.pixels_sha256


def test_weights_that_go_away_between_plan_and_run_are_told(own: Easel, tmp_path: Path) -> None:
    made = own.plan()
    (tmp_path / "own" / UNET).unlink()
    with pytest.raises(BadModelFile) as raised:
        own.residency.network(made.resolved, "unet")
    assert str(raised.value) == "own cannot be read any more: No such file or directory. Load it again."


def test_weights_that_change_between_plan_and_run_are_told(own: Easel, tmp_path: Path) -> None:
    made = own.plan()
    path = tmp_path / "own" / UNET
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(BadModelFile, match=r"own changed since it was looked at\. Load it again\."):
        own.residency.network(made.resolved, "unet")


def test_another_model_takes_the_place_of_the_last(easels: Easels, tiny_models: Path) -> None:
    easel = easel_for(tiny_models, "pinxit")
    first = weakref.ref(easel.residency.network(easel.resolve(), "unet"))
    assert easel.residency.network(easel.resolve(), "unet") is first()
    easel.residency.network(easel.resolve(model="sd1"), "unet")
    gc.collect()
    assert first() is None


def test_networks_are_loaded_once_and_compute_as_asked(easels: Easels) -> None:
    easel = easels("pinxit", torch.bfloat16)
    resolved = easel.resolve()
    unet = easel.residency.network(resolved, "unet")
    assert unet is easel.residency.network(resolved, "unet")
    assert {parameter.dtype for parameter in unet.parameters()} == {torch.bfloat16}
    text = easel.residency.network(resolved, "text_encoder_2")
    assert {parameter.dtype for parameter in text.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in (*unet.parameters(), *text.parameters()))
    assert not unet.training
    assert easel.residency.dtype_name == "bfloat16"
    assert easel.residency.precise(resolved, "vae") is not easel.residency.network(resolved, "vae")


def test_the_format_suits_the_machine() -> None:
    def chosen(*flags: str) -> str:
        return Residency(Machine(cores=1, memory=None, available=None, flags=frozenset(flags))).dtype_name

    assert chosen() == "float32"
    assert chosen("avx2", "avx512f") == "float32"
    assert chosen("avx512_bf16") == "bfloat16"
    assert chosen("amx_bf16") == "bfloat16"


def test_the_record_names_the_convolutions_of_float32(easels: Easels) -> None:
    def named(flags: frozenset[str]) -> list[str]:
        machine = Machine(cores=1, memory=None, available=None, flags=flags)
        residency = Residency(machine, means=Means(precision="float32"))
        easel = easels("pinxit", None)
        own = Easel(library=easel.library, catalog=build_catalog(), residency=residency, model="pinxit")
        return own.paint(steps=1)[0].record.numerics.split("-")

    flags = this_machine().flags
    here = load_winograd(cache_folder() / "kernels", flags) is not None
    assert ("winograd" in named(flags)) == here
    assert "winograd" not in named(frozenset())


def test_this_machine_is_read() -> None:
    found = this_machine()
    assert found.cores >= 1
    assert found.gigaflops > 0
    assert found.memory is None or found.memory > 2**28


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_stop_at_the_step(own: Easel, tmp_path: Path, value: float) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        tensors["conv_out.bias"].fill_(value)

    change(tmp_path / "own" / UNET, spoil)
    output = tmp_path / "out"
    with pytest.raises(NumericError) as raised:
        own.paint(output=output)
    assert str(raised.value) == (
        "The network gave numbers that are not finite in step 1. "
        "The model file may be damaged; otherwise lower the guidance, or compute in float32."
    )
    assert not output.exists()


def test_the_step_is_named_at_which_numbers_fail(own: Easel, monkeypatch: pytest.MonkeyPatch) -> None:
    unet = own.residency.network(own.resolve(), "unet")
    calls: list[None] = []

    def failing(module: object, inputs: object, output: Tensor) -> Tensor:
        calls.append(None)
        return output * float("nan") if len(calls) == 3 else output

    handle = unet.register_forward_hook(failing)
    with pytest.raises(NumericError, match="in step 3"):
        own.paint(guidance=1, sampler="euler", steps=4)
    handle.remove()


def test_text_that_is_not_finite_is_told(own: Easel, tmp_path: Path) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        tensors["text_model.embeddings.token_embedding.weight"].fill_(float("nan"))

    change(tmp_path / "own" / "text_encoder_2" / "model.safetensors", spoil)
    with pytest.raises(NumericError, match="not finite in step 1"):
        own.paint()


def test_a_decoder_that_overflows_is_run_again_in_float32(easels: Easels, tmp_path: Path) -> None:
    shutil.copytree(easels.model("pinxit"), tmp_path / "own")
    # Values beyond 65,504 before a norm that brings them back: too large for float16 alone.
    change(tmp_path / "own" / VAE, scale("decoder.conv_in.weight", 3e4))
    half = easel_for(tmp_path, "own", dtype=torch.float16)
    image = half.paint(guidance=1, steps=1)[0].image
    assert image is not None
    colours: Any = image.getcolors(64 * 64)
    assert len(colours) > 10


def test_a_decoder_that_is_broken_in_float32_too_is_told(own: Easel, tmp_path: Path) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        tensors["decoder.conv_out.bias"].fill_(float("nan"))

    change(tmp_path / "own" / VAE, spoil)
    with pytest.raises(NumericError, match="not finite in the decoder"):
        own.paint(output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")]
)
def test_too_little_memory_for_the_weights_is_told(
    own: Easel, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("pinxit.engine.loading.load_into", full)
    with pytest.raises(OutOfMemory) as raised:
        own.residency.network(own.resolve(), "text_encoder_2")
    assert str(raised.value) == (
        "There is not enough memory for the text encoder 2 of own. Close other programs, or choose a smaller model."
    )
