"""Pictures painted with caches and token merging: counted, repeated, resumed, refused, and told in the plan."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
import torch

from pinxit.engine import shortcuts, stages
from pinxit.engine.plan import Resolved
from pinxit.engine.residency import Residency
from pinxit.engine.shortcuts import MEASURED, measured, work_of
from pinxit.sampling.denoiser import Prediction
from pinxit.sampling.samplers import Step
from pinxit.schema.errors import BadInput
from tests.easel import CountedCalls, Easel, Easels

DEEP: dict[str, Any] = {"cache": "deep", "cache_interval": 3}
BLOCK: dict[str, Any] = {"cache": "block", "cache_interval": 3, "cache_threshold": 0.5}
PLAIN: dict[str, Any] = {"steps": 8, "sampler": "euler", "guidance": 3, "guidance_interval": "all"}
UNETS = ("pinxit", "sd1", "sdxl")


@pytest.mark.parametrize("family", [*UNETS, "sd35"])
def test_what_saves_nothing_changes_nothing(easels: Easels, family: str) -> None:
    easel = easels(family)
    exact = easel.pixels(**PLAIN)
    asked: list[dict[str, Any]] = [
        {"cache": "off", "cache_interval": 2},
        {"cache": "block", "cache_interval": 9, "cache_threshold": 0},
        {"token_merging": 0},
    ]
    asked += [{"cache": "deep", "cache_interval": 1, "cache_branch": 1}] if family in UNETS else []
    assert [easel.pixels(**PLAIN, **fields) for fields in asked] == [exact] * len(asked)


@pytest.mark.parametrize("family", UNETS)
def test_every_u_net_takes_every_shortcut(easels: Easels, family: str) -> None:
    easel = easels(family)
    asked = ({}, DEEP, {**DEEP, "cache_branch": 2}, BLOCK, {"token_merging": 0.5}, {**DEEP, "token_merging": 0.5})
    found = [easel.pixels(**PLAIN, **fields)[0] for fields in asked]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("family", ["sd3", "sd35"])
def test_transformers_take_the_block_cache(easels: Easels, family: str) -> None:
    reuses = {**BLOCK, "cache_threshold": 1}
    assert easels(family).pixels(**PLAIN, **reuses) != easels(family).pixels(**PLAIN)


def run(
    resolved: Resolved, residency: Residency, log: list[Prediction] | None = None
) -> tuple[list[tuple[Step, int]], int, int]:
    """Every step with the length of the log after it, how often the U-Net was called, and how often to its middle."""
    log = [] if log is None else log
    unet: Any = residency.network(resolved, "unet")
    encoded = stages.encode(resolved, residency)
    start = stages.prepare(resolved, residency, seed=resolved.request.seed or 0)
    with CountedCalls(unet) as calls, CountedCalls(unet.middle_block[0]) as whole:
        steps = [(step, len(log)) for step in stages.denoise(resolved, residency, encoded, start, log=log)]
    return steps, calls.count, whole.count


@pytest.mark.parametrize(
    ("fields", "calls", "whole"),
    [
        (DEEP, 16, 6),
        ({**DEEP, "cache_interval": 10}, 16, 2),
        ({**DEEP, "cache_center": 0.5}, 16, 6),
        ({**DEEP, "sampler": "heun"}, 30, 12),
        ({**DEEP, "prompt": "a cat AND a dog"}, 24, 9),
        ({**DEEP, "prompt": "a [cat:dog:4]"}, 16, 7),
        ({**DEEP, "prompt": "a [cat|dog]"}, 16, 9),
        ({**DEEP, "guidance": 1}, 8, 3),
        ({"cache": "block", "cache_interval": 3, "cache_threshold": 1}, 16, 6),
        ({"cache": "block", "cache_interval": 3, "cache_threshold": 0}, 16, 16),
    ],
)
def test_whole_calls_are_counted(easels: Easels, fields: dict[str, Any], calls: int, whole: int) -> None:
    """An edited prompt is new where it begins; all calls of a whole step are whole, all of another step are not."""
    easel = easels("pinxit")
    _, found, inner = run(easel.resolve(**{**PLAIN, **fields}), easel.residency)
    assert (found, inner) == (calls, whole)


def test_guidance_that_sets_in_between_computes_its_first_step_whole(easels: Easels) -> None:
    easel = easels("pinxit")
    sigmas = easel.resolve(**PLAIN).sigmas
    from_the_fifth_step = [0.0, (sigmas[3] + sigmas[4]) / 2]
    resolved = easel.resolve(**{**PLAIN, **DEEP, "guidance_interval": from_the_fifth_step})
    _, calls, whole = run(resolved, easel.residency)
    assert (calls, whole) == (8 + 4, 3 + 2)


@pytest.mark.parametrize(
    "fields",
    [
        DEEP,
        BLOCK,
        {**DEEP, "cache_center": 0.4, "token_merging": 0.5},
        {**DEEP, "sampler": "heun"},
        {**BLOCK, "sampler": "dpmpp_sde"},
        {**DEEP, "sampler": "dpm_fast"},
        {**BLOCK, "prompt": "a [cat:dog:3] AND a [dog|cat]", "guidance_interval": "0.5,5"},
    ],
)
def test_a_run_is_resumed_after_any_step(easels: Easels, fields: dict[str, Any]) -> None:
    easel = easels("pinxit")
    resolved = easel.resolve(**{**PLAIN, "steps": 5, **fields})
    log: list[Prediction] = []
    steps, calls, _ = run(resolved, easel.residency, log)
    for _, kept in steps:
        again, more, _ = run(resolved, easel.residency, log[:kept])
        assert all(torch.equal(one.x, other.x) for (one, _), (other, _) in zip(again, steps, strict=True))
        assert more <= calls
    assert run(resolved, easel.residency, list(log))[1] == 0


@pytest.mark.parametrize("fields", [DEEP, BLOCK, {"token_merging": 0.5}])
@pytest.mark.parametrize("dtype", [None, torch.float32], ids=["usual", "float32"])
def test_a_picture_of_a_batch_is_the_picture_alone(
    easels: Easels, fields: dict[str, Any], dtype: torch.dtype | None
) -> None:
    easel = easels("pinxit", dtype)
    together = easel.pixels(**PLAIN, **fields, count=2)
    assert easel.pixels(**PLAIN, **fields, seed=8) == together[1:]
    assert easel.pixels(**PLAIN, **fields) == together[:1]


def test_each_of_two_models_has_its_own_cache(easels: Easels) -> None:
    """The refiner's first step is whole wherever it takes over."""
    easels.model("refiner")
    easel = easels("sdxl")
    turn = {**PLAIN, **DEEP, "handover": "step", "passes": ({"kind": "refine", "model": "refiner", "switch": 0.5},)}
    resolved = easel.resolve(**turn)
    assert resolved.refiner is not None
    assert resolved.refiner.first(resolved.sigmas) == 4
    easel.residency.keep(resolved.models)
    second: Any = easel.residency.network(resolved.refiner.resolved, "unet")
    with CountedCalls(second) as calls, CountedCalls(second.middle_block[0]) as whole:
        _, first_calls, first_whole = run(resolved, easel.residency)
    assert (first_calls, first_whole) == (8, 4)
    assert (calls.count, whole.count) == (8, 4)


