"""Schedules against the peers' (float32) levels, and the rules around them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.sampling import schedules
from pinxit.sampling.beta import beta_quantile, beta_share
from pinxit.sampling.dialect import COMFYUI
from pinxit.sampling.diffusers import levels
from pinxit.sampling.process import EDM, Epsilon, Flow, NoiseProcess, Velocity
from pinxit.sampling.schedules import SCHEDULES, ScheduleOptions, Sigmas
from pinxit.sampling.tables import zero_terminal_levels
from pinxit.sampling.visits import automatic, for_strength, without_next_to_last
from pinxit.schema.errors import BadInput
from pinxit.schema.registry import Registry
from tests.reference import golden_json

FACTS = golden_json("goldens/schedules/sigma_schedules.json")
CATALOGUE = Registry("schedule", SCHEDULES)
PROCESS = Epsilon()
ZERO_TERMINAL = Velocity(table=zero_terminal_levels())

UNCLAIMED = {
    "a1111/1/align_your_steps": "the peer starts its only step at the lowest level, from pure noise",
    "comfy/1/kl_optimal": "the peer divides by 0 and gives no number; ours is one step from the top",
    "comfy_flow/1/kl_optimal": "likewise",
}
"""Recorded rows that we do not reproduce, by the start of their name, with the reason."""

A1111 = ScheduleOptions(dialect="a1111")
K_DIFFUSION = {
    "karras_rho5": ("karras", ScheduleOptions(rho=5)),
    "karras_0.1_10": ("karras", ScheduleOptions(sigma_min=0.1, sigma_max=10)),
    "polyexponential_rho2": ("polyexponential", ScheduleOptions(rho=2)),
    "model_get_sigmas": ("normal", ScheduleOptions()),
}
CLASSES = {
    "PNDM": "PNDM",
    "DDIM": "DDIM",
    "EulerDiscrete": "EulerDiscrete",
    "DPM++2M": "DPMSolverMultistep",
    "UniPC": "UniPCMultistep",
    "LMS": "LMSDiscrete",
    "Heun": "HeunDiscrete",
    "LCM": "LCM",
    "TCD": "TCD",
    "DDPM": "DDPM",
    "FlowMatch": "FlowMatchEulerDiscrete",
    "KDPM2": "KDPM2Discrete",
}
"""The first word of a recorded row of diffusers to the class it was recorded with."""


def entries() -> list[tuple[str, Any]]:
    return [
        (f"{library}/{n}/{name}", want)
        for library, counts in FACTS.items()
        for n, rows in counts.items()
        for name, want in rows.items()
    ]


def is_a_list(want: Any) -> bool:
    return isinstance(want, list) and None not in want and not np.isnan(want).any()


def cases() -> list[tuple[str, list[float]]]:
    return [(name, want) for name, want in entries() if not name.startswith("diffusers/") and is_a_list(want)]


def levels_of(case: str) -> Sigmas:
    library, count, name = case.split("/", 2)
    n = int(count)
    if library == "k_diffusion":
        base, options = K_DIFFUSION.get(name, (name, A1111))
        return CATALOGUE.get(base).run(n, PROCESS, options)
    if library == "a1111":
        base, _, model = name.partition("/")
        return CATALOGUE.get(base).run(n, PROCESS, ScheduleOptions(dialect="a1111", model=model or "sd1"))
    if library == "comfy_flow":
        base, _, shift = name.partition("/shift")
        return CATALOGUE.get(base).run(n, Flow(shift=float(shift)), ScheduleOptions(dialect="comfyui"))
    return comfy(n, name)


def comfy(n: int, name: str) -> Sigmas:
    options = ScheduleOptions(dialect="comfyui")
    if name.startswith("ays/"):
        _, model, strength = name.split("/")
        options = ScheduleOptions(dialect="comfyui", model=model.lower())
        kept = round(n * float(strength.removeprefix("denoise")))
        return CATALOGUE.get("align_your_steps").run(n, PROCESS, options)[-(kept + 1) :]
    if name.startswith("KSampler"):
        sampler, base, strength = name.removeprefix("KSampler(").removesuffix(")").split(",")
        function = CATALOGUE.get(base).run
        if COMFYUI.discards_of(sampler, usual=False):
            function = without_next_to_last(function)
        return for_strength(function, n, PROCESS, options, float(strength.removeprefix("denoise=")))
    base, _, zero = name.partition("+")
    return CATALOGUE.get(base).run(n, ZERO_TERMINAL if zero else PROCESS, options)


@pytest.mark.parametrize(("case", "want"), [pytest.param(*case, id=case[0]) for case in cases()])
def test_a_schedule(case: str, want: list[float]) -> None:
    if any(case.startswith(known) for known in UNCLAIMED):
        assert levels_of(case)[0] == max(levels_of(case))
        return
    # The peers' float32 tables move the lowest levels by 4e-7 (vp's own by 2.2e-6).
    np.testing.assert_allclose(levels_of(case), want, rtol=1e-5, atol=3e-6 if case.endswith("vp") else 5e-7)


def diffusers_rows() -> list[tuple[str, dict[str, Any]]]:
    return [(name, want) for name, want in entries() if name.startswith("diffusers/")]


@pytest.mark.parametrize(("case", "want"), [pytest.param(*case, id=case[0]) for case in diffusers_rows()])
def test_a_configuration_of_diffusers(case: str, want: dict[str, Any]) -> None:
    """Every recorded scheduler: its sigmas where it has them, else the levels of its timesteps."""
    _, count, name = case.split("/", 2)
    config = {**want["config"], "_class_name": f"{CLASSES[name.split()[0]]}Scheduler"}
    flow, zero = "shift" in config, config.get("rescale_betas_zero_snr", False)
    table = zero_terminal_levels("diffusers") if zero else None
    process: NoiseProcess = Flow(shift=float(config["shift"])) if flow else Epsilon(table=table) if table else PROCESS
    ours = levels(config, int(count), process)
    if "sigmas" in want:
        # Two-stage classes list each inner level twice, and zeros at the end.
        np.testing.assert_allclose(ours, list(dict.fromkeys(want["sigmas"])), rtol=1e-5, atol=5e-7)
    else:
        theirs = [process.levels[int(t)] for t in dict.fromkeys(want["timesteps"])]
        assert list(ours[:-1]) == theirs


def test_every_recorded_row_is_compared_or_has_a_reason() -> None:
    compared = {name for name, _ in (*cases(), *diffusers_rows())}
    left = {name for name, _ in entries() if not any(name.startswith(start) for start in UNCLAIMED)}
    assert left <= compared
    assert len(left) > 500
    assert all(any(name.startswith(start) for name, _ in entries()) for start in UNCLAIMED)


@pytest.mark.parametrize("spec", SCHEDULES, ids=lambda spec: spec.name)
@pytest.mark.parametrize("process", [PROCESS, ZERO_TERMINAL, Flow(shift=3.0), EDM()], ids=str)
@given(n=st.integers(1, 10))
def test_every_schedule_falls(spec: Any, process: NoiseProcess, n: int) -> None:
    if isinstance(process, Flow) and spec.name in VE_ONLY:
        told = f"The schedule {spec.name} is made of noise levels that a flow model does not have: its noise ends at 1"
        with pytest.raises(BadInput, match=told):
            spec.run(n, process, ScheduleOptions())
        return
    sigmas = spec.run(n, process, ScheduleOptions())
    assert all(isinstance(sigma, float) for sigma in sigmas)
    assert all(high >= low for high, low in itertools.pairwise(sigmas))
    if spec.in_time and spec.name != "turbo":
        assert sigmas[0] == pytest.approx(process.sigma_max)


VE_ONLY = {"vp", "align_your_steps", "align_your_steps_32", "gits"}


def test_no_schedule_takes_less_than_one_step() -> None:
    for spec in SCHEDULES:
        with pytest.raises(BadInput, match=r"needs at least 1 step, it got 0\. Ask for 1 step or more\."):
            spec.run(0, PROCESS, ScheduleOptions())


def test_turbo_ends_after_ten_steps() -> None:
    assert schedules.turbo(1, PROCESS, ScheduleOptions()) == (PROCESS.sigma_max, 0.0)
    with pytest.raises(BadInput, match="The turbo schedule has 10 steps, 11 were asked for"):
        schedules.turbo(11, PROCESS, ScheduleOptions())


def test_an_unknown_optimised_table_is_named() -> None:
    with pytest.raises(BadInput, match=r"No optimised levels are known for the model 'sd9'\. Known: sd1, sdxl, svd"):
        schedules.align_your_steps(10, PROCESS, ScheduleOptions(model="sd9"))


@pytest.mark.parametrize(
    ("preferred", "process", "name"),
    [
        ("karras", Epsilon(), "karras"),
        (None, Epsilon(), "normal"),
        ("karras", ZERO_TERMINAL, "sgm_uniform"),
        ("exponential", Flow(shift=3.0), "simple"),
        (None, EDM(), "karras"),
    ],
)
def test_the_automatic_schedule(preferred: str | None, process: NoiseProcess, name: str) -> None:
    assert automatic(preferred, process) == name


def test_strength() -> None:
    options = ScheduleOptions()
    full = schedules.karras(20, PROCESS, options)
    assert for_strength(schedules.karras, 20, PROCESS, options, 1.0) == full
    assert for_strength(schedules.karras, 20, PROCESS, options, 0.55) == full[-12:]
    assert for_strength(schedules.karras, 20, PROCESS, options, 0.01) == full[-2:]
    a1111 = ScheduleOptions(dialect="a1111")
    assert for_strength(schedules.karras, 20, PROCESS, a1111, 0.75) == full[-17:]
    for wrong in (0.0, -1.0, 1.5):
        with pytest.raises(BadInput, match="strength must be above 0 and at most 1"):
            for_strength(schedules.karras, 20, PROCESS, options, wrong)


@given(share=st.floats(0, 1), a=st.floats(0.2, 5), b=st.floats(0.2, 5))
def test_the_beta_quantile_is_an_inverse(share: float, a: float, b: float) -> None:
    """Up to what a float can tell apart: with b below 1 the shares near 1 lie closer together than the places do."""
    x = beta_quantile(share, a, b)
    assert beta_share(math.nextafter(x, 0), a, b) - 1e-9 <= share <= beta_share(math.nextafter(x, 1), a, b) + 1e-9


def test_the_beta_quantile_in_closed_form() -> None:
    assert beta_quantile(0.25, 1, 1) == pytest.approx(0.25, rel=1e-14)
    assert beta_quantile(0.25, 0.5, 0.5) == pytest.approx(np.sin(np.pi / 8) ** 2, rel=1e-12)
    assert beta_quantile(0.5, 0.6, 0.6) == 0.5
