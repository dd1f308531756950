"""What holds for every sampler of the catalogue: batches, resuming, plain numbers, unbroken names."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pinxit.sampling.denoiser import Denoiser, Prediction, logged
from pinxit.sampling.noise import PhiloxNoise
from pinxit.sampling.process import EDM, Epsilon, Flow, NoiseProcess, Velocity
from pinxit.sampling.samplers import SAMPLERS, SamplerOptions, SamplerSpec, Step
from pinxit.sampling.schedules import SCHEDULES, ScheduleOptions, Sigmas, karras, sgm_uniform
from pinxit.sampling.tables import zero_terminal_levels
from pinxit.schema.errors import BadInput
from pinxit.schema.registry import Registry
from tests.reference import golden_json
from tests.sampling.mixture import prediction

SHAPE = (4, 2, 2)
STEPS = 7
SEEDS = (10, 11, 12)
FACTS = golden_json("goldens/samplers/kdiffusion_comfy.json")["mixture"]
MU, S, W = (torch.tensor(FACTS[key], dtype=torch.float32) for key in ("mu", "s", "w"))
PROCESSES: dict[str, NoiseProcess] = {
    "epsilon": Epsilon(),
    "velocity": Velocity(),
    "zero-snr": Velocity(table=zero_terminal_levels()),
    "flow": Flow(shift=3.0),
    "edm": EDM(),
}
every_sampler = pytest.mark.parametrize("spec", SAMPLERS, ids=lambda spec: spec.name)
every_process = pytest.mark.parametrize("kind", PROCESSES)


def mixture(x: Tensor, a: float, b: float) -> Tensor:
    """The golden denoiser on float32 tensors, with sums in one order whatever the batch."""
    flat = x.reshape(len(x), 1, -1)
    v = (a * S) ** 2 + b**2
    away = flat - a * MU
    r = torch.softmax(W.log() - (away**2).sum(-1) / (2 * v) - 8 * v.log(), dim=1)
    return (r[..., None] * (MU + (a * S**2 / v)[:, None] * away)).sum(1).reshape(x.shape)


class Counting:
    """A Denoiser over the mixture, with an unconditional estimate, that counts its calls."""

    def __init__(self, process: NoiseProcess) -> None:
        self.process = process
        self.calls = 0

    def __call__(self, x: Tensor, sigma: float, index: int, /) -> Prediction:
        self.calls += 1
        clean = mixture(x, self.process.alpha(sigma), sigma)
        return Prediction(clean, 0.9 * clean)


def run(spec: SamplerSpec, process: NoiseProcess, seeds: tuple[int, ...], denoise: Denoiser) -> list[Step]:
    if spec.alone and len(seeds) > 1:
        alone = [run(spec, process, (seed,), denoise) for seed in seeds]
        return [replace(alone[0][-1], x=torch.cat([steps[-1].x for steps in alone]))]
    sigmas = levels_for(process, STEPS)
    noise = PhiloxNoise(seeds, SHAPE, convert=torch.from_numpy)
    return list(spec.run(denoise, process.amplitude(sigmas[0]) * noise.start(), sigmas, process, noise, lively(spec)))


def levels_for(process: NoiseProcess, steps: int) -> Sigmas:
    """A schedule as the process is usually run: in time where its end must be visited, else karras."""
    in_time = process.zero_terminal or isinstance(process, Flow)
    return (sgm_uniform if in_time else karras)(steps, process, ScheduleOptions())


def lively(spec: SamplerSpec) -> SamplerOptions:
    """The sampler's defaults with churn, so that every source of noise takes part."""
    return replace(spec.options, s_churn=1.0)


@every_sampler
@every_process
def test_an_image_of_a_batch_is_the_image_alone(spec: SamplerSpec, kind: str) -> None:
    process = PROCESSES[kind]
    batch = run(spec, process, SEEDS, Counting(process))[-1].x
    for place, seed in enumerate(SEEDS):
        alone = run(spec, process, (seed,), Counting(process))[-1].x
        assert torch.equal(batch[place], alone[0])


@every_sampler
@every_process
def test_a_run_can_be_cut_after_every_step(spec: SamplerSpec, kind: str) -> None:
    """The log of predictions is the whole checkpoint: finished steps call no network, the result is the same bits."""
    process = PROCESSES[kind]
    seeds = SEEDS[:1]
    whole = Counting(process)
    log: list[Prediction] = []
    ends: list[int] = []
    steps: list[Step] = []
    sigmas = levels_for(process, STEPS)
    noise = PhiloxNoise(seeds, SHAPE, convert=torch.from_numpy)
    x = process.amplitude(sigmas[0]) * noise.start()
    for step in spec.run(logged(whole, log), x, sigmas, process, noise, lively(spec)):
        steps.append(step)
        ends.append(len(log))
    for cut in ends:
        rest = Counting(process)
        again = run(spec, process, seeds, logged(rest, log[:cut]))
        assert rest.calls == whole.calls - cut
        assert all(torch.equal(one.x, other.x) for one, other in zip(again, steps, strict=True))


