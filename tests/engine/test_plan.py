"""From a request to a plan: defaults, names, costs and refusals, before anything is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from pinxit.engine.machine import GIB, Machine
from pinxit.engine.plan import SEEDS, plan
from pinxit.sampling.samplers import SAMPLERS
from pinxit.sampling.schedules import SCHEDULES
from pinxit.schema.errors import BadInput, Missing, OutOfMemory, UnknownName
from pinxit.schema.parts import FromImage, ImageRef
from tests.easel import ROOMY, Easels

OWN_CHOICE = ("karras", "exponential", "polyexponential", "align_your_steps", "align_your_steps_32")
"""Schedules that never reach the last timestep of a model whose noise ends in pure noise."""
SMALL = Machine(cores=1, memory=GIB, available=GIB, flags=frozenset())


def test_what_is_left_open_is_filled(easels: Easels) -> None:
    found = easels("pinxit").resolve(size=None, seed=None, steps=None).request
    assert found.model == "pinxit"
    assert str(found.size) == "64x64"
    assert found.seed is not None
    assert (found.steps, found.sampler, found.schedule) == (16, "dpmpp_2m", "sgm_uniform")
    assert (found.guidance, found.guidance_rescale, str(found.guidance_interval)) == (4.0, 0.2, "0.3,6")
    sd1 = easels("sd1").resolve(size=None, steps=None).request
    assert (str(sd1.size), sd1.steps, sd1.guidance, sd1.guidance_interval) == ("512x512", 20, 7.0, None)


def test_what_is_given_is_kept(easels: Easels) -> None:
    found = easels("pinxit").resolve(guidance=0, guidance_rescale=0, guidance_interval="all", steps=1, eta=0)
    assert (found.request.guidance, found.request.guidance_rescale, found.request.steps) == (0, 0, 1)
    assert found.interval == (0.0, 1e6)
    assert found.options.eta == 0


def test_drawn_seeds_are_exact_in_every_json_reader(easels: Easels) -> None:
    seeds = {easels("pinxit").resolve(seed=None).request.seed for _ in range(8)}
    assert len(seeds) == 8
    assert all(isinstance(seed, int) and 0 <= seed < SEEDS == 2**53 for seed in seeds)


def test_names_are_made_canonical(easels: Easels) -> None:
    found = easels("pinxit").resolve(model="PINXIT", sampler="Euler a", schedule="SGMUniform").request
    assert (found.model, found.sampler, found.schedule) == ("pinxit", "euler_ancestral", "sgm_uniform")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"sampler": "dpmpp_2n"}, "There is no sampler named 'dpmpp_2n'. Did you mean 'dpmpp_2"),
        ({"schedule": "karas"}, "There is no schedule named 'karas'. Did you mean 'karras'"),
        ({"model": "sd9"}, "There is no model named 'sd9'. Did you mean 'sd"),
        ({"noise": "filox"}, "There is no noise source named 'filox'. Did you mean 'philox'?"),
        ({"emphasis": "a111"}, "There is no prompt dialect named 'a111'. Did you mean 'a1111'"),
    ],
)
def test_unknown_names_are_told_with_the_nearest(
    easels: Easels, tiny_models: Path, fields: dict[str, object], told: str
) -> None:
    assert tiny_models.is_dir()
    with pytest.raises(UnknownName) as raised:
        easels("pinxit").resolve(**fields)
    assert str(raised.value).startswith(told)
    assert raised.value.field == next(iter(fields))


def test_hypernetworks_are_refused(easels: Easels) -> None:
    with pytest.raises(BadInput) as raised:
        easels("pinxit").resolve(prompt="a cat <hypernet:fur:0.8>")
    assert str(raised.value) == (
        "The prompt asks for the hypernet 'fur', and this version applies none. Take <hypernet:...> out of the prompt."
    )
    assert raised.value.field == "prompt"


def test_a_picture_that_is_not_here_is_missing(easels: Easels) -> None:
    source = FromImage(image=ImageRef(sha256="ab" * 32, name="cat.png"))
    with pytest.raises(Missing) as raised:
        easels("pinxit").resolve(source=source)
    assert str(raised.value) == (
        "The input picture cat.png is not here. Give the file whose SHA-256 begins with ababababab with --image."
    )


@pytest.mark.parametrize("sampler", [spec.name for spec in SAMPLERS])
def test_the_schedule_is_chosen_to_suit_model_and_sampler(easels: Easels, sampler: str) -> None:
    ours = easels("pinxit").resolve(sampler=sampler, schedule="automatic").schedule
    assert ours.in_time
    assert ours.name not in OWN_CHOICE
    preferred = next(spec.schedule for spec in SAMPLERS if spec.name == sampler)
    assert easels("sd1").resolve(sampler=sampler).schedule.name == (preferred or "normal")


@pytest.mark.parametrize("schedule", [spec.name for spec in SCHEDULES])
@pytest.mark.parametrize("model", ["pinxit", "sd1"])
def test_every_schedule_falls_to_nothing(easels: Easels, model: str, schedule: str) -> None:
    resolved = easels(model).resolve(schedule=schedule, steps=5)
    levels = resolved.sigmas
    assert all(after < before for before, after in pairwise(levels))
    assert 0 <= levels[-1] < 1
    warned = model == "pinxit" and not resolved.schedule.in_time
    assert bool(resolved.notes) is warned
    if warned:
        assert resolved.notes == (f"the schedule {schedule} spends most of its steps near pure noise with this model",)


def test_the_plan_tells_stages_needs_and_costs(easels: Easels) -> None:
    made = easels("pinxit").plan(count=3)
    needs = {stage.name: stage.needs for stage in made.stages}
    assert list(needs) == ["encode", "prepare", "denoise", "decode", "finish"]
    assert needs == {
        "encode": ("text_encoder_2",),
        "prepare": (),
        "denoise": ("unet",),
        "decode": ("vae",),
        "finish": (),
    }
    assert all(stage.bytes > 0.25 * GIB for stage in made.stages)
    assert made.bytes == max(stage.bytes for stage in made.stages)
    once = easels("pinxit").plan(count=1)
    assert made.stages[2].seconds == pytest.approx(3 * once.stages[2].seconds)
    larger = easels("pinxit").plan(size="512x512")
    assert larger.bytes > once.bytes
    assert larger.seconds > once.seconds


def test_a_plan_is_plain_json(easels: Easels) -> None:
    told = json.loads(json.dumps(easels("sd2").plan(count=2, seed=2**64 - 1).to_json(), allow_nan=False))
    assert told["request"]["seed"] == str(2**64 - 1)
    assert told["model"]["name"] == "sd2"
    assert [stage["name"] for stage in told["stages"]] == ["encode", "prepare", "denoise", "decode", "finish"]
    assert told["sigmas"][-1] == 0
    assert told["bytes"] > 0


def test_a_plan_reads_well(easels: Easels) -> None:
    lines = easels("pinxit").plan(schedule="karras", count=2).lines()
    assert lines[0] == "model     pinxit (pinxit, velocity: our own models predict velocity)"
    assert lines[1] == "picture   64x64, 2 from seed 7"
    assert lines[2] == "sampling  DPM++ 2M, Karras, 3 steps, guidance 4.0"
    assert lines[3].startswith("sigmas    4519 ")
    assert lines[4].startswith("encode    text_encoder_2: about 0.")
    assert lines[5].startswith("prepare   -: about ")
    assert lines[-1].startswith("note      the schedule karras spends")
    assert len(lines) == 10


def test_guidance_doubles_the_estimate_where_it_acts(easels: Easels) -> None:
    def seconds(**fields: object) -> float:
        return easels("sd1").plan(**fields).stages[2].seconds

    alone = seconds(guidance=1)
    assert seconds(guidance=5) == pytest.approx(2 * alone)
    assert seconds(guidance=5, guidance_interval="0,0.001") == pytest.approx(alone)
    assert seconds(guidance=1, sampler="heun") == pytest.approx(2 * alone)


def test_what_cannot_fit_is_refused(easels: Easels) -> None:
    resolved = easels("sd1").resolve(size="4096x4096")
    with pytest.raises(OutOfMemory) as raised:
        plan(resolved, SMALL)
    assert "A picture of 4096x4096 needs about " in raised.value.message
    assert "1.0 GiB are free" in raised.value.message
    assert raised.value.hint.startswith("The largest of this shape that fits is ")
    assert raised.value.field == "size"


def test_a_machine_that_does_not_tell_its_memory_is_trusted(easels: Easels) -> None:
    made = plan(easels("sd1").resolve(size="4096x4096"), replace(ROOMY, available=None))
    assert made.bytes > GIB


PLANNER = """
import sys
from pinxit.schema.request import GenerationRequest
from pinxit.studio import Studio
for model in ("pinxit", "sd1", "sd2"):
    Studio().plan(GenerationRequest(model=model, prompt="a (cat:1.2) [a:b:2] AND dog")).lines()
print("torch" in sys.modules)
"""


def test_planning_leaves_torch_alone(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINXIT_MODELS", str(tiny_models))
    done = subprocess.run([sys.executable, "-c", PLANNER], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr
