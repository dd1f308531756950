"""Trajectories of diffusers' schedulers, whose tables and coefficients are float32: agreement to 5e-5."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pinxit.sampling.denoiser import Prediction
from pinxit.sampling.diffusers import Scheduler, scheduler
from pinxit.sampling.process import Epsilon, Flow, NoiseProcess, Velocity
from pinxit.sampling.samplers import SAMPLERS, SamplerOptions, SamplerSpec
from pinxit.sampling.tables import standard_levels, zero_terminal_levels
from pinxit.schema.errors import BadInput
from pinxit.schema.registry import Registry
from tests.reference import golden_arrays, golden_json
from tests.sampling.mixture import Array, Mixture, Replay, draws, prediction, relative, start

FACTS = golden_json("goldens/samplers/diffusers.json")
ARRAYS = golden_arrays("goldens/samplers/diffusers.npz")
MIXTURE = Mixture(FACTS["mixture"])
CATALOGUE = Registry("sampler", SAMPLERS)
PURE = 1e8
"""Stands for the infinite level of a table whose last alpha is exactly 0."""

INNER = {"heun", "dpm_2", "dpm_2_ancestral", "plms", "pndm_prk"}
"""Samplers whose recorded states include inner stages: only the result is compared."""


def meaning(case: dict[str, Any]) -> Scheduler:
    return scheduler({**case["config"], "_class_name": case["cls"]})


def spec_of(case: dict[str, Any]) -> SamplerSpec:
    return CATALOGUE.get(meaning(case).sampler)


def options_of(case: dict[str, Any]) -> SamplerOptions:
    return replace(meaning(case).options, **case["step_kwargs"])


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
        spec.run(network, x, sigmas, process, Replay(draws(), by_step=spec.name == "sa_solver"), options_of(case))
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


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({}, "The scheduler's configuration names no class. Its _class_name says which one it is."),
        (
            {"_class_name": "UnCLIPScheduler"},
            "pinxit does not offer the scheduler UnCLIPScheduler. The nearest it has is ddpm.",
        ),
        (
            {"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver"},
            "pinxit does not offer DPMSolverMultistepScheduler with algorithm_type 'sde-dpmsolver' and solver_order 2. "
            "The nearest it has is dpmpp_2m_sde.",
        ),
    ],
)
def test_a_configuration_that_is_not_offered(config: dict[str, object], told: str) -> None:
    with pytest.raises(BadInput) as raised:
        scheduler(config)
    assert str(raised.value) == told


@pytest.mark.parametrize(
    ("config", "sampler", "schedule"),
    [
        ({"_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": True}, "dpmpp_2m", "karras"),
        (
            {"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++"},
            "dpmpp_2m_sde",
            "sgm_uniform",
        ),
        (
            {"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3, "use_lu_lambdas": True},
            "dpmpp_3m",
            "exponential",
        ),
        ({"_class_name": "PNDMScheduler", "skip_prk_steps": True, "steps_offset": 1}, "plms", "leading"),
        ({"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}, "euler", "trailing"),
        ({"_class_name": "EDMEulerScheduler"}, "euler", "karras"),
        ({"_class_name": "EDMDPMSolverMultistepScheduler", "sigma_schedule": "exponential"}, "dpmpp_2m", "exponential"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}, "euler", "normal"),
        ({"_class_name": "LCMScheduler"}, "lcm", "lcm"),
        ({"_class_name": "UniPCMultistepScheduler", "use_beta_sigmas": True}, "uni_pc_bh2", "beta"),
    ],
)
def test_what_a_configuration_means(config: dict[str, object], sampler: str, schedule: str) -> None:
    found = scheduler(config)
    assert (found.sampler, found.schedule) == (sampler, schedule)


def test_every_recorded_scheduler_is_compared() -> None:
    """No case is left out: each class and configuration means a sampler of ours."""
    assert {case["cls"] for case in FACTS["cases"].values()} <= {f"{name}Scheduler" for name in CLASSES}


CLASSES = (
    "DDIM", "PNDM", "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "LMSDiscrete", "KDPM2Discrete",
    "KDPM2AncestralDiscrete", "DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep", "DDPM", "LCM", "TCD",
    "SASolver", "FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete", "UniPCMultistep",
)  # fmt: skip