@every_sampler
@every_process
def test_plain_numbers_serve_as_well(spec: SamplerSpec, kind: str) -> None:
    """A single Gaussian picture of mean 2 and deviation 0.5: from any noise the sampler ends near it."""
    process = PROCESSES[kind]

    def denoise(x: Any, sigma: float, index: int, /) -> Prediction:
        a = process.alpha(sigma)
        clean = 2.0 + a * 0.25 / (a**2 * 0.25 + sigma**2) * (x - 2.0 * a)
        return prediction(clean, clean)

    class Numbers(PhiloxNoise):
        def _give(self, images: Any) -> Any:
            return float(images[0][0])

    sigmas = levels_for(process, 12)
    noise: Any = Numbers((3,), (1,))
    steps = list(spec.run(denoise, process.amplitude(sigmas[0]) * noise.start(), sigmas, process, noise, spec.options))
    assert all(isinstance(step.x, float) for step in steps)
    assert float(steps[-1].x) == pytest.approx(2.0, abs=1.5)
    assert [step.index for step in steps] == list(range(len(steps)))


@every_sampler
def test_the_facts_of_a_spec_are_true(spec: SamplerSpec) -> None:
    """Calls per step, use of noise and need of the unconditional estimate, measured."""
    process = Epsilon()
    asked = 0

    class Watched(PhiloxNoise):
        def _give(self, images: Any) -> Any:
            nonlocal asked
            asked += 1
            return super()._give(images)

    sigmas = karras(20, process, ScheduleOptions())
    counting = Counting(process)
    noise = Watched((1,), SHAPE, convert=torch.from_numpy)
    x = process.amplitude(sigmas[0]) * noise.start()
    asked = 0
    steps = list(spec.run(counting, x, sigmas, process, noise, spec.options))
    assert (asked > 0) == spec.uses_noise
    calls = counting.calls / (len(steps) if spec.alone else len(sigmas) - 1)
    assert spec.calls - 1 < calls <= spec.calls + 0.5
    if spec.name not in ("dpm_fast", "dpm_adaptive"):
        assert steps[-1].sigma in (0.0, 0.001)

    def plain(x: Tensor, sigma: float, index: int, /) -> Prediction:
        return Prediction(mixture(x, 1.0, sigma))

    without = list(
        spec.run(plain, x, sigmas, process, PhiloxNoise((1,), SHAPE, convert=torch.from_numpy), spec.options)
    )
    assert torch.equal(without[-1].x, steps[-1].x) != spec.needs_uncond


@every_sampler
def test_one_step_is_enough(spec: SamplerSpec) -> None:
    process = Epsilon()
    noise = PhiloxNoise((1,), SHAPE, convert=torch.from_numpy)
    steps = list(spec.run(Counting(process), 14.6 * noise.start(), (14.6, 0.0), process, noise, spec.options))
    assert all(bool(torch.isfinite(step.x).all()) for step in steps)


MEAN, DEVIATION = 2.0, 0.5


def gaussian(process: NoiseProcess) -> Denoiser:
    """The posterior mean of a single number that is N(MEAN, DEVIATION^2): everything about it is known."""

    def denoise(x: Any, sigma: float, index: int, /) -> Prediction:
        a, s2 = process.alpha(sigma), DEVIATION**2
        clean = MEAN + a * s2 / (a**2 * s2 + sigma**2) * (x - MEAN * a)
        return prediction(clean, clean)

    return denoise


BIASED = {"dpmpp_2m_v2"}
"""Made for the karras schedule: where the lengths of neighbouring steps differ much, its weights do not add up to 1."""


def ends_of(spec: SamplerSpec, process: NoiseProcess, steps: int) -> tuple[Any, Any]:
    """(where the sampler ends, where the probability flow does) from the same noise."""
    sigmas = levels_for(process, steps)
    noise: Any = PhiloxNoise((5,), (1 if spec.alone else 400,))
    x: Any = process.amplitude(sigmas[0]) * noise.start().astype(np.float64)
    steps_taken = list(spec.run(gaussian(process), x, sigmas, process, noise, spec.options))
    a = process.alpha(sigmas[0])
    exact = MEAN + DEVIATION * (x[0] - a * MEAN) / np.sqrt((a * DEVIATION) ** 2 + sigmas[0] ** 2)
    return np.asarray(steps_taken[-1].x)[0], exact


