"""Every family on a GPU that is not there: tensors without numbers say where they lie, and refuse to mix."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pinxit.engine import loading, stages
from pinxit.engine.machine import GIB, Gpu, Machine
from pinxit.engine.means import Means
from pinxit.engine.residency import Residency
from pinxit.weights import load
from tests.easel import Easels

GPU = Gpu(name="Imagined", device="meta", memory=24 * GIB, free=20 * GIB, bfloat16=True)
HOST = Machine(cores=2, memory=64 * GIB, available=60 * GIB, flags=frozenset(), gpus=(GPU,))


class OneDevice(TorchDispatchMode):
    """Fails where an operation is given tensors of several devices, numbers without axes aside."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        leaves = tree_leaves((args, kwargs or {}))
        devices = {str(one.device) for one in leaves if isinstance(one, Tensor) and one.ndim}
        allowed = ("aten._to_copy", "aten.copy_", "aten.lift", "aten._local_scalar")
        if len(devices) > 1 and not str(func).startswith(allowed):
            raise AssertionError(f"{func} was given tensors of {sorted(devices)}")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def imagined(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A context in which cuda tensors can be made. What reads numbers is taken out."""
    monkeypatch.setattr(stages, "_is_finite", lambda values: True)
    monkeypatch.setattr(stages, "to_image", lambda picture: picture)
    monkeypatch.setattr(load, "_read", lambda file, info: torch.empty(info.shape, dtype=load.TORCH_DTYPES[info.dtype]))
    monkeypatch.setattr(loading, "release", lambda: None)
    # What chooses the order of a convolution's output asks for cuDNN, which is not here either.
    monkeypatch.setattr("torch._C._conv_determine_backend_memory_format", lambda *_: torch.contiguous_format)
    return FakeTensorMode(allow_non_fake_inputs=True)


def painted(resolved: Any, residency: Residency) -> tuple[stages.Start, Tensor, Tensor]:
    """The start, the last latent and the picture."""
    encoded = stages.encode(resolved, residency)
    start = stages.prepare(resolved, residency, seed=7)
    *_, last = stages.denoise(resolved, residency, encoded, start)
    found: Any = stages.decode(resolved, residency, last.x)
    return start, last.x, found


@pytest.mark.parametrize("model", ["pinxit", "sd1", "sd2", "sdxl", "sd3", "sd35"])
@pytest.mark.parametrize("starts", ["blank", "picture"])
def test_every_stage_stays_on_the_gpu(easels: Easels, imagined: Any, model: str, starts: str) -> None:
    given, fields = picture() if starts == "picture" else ({}, {})
    resolved = easels(model).resolve(given, sampler="euler_ancestral", **fields)
    residency = Residency(HOST)
    assert (residency.dtype_name, residency.numerics) == ("bfloat16", "meta")
    with imagined, OneDevice():
        start, last, found = painted(resolved, residency)
    assert (str(start.x.device), start.x.dtype) == ("meta", torch.float32)
    assert (str(last.device), last.dtype) == ("meta", torch.float32)
    assert str(found.device) == "meta"
    unet = residency.network(resolved, resolved.family.denoiser)
    assert {str(parameter.device) for parameter in unet.parameters()} == {"meta"}
    assert {parameter.dtype for parameter in unet.parameters()} == {torch.bfloat16}


def test_a_refiner_takes_over_there_too(easels: Easels, imagined: Any) -> None:
    easels.model("refiner")
    turn: dict[str, Any] = {"passes": ({"kind": "refine", "model": "refiner", "switch": 0.5},), "steps": 4}
    with imagined, OneDevice():
        _, last, _ = painted(easels("sdxl").resolve(**turn), Residency(HOST))
    assert str(last.device) == "meta"


def test_both_prompts_are_one_call_there(easels: Easels, imagined: Any) -> None:
    resolved, residency, batches = easels("sd1").resolve(), Residency(HOST), list[int]()
    with imagined, OneDevice():
        unet = residency.network(resolved, "unet")
        unet.register_forward_pre_hook(lambda _, given: batches.append(len(given[0])))
        painted(resolved, residency)
    assert batches == [2, 2, 2]
    assert residency.numerics == "meta-qkv"


@pytest.mark.parametrize("model", ["sd1", "sdxl", "sd3"])
def test_one_call_for_both_paints_the_same(easels: Easels, model: str) -> None:
    easel = easels(model)
    fields = {"guidance": 5.0, "negative": "a dog", "guidance_interval": {"lo": 0.0, "hi": 8.0}}
    (apart,) = easel.paint(**fields)
    residency = Residency(means=Means(precision="float32", device="cpu"))
    residency.way = replace(residency.way, gpu=GPU)
    (together,) = replace(easel, residency=residency).paint(**fields)
    off = np.asarray(apart.image, dtype=int) - np.asarray(together.image, dtype=int)
    assert abs(off).max() <= 1


def test_noise_left_on_the_processor_is_noticed(easels: Easels, imagined: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests above would say of a mistake."""
    monkeypatch.setattr(Residency, "tensor", lambda self, array: torch.from_numpy(array))
    with pytest.raises(AssertionError, match="tensors of"), imagined, OneDevice():
        painted(easels("sd1").resolve(), Residency(HOST))


def picture() -> tuple[dict[str, bytes], dict[str, object]]:
    """The input pictures by fingerprint, and the request's field that asks for one."""
    data = io.BytesIO()
    Image.new("RGB", (48, 64), (200, 40, 90)).save(data, "PNG")
    sha256 = hashlib.sha256(data.getvalue()).hexdigest()
    return {sha256: data.getvalue()}, {"source": {"kind": "image", "image": {"sha256": sha256}, "strength": 0.6}}
