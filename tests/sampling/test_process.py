"""The noise processes: tables, timesteps, scalings, and the algebra of a step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.sampling.process import EDM, Epsilon, Flow, NoiseProcess, Velocity
from pinxit.sampling.tables import (
    LAST_ABAR,
    cosine_betas,
    cumulative,
    levels,
    linear_betas,
    scaled_linear_betas,
    standard_levels,
    zero_terminal,
    zero_terminal_levels,
)
from tests.reference import golden_json

TABLES = golden_json("goldens/schedules/base_tables.json")
SCALED = TABLES["scaled_linear_0.00085_0.012_1000"]
PROCESSES = [Epsilon(), Velocity(), Velocity(table=zero_terminal_levels()), EDM(), EDM(velocity=True), Flow(shift=3.0)]


def test_the_standard_table() -> None:
    assert scaled_linear_betas().tolist() == pytest.approx(SCALED["betas"], rel=1e-15)
    assert cumulative(scaled_linear_betas()).tolist() == pytest.approx(SCALED["alphas_cumprod"], rel=1e-14)
    assert standard_levels() == pytest.approx(SCALED["sigmas_float64"], rel=1e-13)


def test_the_other_tables() -> None:
    upscaler = TABLES["linear_1e-4_2e-2_1000 (x4 upscaler; ldm linear is scaled_linear)"]["alphas_cumprod"]
    assert cumulative(scaled_linear_betas(1e-4, 2e-2)).tolist() == pytest.approx(upscaler, rel=1e-12)
    assert linear_betas(0.00085, 0.012).tolist() == pytest.approx(TABLES["sqrt_linear"]["betas"], rel=1e-12)
    cosine = TABLES["squaredcos_cap_v2_1000"]
    assert cosine_betas().tolist() == pytest.approx(cosine["betas"], rel=1e-6)
    assert cumulative(cosine_betas()).tolist() == pytest.approx(cosine["alphas_cumprod"], rel=1e-5, abs=1e-8)


def test_zero_terminal_snr() -> None:
    facts = TABLES["zero_terminal_snr"]
    assert zero_terminal_levels() == pytest.approx(facts["comfy_sigmas"], rel=1e-11)
    assert zero_terminal_levels()[-1] == pytest.approx(4518.7636986558555, rel=1e-12)
    assert zero_terminal(cumulative(scaled_linear_betas()))[-1] == LAST_ABAR
    betas = np.array(facts["diffusers_betas"], dtype=np.float64)
    assert zero_terminal_levels("diffusers")[:-1] == pytest.approx(levels(cumulative(betas)[:-1]), rel=1e-6)
    assert zero_terminal_levels("diffusers")[-1] == pytest.approx(4096, rel=1e-7)
    assert Velocity(table=zero_terminal_levels()).zero_terminal
    assert not Velocity().zero_terminal


@pytest.mark.parametrize(("sigma", "interpolated", "nearest"), TABLES["kdiffusion_sigma_to_t"])
def test_the_timestep_of_a_level(sigma: float, interpolated: float, nearest: int) -> None:
    assert Epsilon().timestep(sigma) == pytest.approx(interpolated, abs=2e-2 if sigma < 0.05 else 1e-3)
    assert Epsilon(rounding="nearest").timestep(sigma) == nearest


@pytest.mark.parametrize(("sigma", "timestep"), TABLES["comfy_timestep"])
def test_the_nearest_timestep_of_a_level(sigma: float, timestep: int) -> None:
    assert Epsilon(rounding="nearest").timestep(sigma) == timestep


@pytest.mark.parametrize(("timestep", "sigma"), TABLES["comfy_sigma"])
def test_the_level_of_a_timestep(timestep: float, sigma: float) -> None:
    assert Epsilon().sigma(timestep) == pytest.approx(sigma, rel=1e-6)


@pytest.mark.parametrize(("share", "sigma"), TABLES["comfy_percent_to_sigma"])
def test_the_level_at_a_share_of_the_run(share: float, sigma: float) -> None:
    assert Epsilon().at_progress(share) == (math.inf if share == 0 else pytest.approx(sigma, rel=1e-6))


@pytest.mark.parametrize("shift", TABLES["flow_discrete"])
def test_flow_tables(shift: str) -> None:
    facts, flow = TABLES["flow_discrete"][shift], Flow(shift=float(shift))
    assert flow.levels[::37] == pytest.approx(facts["sigmas"], rel=1e-6)
    for t, sigma in facts["sigma_of_t"]:
        assert flow.sigma(t) == pytest.approx(sigma, rel=1e-6)
    for share, sigma in facts["percent_to_sigma"]:
        assert flow.at_progress(share) == pytest.approx(sigma, rel=1e-12)
    assert flow.timestep(0.25) == 250


def test_continuous_levels() -> None:
    edm = EDM()
    assert (edm.sigma_min, edm.sigma_max) == pytest.approx((0.002, 80))
    assert edm.timestep(math.e) == 0.25
    assert edm.sigma(edm.timestep(3.0)) == pytest.approx(3)
    assert edm.at_progress(0) == math.inf
    assert edm.at_progress(0.5) == pytest.approx(math.sqrt(0.002 * 80))
    assert edm.at_progress(1) == 0


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@given(sigma=st.floats(0.03, 0.99), clean=st.floats(-3, 3), eps=st.floats(-3, 3))
def test_a_perfect_network_gives_the_picture_back(
    process: NoiseProcess, sigma: float, clean: float, eps: float
) -> None:
    """Each kind's training target, fed through its scalings, is the clean picture again."""
    picture: Any = clean
    noise: Any = eps
    x = process.add_noise(picture, noise, sigma)
    norm = math.sqrt(1 + sigma**2)
    if isinstance(process, Epsilon):
        target = noise
    elif isinstance(process, Velocity):
        target = noise / norm - picture * sigma / norm
    elif isinstance(process, Flow):
        target = noise - picture
    else:
        target = process.output(x, picture, sigma)
    assert process.clean(x, target, sigma) == pytest.approx(picture, abs=1e-9)
    assert process.output(x, picture, sigma) == pytest.approx(target, abs=1e-6)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@given(here=st.floats(0.05, 1), there=st.floats(0, 1), eta=st.floats(0, 1))