@every_sampler
@every_process
def test_many_steps_reach_the_answer(spec: SamplerSpec, kind: str) -> None:
    """Without noise the end is that of the probability flow, which a Gaussian has in closed form, or comes nearer with
    more steps; with noise the ends of many runs have the Gaussian's mean and spread."""
    ends, exact = ends_of(spec, PROCESSES[kind], 60)
    assert np.isfinite(ends).all()
    if spec.uses_noise:
        assert float(ends.mean()) == pytest.approx(MEAN, abs=0.15)
        assert float(ends.std()) == pytest.approx(DEVIATION, abs=0.2)
        return
    error = float(np.abs(ends - exact).max())
    if spec.name in BIASED and levels_for(PROCESSES[kind], 60) != karras(60, PROCESSES[kind], ScheduleOptions()):
        assert error < 1
    elif error > 0.1:
        ends, exact = ends_of(spec, PROCESSES[kind], 240)
        assert float(np.abs(ends - exact).max()) < 0.6 * error


def test_adaptive_steps_refuse_a_batch() -> None:
    spec = Registry("sampler", SAMPLERS).get("dpm_adaptive")
    with pytest.raises(
        BadInput, match=r"chooses its steps for one image at a time, it was given 2\. Sample the images"
    ):
        list(
            spec.run(
                Counting(Epsilon()), torch.zeros(2, *SHAPE), (14.6, 1.0, 0.0), Epsilon(), noise_of(2), spec.options
            )
        )


def noise_of(images: int) -> PhiloxNoise:
    return PhiloxNoise(tuple(range(images)), SHAPE, convert=torch.from_numpy)


def test_restarts_spend_the_same_steps() -> None:
    from pinxit.sampling.samplers.restart import restarts

    for n in (10, 20, 35, 36, 50):
        path = restarts(karras(n, Epsilon(), ScheduleOptions()), Epsilon())
        jumps = [there for (_, there), (here, _) in itertools.pairwise(path) if here > there]
        assert len(jumps) == (0 if n < 20 else 1 if n < 36 else 2)
        assert abs(len(path) - n) <= 2
        assert path[-1][1] == 0


ALIASES = {
    "DPM++ 2M": "dpmpp_2m",
    "DPM++ 2M SDE Heun": "dpmpp_2m_sde_heun",
    "Euler a": "euler_ancestral",
    "k_euler_a": "euler_ancestral",
    "K_DPM_2_ANCESTRAL": "dpm_2_ancestral",
    "DPM adaptive": "dpm_adaptive",
    "PLMS": "plms",
    "pndm": "plms",
    "unipc": "uni_pc",
    "DDIM CFG++": "euler_cfg_pp",
    "EulerDiscreteScheduler": "euler",
    "dpmpp_3m_sde_gpu": "dpmpp_3m_sde",
    "dpm++2m": "dpmpp_2m",
    "HeunPP2": "heunpp2",
}


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_the_names_of_other_programs_are_known(alias: str, name: str) -> None:
    assert Registry("sampler", SAMPLERS).get(alias).name == name


def test_names_titles_and_summaries_are_whole() -> None:
    assert len(Registry("sampler", SAMPLERS)) == len(SAMPLERS)
    for spec in (*SAMPLERS, *SCHEDULES):
        assert spec.title
        assert spec.summary.endswith((".", ")", ":")) or len(spec.summary) > 20
    preferred = {spec.schedule for spec in SAMPLERS} - {None}
    assert preferred <= {spec.name for spec in SCHEDULES}


def test_every_recorded_sampler_exists() -> None:
    recorded = {case["sampler"] for case in golden_json("goldens/samplers/kdiffusion_comfy.json")["cases"].values()}
    assert recorded <= {spec.name for spec in SAMPLERS}


def test_importing_the_samplers_leaves_torch_out() -> None:
    program = (
        "import sys, pinxit.sampling.samplers, pinxit.sampling.schedules, pinxit.sampling.guidance, "
        "pinxit.sampling.compat, pinxit.sampling.noise; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


def test_numpy_float32_stays_float32() -> None:
    """A float64 constant must not widen the state of an array run."""
    process = Epsilon()
    for spec in SAMPLERS:
        noise: Any = PhiloxNoise((1,), SHAPE)
        sigmas = karras(4, process, ScheduleOptions())

        def denoise(x: Any, sigma: float, index: int, /) -> Prediction:
            return prediction(x * np.float32(0.1), x * np.float32(0.05))

        steps = list(spec.run(denoise, noise.start() * sigmas[0], sigmas, process, noise, spec.options))
        assert np.asarray(steps[-1].x).dtype == np.float32, spec.name