def test_the_recipe_says_what_was_left_out(easels: Easels) -> None:
    easel = easels("pinxit")
    ready = easel.paint(**PLAIN, cache="deep", token_merging=0.5)[0]
    request = ready.record.request
    assert (request.cache, request.cache_interval, request.cache_branch) == ("deep", 3, 0)
    assert (request.cache_threshold, request.token_merging_levels) == (None, 1)
    assert easel.pixels(**request.to_dict()) == [ready.pixels_sha256]
    block = easel.resolve(**PLAIN, cache="block").request
    assert (block.cache_interval, block.cache_branch, block.cache_threshold) == (4, 1, 0.1)
    off = easel.resolve(**PLAIN, cache="off", cache_interval=3).request
    assert not any(name.startswith("cache") for name in off.to_dict())


@pytest.mark.parametrize(
    ("family", "fields", "field", "told"),
    [
        ("sd3", {"cache": "deep"}, "cache", "Stable Diffusion 3 cannot keep a deep cache. Ask for cache block."),
        ("sd3", {"token_merging": 0.5}, "token_merging", "Stable Diffusion 3 cannot merge tokens. Leave token merging"),
        ("sd3", {"cache": "block", "cache_branch": 1}, "cache_branch", "has no branches, not 1. Leave the branch out."),
        (
            "pinxit",
            {"cache": "deep", "cache_branch": 4},
            "cache_branch",
            "has the branches 0 to 3, not 4. 0 is the out",
        ),
        ("pinxit", {"cache_interval": 2}, "cache_interval", "The cache interval belongs to a cache, and none is asked"),
        (
            "pinxit",
            {"cache": "deep", "cache_threshold": 0.1},
            "cache_threshold",
            "The deep cache goes by the step alone",
        ),
        ("pinxit", {"token_merging_levels": 2}, "token_merging_levels", "no share of tokens. Give the share too"),
        (
            "pinxit",
            {"cache": "deep", "cache_interval": 0},
            "cache_interval",
            "must be a whole number from 1 to 10, not 0.",
        ),
        ("pinxit", {"token_merging": 1.5}, "token_merging", "token_merging must be a number from 0 to 0.75, not"),
        ("pinxit", {"cache": "shallow"}, "cache", "cache must be one of 'off', 'deep', 'block', not"),
    ],
)
def test_what_cannot_be_is_refused(easels: Easels, family: str, fields: dict[str, Any], field: str, told: str) -> None:
    with pytest.raises(BadInput) as raised:
        easels(family).resolve(**fields)
    assert raised.value.field == field
    assert told in str(raised.value)


