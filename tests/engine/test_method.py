"""How a request is sampled: names with schedules, dialects and their finer fields, exact levels, what is discarded."""

from __future__ import annotations

from typing import Any

import pytest

from pinxit.sampling.dialect import DIALECTS, FINER
from pinxit.schema.errors import BadInput
from pinxit.schema.parts import FromImage, ImageRef
from tests.easel import Easels


def resolved(easels: Easels, model: str = "sd1", **fields: Any) -> Any:
    return easels(model).resolve(**fields)


@pytest.mark.parametrize(
    ("fields", "sampler", "schedule"),
    [
        ({"sampler": "DPM++ 2M Karras"}, "dpmpp_2m", "karras"),
        ({"sampler": "dpmpp_2m_sde_k"}, "dpmpp_2m_sde", "karras"),
        ({"sampler": "K_DPMPP_2M"}, "dpmpp_2m", "karras"),
        ({"sampler": "DPM++ 2M Karras", "schedule": "Beta"}, "dpmpp_2m", "beta"),
        ({"sampler": "DPM++ 2M Karras", "schedule": "Automatic"}, "dpmpp_2m", "karras"),
        ({"sampler": "ddim_trailing"}, "ddim", "trailing"),
        ({"sampler": "DPM++ 2M", "dialect": "comfyui"}, "dpmpp_2m", "normal"),
    ],
)
def test_a_name_may_bring_its_schedule(easels: Easels, fields: dict[str, Any], sampler: str, schedule: str) -> None:
    request = resolved(easels, **fields).request
    assert (request.sampler, request.schedule) == (sampler, schedule)


@pytest.mark.parametrize("spec", DIALECTS, ids=lambda spec: spec.name)
def test_a_dialect_fills_the_finer_fields(easels: Easels, spec: Any) -> None:
    found = resolved(easels, dialect=spec.name)
    assert {name: getattr(found.request, name) for name in FINER} == {name: getattr(spec, name) for name in FINER}
    assert found.request.dialect == spec.name
    assert found.options.dialect == spec.sampler_rules
    assert found.facts.process.rounding == spec.timestep_rounding
    assert (found.noise.name, found.words.name, found.amplitude) == (spec.noise, spec.emphasis, spec.start_noise)
    again = resolved(easels, **{name: value for name, value in found.request if name in (*FINER, "dialect")})
    assert again.request == found.request.replace(seed=again.request.seed)


def test_finer_fields_override_their_dialect(easels: Easels) -> None:
    found = resolved(easels, dialect="ComfyUI", noise="NV", timestep_rounding="interpolated", start_noise="sigma")
    request = found.request
    assert (request.dialect, request.noise, request.timestep_rounding) == ("comfyui", "philox", "interpolated")
    assert (request.sampler_rules, request.emphasis, found.amplitude) == ("comfyui", "comfyui", "sigma")


def test_nothing_said_is_our_own(easels: Easels) -> None:
    request = resolved(easels).request
    assert (request.dialect, request.noise, request.emphasis) == ("pinxit", "philox", "a1111")
    assert (request.discard_next_to_last, request.eta_noise_seed_delta) == ("no", 0)


def test_options_that_a_program_sets_differently(easels: Easels) -> None:
    assert resolved(easels, sampler="dpm_fast").options.eta == 0
    assert resolved(easels, sampler="dpm_fast", dialect="a1111").options.eta == 1
    assert resolved(easels, sampler="dpm_fast", dialect="a1111", eta=0.5).options.eta == 0.5
    assert resolved(easels, sampler="deis", dialect="diffusers").options.order == 2


@pytest.mark.parametrize(
    ("sampler", "dialect", "discards"),
    [
        ("dpm_2", None, "yes"),
        ("uni_pc", None, "yes"),
        ("uni_pc", "a1111", "no"),
        ("dpmpp_3m_sde", "a1111", "yes"),
        ("dpmpp_3m_sde", "comfyui", "no"),
        ("dpm_2", "diffusers", "no"),
    ],
)
def test_the_next_to_last_level(easels: Easels, sampler: str, dialect: str | None, discards: str) -> None:
    usual = resolved(easels, sampler=sampler, dialect=dialect, schedule="karras", steps=5)
    assert usual.request.discard_next_to_last == discards
    kept = resolved(easels, sampler=sampler, schedule="karras", steps=6, discard_next_to_last="no").sigmas
    less = resolved(easels, sampler=sampler, schedule="karras", steps=5, discard_next_to_last=True).sigmas
    assert less == (*kept[:-2], kept[-1])


def test_exact_levels_take_the_place_of_a_schedule(easels: Easels) -> None:
    found = resolved(easels, sigmas="14.6,7,3", steps=None, sampler="dpm_2")
    assert found.sigmas == (14.6, 7.0, 3.0, 0.0)
    assert (found.request.steps, found.request.discard_next_to_last) == (3, "no")
    assert found.request.to_dict()["sigmas"] == [14.6, 7.0, 3.0, 0.0]
    with pytest.raises(BadInput, match="3 steps lead over the given noise levels, and 9 steps were asked for"):
        resolved(easels, sigmas="14.6,7,3", steps=9)
    with pytest.raises(BadInput, match=r"visited as they are, so none can be discarded\. Leave out the level"):
        resolved(easels, sigmas="14.6,7,3", steps=None, discard_next_to_last="yes")


@pytest.mark.parametrize("dialect", ["pinxit", "comfyui"])
def test_exact_levels_and_a_picture(easels: Easels, dialect: str) -> None:
    data = b"x"
    source = FromImage(image=ImageRef(sha256="ab" * 32), strength=0.5)
    easel = easels("sd1")
    found = easel.resolve({"ab" * 32: data}, sigmas="14,7,3,1", steps=None, source=source, dialect=dialect)
    assert found.sigmas == (3.0, 1.0, 0.0)


def test_the_ends_and_the_exponent_of_a_schedule(easels: Easels) -> None:
    found = resolved(easels, schedule="karras", steps=3, sigma_min=0.5, sigma_max=8, rho=1)
    assert found.sigmas == pytest.approx((8.0, 4.25, 0.5, 0.0))
    assert found.notes == ()
    idle = resolved(easels, schedule="simple", steps=3, rho=3)
    assert "sigma_min, sigma_max and rho change nothing in the schedule simple" in idle.notes
    with pytest.raises(BadInput, match="A schedule falls from sigma_max to sigma_min, and 1 to 2 does not"):
        resolved(easels, sigma_min=2, sigma_max=1)


def test_later_noise_may_have_another_seed(easels: Easels) -> None:
    easel = easels("sd1")
    plain = {name: easel.pixels(sampler=name) for name in ("euler", "euler_ancestral")}
    moved = {name: easel.pixels(sampler=name, eta_noise_seed_delta=31337) for name in plain}
    assert moved["euler"] == plain["euler"]
    assert moved["euler_ancestral"] != plain["euler_ancestral"]
