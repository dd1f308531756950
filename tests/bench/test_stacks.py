from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pinxit.bench import weights
from pinxit.bench.cases import Case, Kind, distance
from pinxit.bench.stacks import TARGETS, spec_of, why_absent
from pinxit.bench.stacks.ddim import ddim
from pinxit.bench.stacks.ours import Ours
from pinxit.models.common.configs import ClipTextConfig, VaeConfig
from pinxit.sampling.tables import standard_levels
from tests.tiny import tiny_unet


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The benchmark's folder with tiny networks in it."""
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "UNET", tiny_unet(context=768))
        patch.setattr(weights, "VAE", VaeConfig(channels=32, channel_mult=(1, 1, 1, 1), num_res_blocks=1))
        patch.setattr(weights, "TEXT", ClipTextConfig(vocab_size=99, width=768, intermediate=8, layers=1))
        for dtype in ("float32", "bfloat16"):
            weights.write_weights(folder / dtype, dtype)
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


@pytest.mark.parametrize("kind", ["unet", "pair", "decode", "image"])
def test_ours_computes_every_kind_of_case(model: Path, kind: Kind) -> None:
    case = Case(name=kind, kind=kind, height=8, width=8, steps=2 if kind == "image" else 0)
    stack = Ours(dtype="float32", weights=str(model / "float32"))
    stack.prepare(case)
    found = stack.run(case)
    assert found.shape == {"unet": (1, 4, 8, 8), "pair": (2, 4, 8, 8)}.get(kind, (1, 3, 64, 64))
    assert found.dtype == np.float32
    assert distance(stack.run(case), found) == 0
    assert set(stack.versions()) == {"pinxit", "torch"}


def test_the_same_weights_in_bfloat16_give_nearly_the_same(model: Path) -> None:
    case = Case(name="unet", kind="unet", height=8, width=8)
    wide = Ours(dtype="float32", weights=str(model / "float32")).run(case)
    narrow = Ours(dtype="bfloat16", weights=str(model / "bfloat16")).run(case)
    assert 0 < distance(narrow, wide) < 5e-2


def test_ddim_finds_the_clean_latent_that_a_perfect_network_points_at() -> None:
    clean, levels = torch.full((1, 1, 2, 2), 0.5), standard_levels()

    def predict(x: torch.Tensor, t: float) -> tuple[torch.Tensor, torch.Tensor]:
        kept = 1 / (1 + levels[int(t)] ** 2)
        noise = (x - kept**0.5 * clean) / (1 - kept) ** 0.5
        return noise, noise

    assert torch.allclose(ddim(predict, torch.randn(1, 1, 2, 2), 4), clean, atol=1e-5)


def test_every_stack_has_a_module_and_says_what_it_lacks() -> None:
    for name in TARGETS:
        module = TARGETS[name].partition(":")[0].replace("pinxit.bench.stacks.", "")
        assert (Path(weights.__file__).parent / "stacks" / f"{module}.py").is_file()
    assert why_absent("pinxit") == ""
    spec = spec_of("compile", "bfloat16", Path("somewhere"))
    assert spec.options == {"weights": "somewhere", "compiled": True}
