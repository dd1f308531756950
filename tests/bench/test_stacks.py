from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pinxit.bench import cases, weights
from pinxit.bench.cases import Case, Kind, distance
from pinxit.bench.stacks import PEERS, STACKS, ours_here, spec_of
from pinxit.bench.stacks.compute import ddim
from pinxit.bench.stacks.ours import Ours
from pinxit.engine import compiled
from pinxit.engine.machine import Machine
from pinxit.models.common.configs import ClipTextConfig, VaeConfig
from pinxit.sampling.tables import standard_levels
from pinxit.weights.folder import read_model
from tests.tiny import tiny_unet

XL_LEVELS = {
    "channel_mult": (1, 1, 2),
    "num_res_blocks": (1, 1, 1),
    "transformer_depth": (0, 1, 1),
    "transformer_depth_output": (0, 1, 1),
}
SHAPES: dict[Kind, tuple[int, ...]] = {
    "unet": (1, 4, 8, 8),
    "pair": (2, 4, 8, 8),
    "encode": (1, 4, 8, 8),
    "text": (2, 77, 768),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The benchmark's folders with tiny networks in them."""
    folder = tmp_path_factory.mktemp("bench")
    small = VaeConfig(channels=32, channel_mult=(1, 1, 1, 1), num_res_blocks=1)
    text = ClipTextConfig(vocab_size=99, width=768, intermediate=8, layers=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cases.MODELS, "sd15", replace(cases.SD15, unet=tiny_unet(context=768), vae=small))
        xl = replace(tiny_unet(context=2048, added=2816, head_width=32), **XL_LEVELS)
        patch.setitem(cases.MODELS, "sdxl", replace(cases.SDXL, unet=xl, vae=small))
        patch.setattr(weights, "TEXT", text)
        wide = replace(text, width=1280, heads=20, projection=1280, activation="gelu", pad_id=0)
        patch.setattr(weights, "TEXT_G", wide)
        for dtype in ("float32", "bfloat16"):
            weights.write_weights(folder / dtype, dtype)
        weights.write_weights(folder / "sdxl", "float32", "sdxl")
        weights.write_single_file(weights=str(folder / "float16.safetensors"))
    return folder


def test_weights_are_written_once_with_their_fingerprints(model: Path) -> None:
    told = json.loads(weights.fingerprints_of(model / "float32").read_text("utf-8"))
    assert sorted(name.split("/")[0] for name in told) == ["text_encoder", "unet", "vae"]
    assert all(len(sha256) == 64 for sha256 in told.values())
    before = (model / "float32").stat().st_mtime_ns
    weights.write_weights(model / "float32", "float32")
    assert (model / "float32").stat().st_mtime_ns == before


def test_weights_are_the_same_in_every_number_format_but_for_rounding() -> None:
    state = {"a.weight": torch.empty(4, 3), "a.bias": torch.empty(4), "norm.weight": torch.empty(4)}
    wide, narrow = weights.drawn(state, torch.float32), weights.drawn(state, torch.bfloat16)
    assert all(torch.equal(wide[name].bfloat16(), narrow[name]) for name in state)
    assert wide["norm.weight"].mean() > 0.9
    assert wide["a.weight"].abs().max() <= 1


def test_one_file_holds_the_same_under_the_old_names(model: Path) -> None:
    names = read_model(model / "float16.safetensors").tensors
    assert any(name.startswith("model.diffusion_model.") for name in names)
    assert any(name.startswith("cond_stage_model.") for name in names)


@pytest.mark.parametrize("kind", ["unet", "pair", "decode", "encode", "text", "image"])
def test_ours_computes_every_kind_of_case(model: Path, kind: Kind) -> None:
    case = Case(name=kind, kind=kind, height=8, width=8, steps=2 if kind == "image" else 0)
    stack = Ours(numbers="float32", weights=str(model / "float32"))
    stack.prepare(case)
    found = stack.run(case)
    assert found.shape == SHAPES.get(kind, (1, 3, 64, 64))
    assert found.dtype == np.float32
    assert distance(stack.run(case), found) == 0
    assert set(stack.versions()) == {"pinxit", "torch"}


def test_what_only_other_cases_need_is_dropped(model: Path) -> None:
    stack = Ours(numbers="float32", weights=str(model / "float32"))
    pair, decode = (Case(name=kind, kind=kind, height=8, width=8) for kind in ("pair", "decode"))
    stack.prepare(pair)
    first = stack.run(pair)
    stack.prepare(decode)
    stack.run(decode)
    stack.prepare(pair)
    assert distance(stack.run(pair), first) == 0


def test_sdxl_is_told_its_size(model: Path) -> None:
    case = Case(name="pair", kind="pair", height=8, width=8, model="sdxl")
    stack = Ours(numbers="float32", weights=str(model / "sdxl"))
    stack.prepare(case)
    assert stack.run(case).shape == (2, 4, 8, 8)


@pytest.mark.parametrize("kind", ["pair", "decode"])
def test_compiled_ours_computes_the_same(
    model: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path))
    case = Case(name=kind, kind=kind, height=8, width=8)
    plain, other = (Ours(numbers="float32", weights=str(model / "float32"), compiled=on) for on in (False, True))
    found = other.run(case)
    compiled.forget()
    assert distance(found, plain.run(case)) < 1e-5


