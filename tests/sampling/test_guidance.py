"""Guidance combinators and preconditioning, on arrays and plain numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pinxit.sampling.denoiser import Conditioning, Denoiser, Prediction, logged, precondition
from pinxit.sampling.guidance import GUIDANCE, GuidanceOptions, cfg, composed, guided, interval, masked, rescale
from pinxit.sampling.process import Epsilon, Flow, Velocity
from pinxit.sampling.shortcuts import Shortcut
from pinxit.schema.errors import BadInput
from pinxit.schema.registry import Registry
from tests.sampling.mixture import prediction


class Constant:
    """A Denoiser that always sees the same picture, and counts."""

    def __init__(self, clean: Any) -> None:
        self.clean = clean
        self.calls = 0

    def __call__(self, x: Any, sigma: float, index: int, /) -> Prediction:
        self.calls += 1
        return prediction(self.clean)


def asked(denoise: Denoiser, sigma: float = 1.0) -> Any:
    x: Any = 0.5
    return denoise(x, sigma, 0)


def test_guidance_goes_past_the_prompt() -> None:
    result = asked(cfg(Constant(3.0), Constant(1.0), 7.5))
    assert (result.clean, result.uncond) == (16.0, 1.0)


def test_without_scale_the_unconditional_network_rests() -> None:
    without = Constant(1.0)
    assert asked(cfg(Constant(3.0), without, 1.0)).clean == 3.0
    assert without.calls == 0
    kept = asked(cfg(Constant(3.0), without, 1.0, keep_uncond=True))
    assert (kept.clean, kept.uncond, without.calls) == (3.0, 1.0, 1)


def test_the_interval_is_open_below_and_closed_above() -> None:
    limited = interval(Constant(2.0), Constant(1.0), 0.5, 5.0)
    assert [asked(limited, sigma).clean for sigma in (6.0, 5.0, 0.6, 0.5)] == [1.0, 2.0, 2.0, 1.0]


def test_guided_reads_its_options() -> None:
    cond, uncond = Constant(3.0), Constant(1.0)
    assert asked(guided(cond, uncond, Epsilon(), GuidanceOptions(scale=2))).clean == 5.0
    limited = guided(cond, uncond, Epsilon(), GuidanceOptions(scale=2, low=0.5, high=5))
    uncond.calls = 0
    assert asked(limited, 9.0).clean == 3.0
    assert uncond.calls == 0


@pytest.mark.parametrize("process", [Epsilon(), Velocity(), Flow()], ids=str)
def test_rescaled_guidance_keeps_the_contrast_of_the_prompt(process: Any) -> None:
    random = np.random.RandomState(0)
    x, clean, without = (torch.from_numpy(random.standard_normal((2, 4, 3, 3))) for _ in range(3))
    denoise = rescale(Constant(clean), Constant(without), 7.0, 1.0, process)
    result = denoise(x, 0.8, 0)
    want = process.output(x, clean, 0.8).std(dim=(1, 2, 3))
    assert torch.allclose(process.output(x, result.clean, 0.8).std(dim=(1, 2, 3)), want)
    alone = rescale(Constant(clean[1:]), Constant(without[1:]), 7.0, 1.0, process)(x[1:], 0.8, 0)
    assert torch.equal(alone.clean[0], result.clean[1])


def test_rescale_mixes_by_phi() -> None:
    random = np.random.RandomState(1)
    x, clean, without = (torch.from_numpy(random.standard_normal((1, 4, 3, 3))) for _ in range(3))

    def at(phi: float) -> Tensor:
        return rescale(Constant(clean), Constant(without), 5.0, phi, Velocity())(x, 2.0, 0).clean

    assert torch.allclose(at(0.0), without + 5 * (clean - without))
    assert torch.allclose(at(0.25), 0.75 * at(0.0) + 0.25 * at(1.0))
    with pytest.raises(BadInput, match=r"lies between 0 and 1, this one is 1\.5"):
        at(1.5)


def test_prompts_compose_around_the_unconditional_one() -> None:
    result = asked(composed([(Constant(3.0), 1.0), (Constant(2.0), -0.5)], Constant(1.0), 4.0))
    assert (result.clean, result.uncond) == (1.0 + 4 * 2.0 - 4 * 0.5, 1.0)


def test_a_mask_keeps_the_picture_outside() -> None:
    seen: list[Tensor] = []

    def denoise(x: Tensor, sigma: float, index: int, /) -> Prediction:
        seen.append(x)
        return Prediction(torch.full_like(x, 9.0), torch.full_like(x, 8.0))

    original, noise = torch.ones(1, 1, 1, 2), torch.full((1, 1, 1, 2), 2.0)
    mask = torch.tensor([[[[1.0, 0.0]]]])
    result = masked(denoise, original, mask, noise, Epsilon())(torch.full((1, 1, 1, 2), 5.0), 3.0, 0)
    assert seen[0].flatten().tolist() == [5.0, 7.0]
    assert result.clean.flatten().tolist() == [9.0, 1.0]
    assert result.uncond is not None
    assert result.uncond.flatten().tolist() == [8.0, 1.0]


def test_a_mask_needs_no_unconditional_estimate() -> None:
    one = torch.ones(1, 1, 1, 1)
    assert masked(Constant(one), one, one, one, Flow())(one, 0.5, 0).uncond is None


def test_the_catalogue_of_guidance() -> None:
    assert Registry("guidance", GUIDANCE).get("AND").build is composed
    assert all(spec.summary and spec.knobs for spec in GUIDANCE)


@pytest.mark.parametrize("process", [Epsilon(), Velocity(), Flow(shift=3.0)], ids=str)
def test_a_network_becomes_a_denoiser(process: Any) -> None:
    """A network that answers with its training target gives the picture back; it sees scaled x and its timestep."""
    clean, eps, sigma = torch.full((1, 4, 2, 2), 0.3), torch.full((1, 4, 2, 2), -1.1), 0.7
    conditioning = Conditioning(pooled=torch.zeros(1, 8), time_ids=(512.0, 512.0, 0.0, 0.0, 512.0, 512.0))
    x = process.add_noise(clean, eps, sigma)
    seen: list[tuple[Tensor, float, Conditioning]] = []

    def network(scaled: Tensor, t: float, told: Conditioning, shortcut: Shortcut | None = None, /) -> Tensor:
        assert shortcut is None
        seen.append((scaled, t, told))
        return process.output(x, clean, sigma).to(torch.bfloat16)

    result = precondition(network, process, conditioning)(x, sigma, 0)
    assert result.clean.dtype == torch.float32
    assert torch.allclose(result.clean, clean, atol=2e-2)
    scaled, t, told = seen[0]
    assert torch.allclose(scaled, x if isinstance(process, Flow) else x / math.sqrt(1 + sigma**2))
    assert t == process.timestep(sigma)
    assert told is conditioning


def test_a_log_answers_first_and_grows() -> None:
    network, log = Constant(1.0), [prediction(5.0)]
    denoise = logged(network, log)
    assert [asked(denoise).clean for _ in range(3)] == [5.0, 1.0, 1.0]
    assert network.calls == 2
    assert len(log) == 3
