"""Trajectories of k-diffusion's and ComfyUI's samplers in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pinxit.sampling.process import Epsilon, Flow, NoiseProcess
from pinxit.sampling.samplers import SAMPLERS, SamplerOptions, Step
from pinxit.schema.registry import Registry
from tests.reference import golden_arrays, golden_json
from tests.sampling.mixture import Array, Mixture, Recorder, Replay, draws, relative, start

FACTS = golden_json("goldens/samplers/kdiffusion_comfy.json")
ARRAYS = golden_arrays("goldens/samplers/kdiffusion_comfy.npz")
COND, UNCOND = Mixture(FACTS["mixture"]), Mixture(FACTS["mixture_uncond"])
CATALOGUE = Registry("sampler", SAMPLERS)

KNOBS: dict[str, str] = {
    "solver_type": "solver",
    "max_order": "order",
    "ge_gamma": "gamma",
    "max_stage": "order",
    "predictor_order": "order",
}
"""The peers' names for our options, where they differ."""

EXACT = 1e-9
TOLERANCE = {
    "deis": 2e-7,  # the peer sums its weights in float32
    "er_sde": 2e-8,  # the peer places its integration points in float32
    "dpm_fast": 3e-7,  # the peer keeps its times in float32
    "dpm_adaptive": 2e-6,  # likewise
    "uni_pc": 1e-5,  # recorded in float32
    "uni_pc_bh2": 1e-5,
}
KEEPS_ITS_START = {"ipndm", "ipndm_v", "deis"}
"""The peer reports the start state in every step of these: their estimates are compared instead."""
CORRECTS = {"uni_pc", "uni_pc_bh2"}
"""The peer reports corrected states, the sampler predicted ones: their estimates are compared instead."""


def process_of(name: str) -> NoiseProcess:
    return Flow(shift=3.0) if name.startswith("comfy_flow") else Epsilon()


def sigmas_of(name: str, case: dict[str, Any]) -> list[float]:
    if "sigma_max" in case:  # the two samplers that take the ends of a schedule alone
        return [case["sigma_max"]] * (case.get("n", 2) - 1) + [case["sigma_min"], 0.0]
    if name.startswith("comfy_flow"):  # other samplers of the group lower the first level, Euler shows it
        case = FACTS["cases"][f"comfy_flow/euler/{name.rpartition('/')[2]}"]
    return [*case.get("callback_sigma", case["model_call_sigmas"]), 0.0]


def options_of(name: str, case: dict[str, Any]) -> SamplerOptions:
    given: dict[str, Any] = case.get("options", {})
    options: dict[str, Any] = {KNOBS.get(knob, knob): value for knob, value in given.items()}
    if "eta" in case:
        options["eta"] = case["eta"]
    dialect = "a1111" if name.startswith("k_diffusion") else "comfyui"
    return replace(CATALOGUE.get(case["sampler"]).options, dialect=dialect, **options)


def sample(name: str, case: dict[str, Any]) -> tuple[Recorder, Replay, list[Step]]:
    process, sigmas, sampler = process_of(name), sigmas_of(name, case), CATALOGUE.get(case["sampler"])
    uncond = UNCOND if sampler.needs_uncond else None
    recorder = Recorder(process, COND, uncond, case.get("cfg_scale", 1.0))
    x: Any = start() * sigmas[0]
    noise = Replay(draws())
    if sampler.alone:  # the peer measures its error over the batch: the batch stands for one image
        x, noise = x[None], Replay(draws()[:, None])
    return recorder, noise, list(sampler.run(recorder, x, sigmas, process, noise, options_of(name, case)))


def states(name: str, case: dict[str, Any]) -> tuple[Array, Array]:
    """(ours, theirs), the result last."""
    recorder, _, steps = sample(name, case)
    result: Any = steps[-1].x
    if f"{name}/x_final" in ARRAYS:
        return result[0], ARRAYS[f"{name}/x_final"]
    theirs = ARRAYS[f"{name}/x"]
    if case["sampler"] in KEEPS_ITS_START | CORRECTS:
        if f"{name}/denoised" not in ARRAYS:
            return result, theirs[-1]
        cleans: list[Any] = [step.clean for step in steps]
        return np.stack([*cleans, result]), np.concatenate([ARRAYS[f"{name}/denoised"], theirs[-1:]])
    return np.stack([*(recorder.states[i] for i in sorted(recorder.states)), result]), theirs


@pytest.mark.parametrize("name", FACTS["cases"])
def test_a_trajectory(name: str) -> None:
    case = FACTS["cases"][name]
    ours, theirs = states(name, case)
    assert relative(ours, theirs) < TOLERANCE.get(case["sampler"], EXACT)


@pytest.mark.parametrize("name", FACTS["cases"])
def test_the_levels_of_the_network_calls(name: str) -> None:
    case = FACTS["cases"][name]
    recorder, _, _ = sample(name, case)
    rounding = 1e-4 if case["sampler"] == "dpm_adaptive" else 1e-5  # adaptive steps amplify the peer's float32 times
    np.testing.assert_allclose(recorder.sigmas, case["model_call_sigmas"], rtol=rounding)


@pytest.mark.parametrize("dialect", ["k_diffusion", "comfy"])
def test_churn_draws_as_often_as_the_peer(dialect: str) -> None:
    name = f"{dialect}/heun/normal20/s_churn=5.0,s_tmin=0.1,s_tmax=10.0,s_noise=1.003"
    _, noise, _ = sample(name, FACTS["cases"][name])
    assert noise.count == FACTS["cases"][name]["n_noise_draws"]


def test_every_recorded_case_is_compared() -> None:
    """No case is left out: each sampler of the file is ours, and the tolerance list names none that is not recorded."""
    recorded = {case["sampler"] for case in FACTS["cases"].values()}
    assert recorded <= {spec.name for spec in SAMPLERS}
    assert set(TOLERANCE) <= recorded
    assert len(FACTS["cases"]) == 386