def test_a_compiler_that_fails_gives_no_time(model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(graph: object, given: object) -> object:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(compiled, "BACKEND", broken)
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path))
    stack = Ours(numbers="float32", weights=str(model / "float32"), compiled=True)
    with pytest.raises(RuntimeError, match=r"so networks compute as they are \(no compiler\)"):
        stack.run(Case(name="decode", kind="decode", height=8, width=8))
    compiled.forget()


def test_a_guided_step_on_a_gpu_is_one_batch(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Ours(numbers="float32", weights=str(model / "float32"))
    case, batches = Case(name="pair", kind="pair", height=8, width=8), list[int]()
    unet = stack.unet
    monkeypatch.setattr(stack, "unet", lambda x, t, tokens: batches.append(len(x)) or unet(x, t, tokens))
    apart = stack.run(case)
    stack.paired = True
    assert distance(stack.run(case), apart) < 1e-5
    assert batches == [1, 1, 2]


def test_the_same_weights_in_bfloat16_give_nearly_the_same(model: Path) -> None:
    case = Case(name="unet", kind="unet", height=8, width=8)
    wide = Ours(numbers="float32", weights=str(model / "float32")).run(case)
    narrow = Ours(numbers="bfloat16", weights=str(model / "bfloat16")).run(case)
    assert 0 < distance(narrow, wide) < 5e-2


def test_ddim_finds_the_clean_latent_that_a_perfect_network_points_at() -> None:
    clean, levels = torch.full((1, 1, 2, 2), 0.5), standard_levels()
    steps: list[int] = []

    def predict(x: torch.Tensor, t: float, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        kept = 1 / (1 + levels[int(t)] ** 2)
        noise = (x - kept**0.5 * clean) / (1 - kept) ** 0.5
        return noise, noise

    found = ddim(predict, torch.randn(1, 1, 2, 2), torch.zeros(2, 77, 1), 4, lambda: steps.append(1))
    assert torch.allclose(found, clean, atol=1e-5)
    assert steps == [1]


def test_every_stack_has_a_module_and_reads_its_weights() -> None:
    for stack in STACKS.values():
        for target in filter(None, (stack.target, stack.converter)):
            place = target.partition(":")[0].replace("pinxit.bench.", "").replace(".", "/")
            assert (Path(weights.__file__).parent / f"{place}.py").is_file()
    spec = spec_of("compile-bf16", Path("somewhere"))
    assert spec.options == {"numbers": "bfloat16", "weights": str(Path("somewhere/bfloat16")), "compiled": True}
    assert spec_of("pinxit-fp16", Path("w"), "cuda").options["device"] == "cuda"
    assert not spec_of("sdcpp-f16", Path("w")).compared


def test_ours_is_what_the_machine_computes_best() -> None:
    new = Machine(cores=1, memory=None, available=None, flags=frozenset({"amx_bf16"}))
    assert ours_here(new) == "pinxit-bf16"
    assert ours_here(replace(new, flags=frozenset())) == "pinxit-fp32"
    assert ours_here(new, "cuda") == "pinxit-fp16"


def test_every_program_that_is_needed_is_pinned() -> None:
    pinned = {line.partition("==")[0].replace("_python", "") for line in PEERS}
    assert {need for stack in STACKS.values() for need in stack.needs} == pinned
    assert all("==" in line for line in PEERS)
