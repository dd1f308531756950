"""Trajectories of diffusers' schedulers, whose tables and coefficients are float32: agreement to 5e-5."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pinxit.sampling.denoiser import Prediction
from pinxit.sampling.process import Epsilon, Flow, NoiseProcess, Velocity
from pinxit.sampling.samplers import SAMPLERS, SamplerOptions, SamplerSpec
from pinxit.sampling.tables import standard_levels, zero_terminal_levels
from pinxit.schema.registry import Registry
from tests.reference import golden_arrays, golden_json
from tests.sampling.mixture import Array, Mixture, Replay, draws, prediction, relative, start

FACTS = golden_json("goldens/samplers/diffusers.json")
ARRAYS = golden_arrays("goldens/samplers/diffusers.npz")
MIXTURE = Mixture(FACTS["mixture"])
CATALOGUE = Registry("sampler", SAMPLERS)
PURE = 1e8
"""Stands for the infinite level of a table whose last alpha is exactly 0."""

NAMES = {
    "DDIMScheduler": "ddim",
    "PNDMScheduler": "plms",
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler_ancestral",
    "HeunDiscreteScheduler": "heun",
    "LMSDiscreteScheduler": "lms",
    "KDPM2DiscreteScheduler": "dpm_2",
    "KDPM2AncestralDiscreteScheduler": "dpm_2_ancestral",
    "DPMSolverSinglestepScheduler": "dpmpp_2s",
    "DEISMultistepScheduler": "deis",
    "DDPMScheduler": "ddpm",
    "LCMScheduler": "lcm",
    "TCDScheduler": "tcd",
    "SASolverScheduler": "sa_solver",
    "FlowMatchEulerDiscreteScheduler": "euler",
    "FlowMatchHeunDiscreteScheduler": "heun",
    "UniPCMultistepScheduler": "uni_pc_bh2",
}
MULTISTEP = {
    ("dpmsolver++", 1): "euler",
    ("dpmsolver++", 2): "dpmpp_2m",
    ("dpmsolver++", 3): "dpmpp_3m",
    ("dpmsolver", 2): "dpm_2m",
    ("sde-dpmsolver++", 2): "dpmpp_2m_sde",
}
INNER = {"heun", "dpm_2", "dpm_2_ancestral", "plms", "pndm_prk"}
"""Samplers whose recorded states include inner stages: only the result is compared."""


def spec_of(case: dict[str, Any]) -> SamplerSpec:
    config = case["config"]
    if case["cls"] == "DPMSolverMultistepScheduler":
        return CATALOGUE.get(MULTISTEP[config.get("algorithm_type", "dpmsolver++"), config.get("solver_order", 2)])
    if case["cls"] == "PNDMScheduler" and not config.get("skip_prk_steps", False):
        return CATALOGUE.get("pndm_prk")
    return CATALOGUE.get(NAMES[case["cls"]])


def options_of(spec: SamplerSpec, case: dict[str, Any]) -> SamplerOptions:
    config, options = case["config"], replace(spec.options, dialect="diffusers")
    if spec.name == "uni_pc_bh2":
        order = config.get("solver_order", 2)
        solver = config.get("solver_type", "bh2")
        return replace(options, order=order, solver=solver, predict_noise=not config.get("predict_x0", True))
    if spec.name in ("deis", "sa_solver"):
        options = replace(options, order=2, corrector_order=2, simple_order_2=True)
    if config.get("solver_type") == "heun":
        options = replace(options, solver="heun")
    if config.get("variance_type") == "fixed_large":
        options = replace(options, variance="large")
    return replace(options, **case["step_kwargs"])


def process_of(case: dict[str, Any]) -> NoiseProcess:
    if case["cls"].startswith("FlowMatch"):
        return Flow()
    return Velocity() if case["prediction_type"] == "v_prediction" else Epsilon()


def sigmas_of(case: dict[str, Any]) -> list[float]:
    """The levels of a case: as recorded, or from its timesteps for the classes that keep none."""
    if case.get("sigmas"):
        return list(dict.fromkeys(case["sigmas"]))
    config, cls = case["config"], case["cls"]
    zero = config.get("rescale_betas_zero_snr", False)
    table = list(zero_terminal_levels() if zero else standard_levels())
    if zero:
        table[-1] = PURE
    times = list(dict.fromkeys(int(t) for t in case["timesteps"]))
    if cls == "PNDMScheduler" and not config.get("skip_prk_steps", False):
        n = int(case["name"].rpartition("/n")[2])
        times = [t * (1000 // n) for t in reversed(range(n))]
    last = 0.0 if cls in ("DDPMScheduler", "LCMScheduler") or config.get("set_alpha_to_one", False) else table[0]
    return [*(table[t] for t in times), last]


class Trained:
    """A Denoiser over a network that was asked at diffusers' own (rounded) timesteps, call by call."""

    def __init__(self, process: NoiseProcess, ab: list[Any]) -> None:
        self.process, self.ab = process, iter(ab)
        self.states: dict[int, Any] = {}

    def __call__(self, x: Any, sigma: float, index: int, /) -> Prediction:
        self.states.setdefault(index, x)
        level = next(self.ab)
        a, b = (1 - level, level) if isinstance(self.process, Flow) else level
        x_in = x * self.process.scalings(sigma).input
        clean = MIXTURE(x_in, a, b)
        eps = (x_in - a * clean) / b
        if isinstance(self.process, Flow):
            output = (x_in - clean) / b
        else:
            output = a * eps - b * clean if isinstance(self.process, Velocity) else eps
        return prediction(self.process.clean(x, output, sigma))


def trajectory(name: str, case: dict[str, Any]) -> tuple[Array, Array]:
    """(ours, theirs): the states at each step's first call and the result, in the scheduler's own scale."""
    process, spec = process_of(case), spec_of(case)
    sigmas = sigmas_of({**case, "name": name})
    preserving = case["init_noise_sigma"] == 1.0 and not isinstance(process, Flow)

    def scaled(x: Array, sigma: float) -> Array:
        return x / math.sqrt(1 + sigma**2) if preserving else x

    x: Any = start() * (math.sqrt(1 + sigmas[0] ** 2) if preserving else case["init_noise_sigma"])
    network = Trained(process, case["model_ab"])
    steps = list(
        spec.run(network, x, sigmas, process, Replay(draws(), by_step=spec.name == "sa_solver"), options_of(spec, case))
    )
    result: Any = steps[-1].x
    states = [scaled(network.states[i], sigmas[i]) for i in range(len(sigmas) - 1)]
    ours = np.stack([*states, scaled(result, sigmas[-1])])
    theirs = ARRAYS[f"{name}/x"]
    return (ours[-1:], theirs[-1:]) if spec.name in INNER else (ours, theirs)


@pytest.mark.parametrize("name", FACTS["cases"])
def test_a_scheduler_of_diffusers(name: str) -> None:
    ours, theirs = trajectory(name, FACTS["cases"][name])
    assert relative(ours, theirs) < 5e-5
