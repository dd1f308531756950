"""The numeric disagreements of the field, one by one: what each dialect does, and that ours is the one written down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pinxit.sampling.compat import NOISE_SOURCES
from pinxit.sampling.dialect import DIALECTS, FINER, PINXIT, Dialect, DialectSpec
from pinxit.sampling.noise import PhiloxNoise
from pinxit.sampling.process import EDM, Epsilon, Flow, Velocity, told
from pinxit.sampling.samplers import SAMPLERS
from pinxit.sampling.schedules import SCHEDULES, ScheduleOptions
from pinxit.sampling.tables import zero_terminal_levels
from pinxit.sampling.visits import exactly, for_strength, within
from pinxit.schema.errors import BadInput
from pinxit.schema.registry import Registry
from tests.reference import golden_arrays, golden_json
from tests.sampling.mixture import Mixture, Recorder, Replay, draws, relative, start

SCHEDULE = Registry("schedule", SCHEDULES)
SAMPLER = Registry("sampler", SAMPLERS)
BY_NAME = {spec.name: spec for spec in DIALECTS}
SIGMAS = golden_json("goldens/schedules/sigma_schedules.json")
TABLES = golden_json("goldens/schedules/base_tables.json")


@pytest.mark.parametrize(
    ("schedule", "row"), [("beta", "beta"), ("kl_optimal", "kl_optimal"), ("align_your_steps", "ays/SD1/denoise1.0")]
)
def test_schedules_follow_their_program(schedule: str, row: str) -> None:
    """Disagreement 1. Ours are ComfyUI's beta and KL optimal, and A1111's rounded levels for align your steps."""
    theirs = {"a1111": SIGMAS["a1111"]["10"][schedule], "comfyui": SIGMAS["comfy"]["10"][row]}
    ours = {
        name: SCHEDULE.get(schedule).run(10, Epsilon(), ScheduleOptions(dialect=name))
        for name in ("a1111", "comfyui", "pinxit")
    }
    for name, levels in theirs.items():
        np.testing.assert_allclose(ours[name], levels, rtol=1e-5, atol=5e-7)
    assert ours["a1111"] != ours["comfyui"]
    assert ours["pinxit"] == ours["a1111" if schedule == "align_your_steps" else "comfyui"]


def test_a_level_is_told_as_a_fraction_or_as_the_nearest_step() -> None:
    """Disagreement 2. Ours is the fraction, which follows a schedule instead of stepping."""
    fraction = told(Epsilon(), "interpolated", "a1111")
    nearest = told(Epsilon(), "nearest", "a1111")
    for sigma, between, _ in TABLES["kdiffusion_sigma_to_t"]:
        assert fraction.timestep(sigma) == pytest.approx(between, abs=2e-3)
    for sigma, whole in TABLES["comfy_timestep"]:
        assert nearest.timestep(sigma) == whole
    assert PINXIT.timestep_rounding == "interpolated"
    assert BY_NAME["comfyui"].timestep_rounding == "nearest"


@pytest.mark.parametrize(("dialect", "drawn"), [("a1111", 6), ("comfyui", 2), ("pinxit", 2)])
def test_churn_draws(dialect: Dialect, drawn: int) -> None:
    """Disagreement 3. Ours draws where noise is used: our noise is keyed by step, so that no draw moves another."""
    spec = SAMPLER.get("euler")
    options = replace(spec.options, dialect=dialect, s_churn=2.0, s_tmin=1.0, s_tmax=9.0)
    recorder = Recorder(Epsilon(), Mixture(golden_json("goldens/samplers/kdiffusion_comfy.json")["mixture"]))
    noise = Replay(draws())
    x: Any = start() * 14.6
    assert list(spec.run(recorder, x, (14.6, 8.0, 3.0, 0.9, 0.4, 0.1, 0.0), Epsilon(), noise, options))
    assert noise.count == drawn


@pytest.mark.parametrize(
    ("dialect", "library"), [("a1111", "k_diffusion"), ("comfyui", "comfy"), ("pinxit", "k_diffusion")]
)
def test_the_last_step_of_lms(dialect: Dialect, library: str) -> None:
    """Disagreement 3. Ours integrates the last step like the others, as k-diffusion does."""
    facts = golden_json("goldens/samplers/kdiffusion_comfy.json")
    case = f"{library}/lms/karras10"
    levels = [*facts["cases"][case]["callback_sigma"], 0.0]
    spec = SAMPLER.get("lms")
    x: Any = start() * levels[0]
    recorder = Recorder(Epsilon(), Mixture(facts["mixture"]))
    steps = list(spec.run(recorder, x, levels, Epsilon(), Replay(draws()), replace(spec.options, dialect=dialect)))
    result: Any = steps[-1].x
    assert relative(result, golden_arrays("goldens/samplers/kdiffusion_comfy.npz")[f"{case}/x"][-1]) < 1e-9


def test_where_zero_terminal_noise_ends() -> None:
    """Disagreement 12. Ours is that of A1111, Forge and ComfyUI."""
    whole = Velocity(table=zero_terminal_levels())
    assert told(whole, "interpolated", "a1111") == whole
    assert whole.sigma_max == pytest.approx(TABLES["zero_terminal_snr"]["comfy_sigmas"][-1], rel=1e-9)
    theirs = told(whole, "interpolated", "diffusers")
    assert theirs.sigma_max == pytest.approx(
        SIGMAS["diffusers"]["5"]["EulerDiscrete zsnr trailing v"]["sigmas"][0], rel=1e-6
    )
    assert theirs.levels == zero_terminal_levels("diffusers")
    assert told(Epsilon(), "interpolated", "diffusers") == Epsilon()
    assert told(Flow(), "nearest", "diffusers") == Flow()
    assert told(EDM(), "nearest", "diffusers") == EDM()


def test_how_strong_the_first_noise_is() -> None:
    """A1111 starts at sigma; diffusers at its root form; ComfyUI so only at the top."""
    process = Epsilon()
    top, lower = process.sigma_max, 8.0
    assert process.amplitude(top, "sigma") == top
    assert process.amplitude(top, "root") == process.amplitude(top, "root_at_top") == pytest.approx((1 + top**2) ** 0.5)
    assert process.amplitude(lower, "root") == pytest.approx((1 + lower**2) ** 0.5)
    assert process.amplitude(lower, "root_at_top") == lower
    assert Flow().amplitude(1.0, "root") == 1.0


def test_how_much_of_a_schedule_a_picture_runs() -> None:
    """A1111 runs one step more than its share, ComfyUI all of its steps at the end of a longer schedule."""
    run = SCHEDULE.get("karras").run
    counts = {
        name: len(for_strength(run, 20, Epsilon(), ScheduleOptions(dialect=name), 0.5)) - 1
        for name in ("pinxit", "a1111", "comfyui")
    }
    assert counts == {"pinxit": 10, "a1111": 11, "comfyui": 20}


def test_the_noise_of_each_program() -> None:
    import torch

    made = {spec.name: spec.make((7,), (4, 2, 2), convert=None) for spec in NOISE_SOURCES}

    def numbers(seed: int, skip: int = 0) -> Any:
        generator = torch.Generator("cpu").manual_seed(seed)
        return [torch.randn(4, 2, 2, generator=generator) for _ in range(skip + 1)][-1]

    def same(one: Any, other: Any) -> bool:
        return torch.equal(torch.as_tensor(np.asarray(one))[0], other)

    assert same(made["torch_cpu"].start(), numbers(7))
    assert same(made["torch_cpu"].draw(0), numbers(7, 1))
    assert same(made["torch_batch"].draw(0), numbers(8))
    assert same(made["torch_invoke"].start(), numbers(7))
    assert same(made["torch_invoke"].draw(0), numbers(7 ^ 0xFFFFFFFF))


@pytest.mark.parametrize("spec", NOISE_SOURCES, ids=lambda spec: spec.name)
def test_a_shift_of_the_seed_changes_all_but_the_start(spec: Any) -> None:
    """ENSD: as if the later noise were that of another seed, from its beginning."""
    plain, moved = (spec.make((7,), (4, 2, 2), shift=shift) for shift in (0, 31337))
    assert np.array_equal(np.asarray(plain.start()), np.asarray(moved.start()))
    drawn = np.asarray(moved.draw(0))
    assert not np.array_equal(np.asarray(plain.draw(0)), drawn)
    again = spec.make((7 + 31337,), (4, 2, 2))
    if spec.name in ("philox", "torch_cpu"):  # the others' second generators have seeds of their own
        assert np.array_equal(drawn, np.asarray(again.start()))


def test_the_brownian_path_keeps_its_seed() -> None:
    plain, moved = (PhiloxNoise((7,), (4,), shift=shift) for shift in (0, 31337))
    assert np.array_equal(np.asarray(plain.between(0, 14.0, 3.0)), np.asarray(moved.between(0, 14.0, 3.0)))


def test_exact_levels() -> None:
    run = exactly((14.6, 7.0, 3.0, 0.0))
    assert run(3, Epsilon(), ScheduleOptions()) == (14.6, 7.0, 3.0, 0.0)
    with pytest.raises(BadInput) as raised:
        run(4, Epsilon(), ScheduleOptions())
    assert str(raised.value) == (
        "3 steps lead over the given noise levels, and 4 steps were asked for. Leave one of the two out."
    )
    with pytest.raises(
        BadInput, match=r"noise of this model ends at 1, and the given levels begin at 14\.6\. Begin lower"
    ):
        run(3, Flow(), ScheduleOptions())
    with pytest.raises(BadInput, match=r"ends at 16384, and the given levels begin at 20000\. Begin lower\."):
        exactly((20000.0, 0.0))(1, Epsilon(), ScheduleOptions())


def test_the_ends_of_a_schedule_are_checked() -> None:
    options = ScheduleOptions(sigma_min=0.1, sigma_max=10)
    assert within(Epsilon(), options) is options
    with pytest.raises(BadInput) as raised:
        within(Epsilon(), ScheduleOptions(sigma_min=20))
    assert str(raised.value) == (
        "A schedule falls from sigma_max to sigma_min, and 14.6146 to 20 does not. "
        "This model's own are 14.6146 and 0.0291672."
    )
    assert raised.value.field == "sigma_min"
    with pytest.raises(BadInput, match=r"The noise of this model ends at 1, and sigma_max is 2\. Begin lower\."):
        within(Flow(), ScheduleOptions(sigma_max=2))


@pytest.mark.parametrize("spec", DIALECTS, ids=lambda spec: spec.name)
def test_a_dialect_is_complete(spec: DialectSpec) -> None:
    assert all(getattr(spec, name) for name in FINER)
    assert spec.title
    if spec is not PINXIT:
        assert any(getattr(spec, name) != getattr(PINXIT, name) for name in (*FINER, "discards", "automatic"))


def test_the_decision_record_tells_what_the_code_does() -> None:
    page = (Path(__file__).parents[2] / "docs" / "decisions" / "0006-dialects.md").read_text("utf-8")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    table = {cells[0].strip("`"): cells[1:] for cells in lines}
    assert table["field"] == [spec.name for spec in DIALECTS]
    for name in FINER:
        assert table[name] == [getattr(spec, name) for spec in DIALECTS]
    assert table["Automatic schedule"] == [f"{spec.automatic}'s" for spec in DIALECTS]