def test_an_ancestral_step_keeps_the_level(process: NoiseProcess, here: float, there: float, eta: float) -> None:
    there *= 0.98 * here
    for split in (process.split, process.diffuse):
        down, up = split(here, there, eta)
        assert down**2 + up**2 == pytest.approx(there**2, abs=1e-12)
    level, scale = process.landing(there, process.split(here, there, eta)[0])
    assert scale * process.alpha(level) == pytest.approx(process.alpha(there))
    assert scale * level == pytest.approx(process.split(here, there, eta)[0], abs=1e-12)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_a_step_with_the_true_picture_lands_on_it(process: NoiseProcess) -> None:
    clean: Any = 0.7
    noise: Any = -1.3
    x = process.add_noise(clean, noise, 0.8)
    assert process.move(x, clean, 0.8, 0.3, 0.3) == pytest.approx(process.add_noise(clean, noise, 0.3))
    assert process.move(x, clean, 0.8, 0.0, 0.0) == pytest.approx(clean)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_raising_noise_keeps_picture_and_level(process: NoiseProcess) -> None:
    one: Any = 1.0
    zero: Any = 0.0
    assert process.raise_noise(process.alpha(0.3) * one, zero, 0.3, 0.9) == pytest.approx(process.alpha(0.9))
    kept = process.raise_noise(0.3 * one, zero, 0.3, 0.9)
    added = process.raise_noise(zero, one, 0.3, 0.9)
    assert kept**2 + added**2 == pytest.approx(0.81)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_lambda_has_an_inverse(process: NoiseProcess) -> None:
    for sigma in (0.03, 0.4, 0.9):
        assert process.sigma_of(process.half_log_snr(sigma)) == pytest.approx(sigma)


def test_pure_noise_is_offset_where_lambda_is_infinite() -> None:
    assert Flow(shift=3.0).offset(1.0) == pytest.approx(0.9999666644442963)
    assert Flow(shift=3.0).offset(0.9) == 0.9
    assert Epsilon().offset(14.6) == 14.6


def test_the_amplitude_of_the_start_noise() -> None:
    assert Epsilon().amplitude(14.6) == 14.6
    assert Epsilon().amplitude(14.6, "root") == math.sqrt(1 + 14.6**2)
    assert Flow().amplitude(1.0, "root") == 1.0