def test_the_refiner_must_have_the_branch_too(easels: Easels) -> None:
    easels.model("refiner")
    passes = ({"kind": "refine", "model": "sdxl"},)
    assert easels("refiner").resolve(passes=passes, cache="deep", cache_branch=5).request.cache_branch == 5
    with pytest.raises(BadInput, match="Stable Diffusion XL has the branches 0 to 5, not 6"):
        easels("refiner").resolve(passes=passes, cache="deep", cache_branch=6)


def seconds(easel: Easel, **fields: Any) -> float:
    return next(stage.seconds for stage in easel.plan(**PLAIN, **fields).stages if stage.name == "denoise")


def test_the_plan_counts_what_is_left_out(easels: Easels) -> None:
    easel = easels("sd1")
    exact = seconds(easel)
    assert seconds(easel, cache="deep", cache_interval=1) == exact
    times = [seconds(easel, cache="deep", cache_interval=interval) for interval in (2, 3, 8)]
    assert exact > times[0] > times[1] > times[2] > exact / 8
    outer = [seconds(easel, **DEEP, cache_branch=branch) for branch in range(4)]
    assert outer == sorted(outer)
    assert seconds(easel, size="512x512", token_merging=0.75) < seconds(easel, size="512x512")
    assert seconds(easel, cache="block", cache_threshold=0) == exact
    assert seconds(easels("sd3")) > seconds(easels("sd3"), cache="block")


def test_work_is_a_share_of_an_exact_call(easels: Easels) -> None:
    resolved = easels("sd1").resolve(**PLAIN, **DEEP)
    work = work_of(resolved, resolved)
    assert [work(index) == 1 for index in range(8)] == [True, False, False] * 2 + [True, False]
    assert 0 < work(1) < 0.5


def test_the_plan_says_what_a_shortcut_does_to_pictures(easels: Easels) -> None:
    easel = easels("pinxit")
    (note,) = (one for one in easel.plan(**PLAIN, **DEEP).notes if "cache" in one)
    row = next(row for row in measured() if row["flags"] == "--cache deep --cache-interval 3 --cache-branch 0")
    assert note.startswith("deep cache: 3 of 8 steps are computed whole; about ")
    assert f"{row['psnr']:.1f} dB from exact ones (SSIM {row['ssim']:.2f})" in note
    assert f"With {row['flags']} pictures of the built-in model" in note
    notes = easel.plan(**{**PLAIN, "steps": 4}, **BLOCK, token_merging=0.25).notes
    assert "with fewer than 8 steps a cache costs much quality" in notes
    assert "token merging: 25% of the tokens at the largest size go into others" in notes
    merged = easel.plan(**PLAIN, token_merging=0.5, token_merging_levels=2).notes
    assert any(
        "50% of the tokens at the 2 largest sizes go into others; about 1" not in one and "dB" in one for one in merged
    )
    assert not any("cache" in one or "token" in one for one in easel.plan(**PLAIN).notes)


def test_what_is_quoted_was_measured() -> None:
    rows = measured()
    assert {row["kind"] for row in rows} >= {"deep", "block", "merge"}
    assert all(10 < row["psnr"] < 99 and 0 < row["ssim"] <= 1 and 0 < row["time"] < 1.5 for row in rows)
    assert len(json.loads(files("pinxit.engine").joinpath(MEASURED).read_text("utf-8"))["recipes"]) >= 8


def test_without_numbers_the_plan_still_tells(easels: Easels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcuts, "measured", lambda: ())
    (note,) = (one for one in easels("pinxit").plan(**PLAIN, **DEEP).notes if "cache" in one)
    assert note.endswith("% of the work is left")
