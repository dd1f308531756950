"""The same recipe gives the same pixels: alone or in a batch, after other work, after a reload, or resumed."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from pinxit.engine import stages
from pinxit.engine.plan import Resolved
from pinxit.engine.residency import Residency
from pinxit.engine.run import run
from pinxit.sampling.compat import NOISE_SOURCES
from pinxit.sampling.denoiser import Prediction
from pinxit.sampling.samplers import SAMPLERS, Step
from pinxit.schema.events import ImageReady, Stepped
from tests.easel import CountedCalls, Easels

FAMILIES = ("pinxit", "sd1", "sd2")
USUAL = ("dpmpp_2m", "euler_ancestral", "dpmpp_sde", "dpmpp_2m_sde", "lcm", "unipc")

every_usual_sampler = pytest.mark.parametrize("sampler", USUAL)
every_family = pytest.mark.parametrize("family", FAMILIES)
both_formats = pytest.mark.parametrize("dtype", [None, torch.float32], ids=["usual", "float32"])


@every_usual_sampler
@every_family
@both_formats
def test_a_picture_of_a_batch_is_the_picture_alone(
    easels: Easels, sampler: str, family: str, dtype: torch.dtype | None
) -> None:
    easel = easels(family, dtype)
    together = easel.pixels(sampler=sampler, count=2, steps=2)
    assert easel.pixels(sampler=sampler, seed=8, steps=2) == together[1:]
    assert together[0] != together[1]


@every_family
@both_formats
def test_other_work_and_a_reload_change_nothing(easels: Easels, family: str, dtype: torch.dtype | None) -> None:
    easel = easels(family, dtype)
    wanted = easel.pixels(sampler="euler_ancestral")
    easel.paint(prompt="two dogs", size="96x64", sampler="dpmpp_2m_sde", steps=2, clip_skip=2)
    assert easel.pixels(sampler="euler_ancestral") == wanted
    easel.residency.clear()
    assert easel.pixels(sampler="euler_ancestral") == wanted


@pytest.mark.parametrize("noise", [spec.name for spec in NOISE_SOURCES])
def test_every_source_of_noise_is_a_function_of_the_seed(easels: Easels, noise: str) -> None:
    """Also a source that other programs share among a batch: here each picture is painted alone."""
    easel = easels("pinxit")
    together = easel.pixels(noise=noise, count=2, sampler="euler_ancestral")
    assert easel.pixels(noise=noise, seed=8, sampler="euler_ancestral") == together[1:]
    assert (together == easel.pixels(count=2, sampler="euler_ancestral")) is (noise == "philox")


def test_another_model_in_between_changes_nothing(easels: Easels) -> None:
    easel = easels("sd1", None)
    wanted = easel.pixels()
    easel.paint(model="pinxit")
    assert easel.pixels() == wanted


def test_watching_the_progress_changes_nothing(easels: Easels) -> None:
    """A watcher may use everybody's random numbers and look at the steps: no noise comes from there."""
    easel = easels("pinxit", None)
    wanted = easel.pixels(sampler="dpmpp_sde")
    seen = 0
    for event in easel.events(sampler="dpmpp_sde"):
        torch.manual_seed(seen)
        torch.rand(3)
        random.seed(1)
        np.random.default_rng(1).random()
        if isinstance(event, Stepped):
            seen += 1
            assert (event.index, event.total) == (seen - 1, 3)
        if isinstance(event, ImageReady):
            assert event.pixels_sha256 == wanted[0]
    assert seen == 3


def test_a_residency_of_its_own_paints_the_same(easels: Easels) -> None:
    easel = easels("pinxit", None)
    fresh = Residency()
    found = [event for event in run(easel.plan(), fresh) if isinstance(event, ImageReady)]
    assert [ready.pixels_sha256 for ready in found] == easel.pixels()


def steps_of(resolved: Resolved, residency: Residency, log: list[Prediction]) -> list[tuple[Step, int]]:
    """Every step, and how many predictions the log held after it."""
    encoded = stages.encode(resolved, residency)
    start = stages.prepare(resolved, residency, seed=resolved.request.seed or 0)
    return [(step, len(log)) for step in stages.denoise(resolved, residency, encoded, start, log=log)]


@every_usual_sampler
@every_family
@both_formats
def test_a_run_is_resumed_after_any_step(easels: Easels, sampler: str, family: str, dtype: torch.dtype | None) -> None:
    """What the log holds is not computed again, and every later step is the same to the last bit."""
    easel = easels(family, dtype)
    resolved = easel.resolve(sampler=sampler, guidance_interval="all", guidance=3)
    unet = easel.residency.network(resolved, "unet")
    log: list[Prediction] = []
    with CountedCalls(unet) as whole:
        steps = steps_of(resolved, easel.residency, log)
    assert whole.count == 2 * len(log)
    for _, kept in steps:
        with CountedCalls(unet) as rest:
            again = steps_of(resolved, easel.residency, log[:kept])
        assert rest.count == 2 * (len(log) - kept)
        for (one, _), (other, _) in zip(again, steps, strict=True):
            assert torch.equal(one.x, other.x)
            assert torch.equal(one.clean, other.clean)


@pytest.mark.parametrize("sampler", [spec.name for spec in SAMPLERS])
def test_every_sampler_paints(easels: Easels, sampler: str) -> None:
    """With the usual settings of a model whose noise ends in pure noise: numbers stay finite, a picture comes out."""
    ready = easels("pinxit").paint(sampler=sampler)[0]
    assert ready.image is not None
    assert (ready.image.mode, ready.image.size) == ("RGB", (64, 64))
    assert len(ready.image.getcolors(64 * 64) or range(2)) > 1
    assert ready.record.request.sampler == sampler
