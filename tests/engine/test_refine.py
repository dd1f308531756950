"""A refiner takes the last steps: the same as doing it by hand, told in the plan, and in the recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pinxit.engine import stages
from pinxit.engine.means import Means
from pinxit.engine.plan import Resolved, plan
from pinxit.engine.refine import Refiner
from pinxit.engine.residency import Residency
from pinxit.sampling.process import Epsilon
from pinxit.schema.errors import BadInput, Missing, ModelError
from pinxit.schema.events import ImageReady, StageStarted
from pinxit.schema.record import Record
from pinxit.studio.library import Library
from pinxit.studio.studio import Studio
from pinxit.studio.verify import verify
from tests.easel import ROOMY, Easel, Easels, easel_for

TURN: dict[str, Any] = {"steps": 5, "sampler": "euler", "passes": ({"kind": "refine", "model": "refiner"},)}


@pytest.fixture
def easel(easels: Easels) -> Easel:
    easels.model("refiner")
    return easels("sdxl")


def run(resolved: Resolved, residency: Residency, x: Tensor | None = None) -> Tensor:
    """The state after the steps of `resolved`, from `x` or from its own start."""
    start = stages.prepare(resolved, residency, seed=7)
    start = start if x is None else replace(start, x=x)
    for step in stages.denoise(resolved, residency, stages.encode(resolved, residency), start):
        start = replace(start, x=step.x)
    return start.x


def cut(resolved: Resolved, first: int, last: int) -> Resolved:
    """The same without a refiner, for the levels from `first` to `last`."""
    return replace(resolved, refiner=None, sigmas=resolved.sigmas[first : last + 1])


def test_the_hand_over_is_what_two_runs_make_by_hand(easel: Easel) -> None:
    resolved = easel.resolve(**TURN, negative="fog")
    assert resolved.refiner is not None
    first = resolved.refiner.first(resolved.sigmas)
    assert 0 < first < 5
    at_once = run(resolved, easel.residency)
    half = run(cut(resolved, 0, first), easel.residency)
    by_hand = run(cut(resolved.refiner.resolved, first, 5), easel.residency, half)
    assert torch.equal(at_once, by_hand)
    assert not torch.equal(at_once, run(cut(resolved, 0, 5), easel.residency))


def test_the_plan_tells_the_refiner(easel: Easel) -> None:
    made = easel.plan(**TURN)
    assert [stage.name for stage in made.stages] == ["encode", "prepare", "denoise", "refine", "decode", "finish"]
    assert made.lines()[1].startswith("refiner   refiner from step ")
    assert made.lines()[1].endswith(
        "(Stable Diffusion XL, epsilon: SDXL predicts the noise where no marker key says otherwise)"
    )
    told: Any = made.to_json()["passes"]
    assert (told[0]["name"], told[0]["family"]) == ("refiner", "sdxl")
    whole, shared = (
        sum(stage.seconds for stage in easel.plan(**fields).stages) for fields in ({**TURN, "passes": ()}, TURN)
    )
    assert shared != whole
    names = [event.stage for event in easel.events(**TURN) if isinstance(event, StageStarted)]
    assert names == ["encode", "prepare", "denoise", "refine", "decode", "finish"]


def test_a_share_of_time_or_of_steps(easel: Easel) -> None:
    refiner = easel.resolve(**TURN).refiner
    assert refiner is not None
    process = Epsilon()
    by_time = replace(refiner, process=process, switch=0.8, by="time")
    assert by_time.takes(process.levels[199], 0)
    assert not by_time.takes(process.levels[200], 4)
    by_step = replace(refiner, switch=0.8, by="step", steps=5)
    assert [by_step.takes(1.0, index) for index in range(5)] == [False, False, False, False, True]
    for switch, steps in ((0.0, 0), (1.0, 5)):
        assert replace(by_step, switch=switch).first((5.0, 4.0, 3.0, 2.0, 1.0, 0.0)) == steps
    assert easel.resolve(**TURN).request.handover == "time"
    assert easel.resolve(**TURN, dialect="comfyui").request.handover == "step"


def test_the_record_names_both_models(easel: Easel) -> None:
    ready = easel.paint(**TURN)[0]
    record = Record.from_json(ready.record.to_json())
    assert [one.name for one in (record.model, *record.passes)] == ["sdxl", "refiner"]
    assert record.passes[0].files == easel.library.files(easel.library.find("refiner"))
    assert record.request.passes[0].switch == 0.8
    assert easel.pixels(**record.request.to_dict()) == [ready.pixels_sha256]


def test_a_refined_picture_is_verified(easel: Easel, tmp_path: Path) -> None:
    studio = Studio(library=Library([easel.library.find("sdxl").path.parent], builtin=tmp_path / "absent"))
    events = list(studio.paint(easel.request(**TURN), output=tmp_path / "refined.png"))
    ready = next(event for event in events if isinstance(event, ImageReady))
    found = verify(
        studio,
        ready.record,
        (tmp_path / "refined.png").read_bytes(),
        {},
        watch=lambda event: None,
        stop=lambda: False,
    )
    assert getattr(found, "equal", None) is True


def test_the_scores_reach_the_refiner_alone(easel: Easel) -> None:
    scores = {"aesthetic_score": 1.0, "negative_aesthetic_score": 9.0}
    assert easel.pixels(**TURN, **scores) != easel.pixels(**TURN)
    plain = {**TURN, "passes": ()}
    assert easel.pixels(**plain, **scores) == easel.pixels(**plain)


def test_models_take_each_others_place_where_memory_is_short(easel: Easel, easels: Easels) -> None:
    resolved = easel.resolve(**TURN)
    tight = Residency(replace(easel.residency.machine, available=2**20), means=Means(precision="float32"))
    assert torch.equal(run(resolved, tight), run(resolved, easel.residency))
    roomy = Residency(easel.residency.machine, means=Means(precision="float32"))
    run(resolved, roomy)
    assert resolved.refiner is not None
    unets = [roomy.network(model, "unet") for model in resolved.models]
    assert [roomy.network(model, "unet") for model in resolved.models] == unets
    first = tight.network(resolved, "unet")
    tight.network(resolved.refiner.resolved, "unet")
    assert tight.network(resolved, "unet") is not first
    small = plan(resolved, ROOMY, means=Means(memory="low"))
    assert any("take each other's place" in note for note in small.notes)
    del easels


def test_a_refiner_alone_paints_too(easels: Easels) -> None:
    ready = easels("refiner").paint()[0]
    assert ready.record.model.name == "refiner"
    assert easels("refiner").resolve().config.variant == "refiner"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            "sd1",
            "sd1 cannot take over from sdxl: their latents differ (4 channels, scale 0.18215, not 4 channels, scale ",
        ),
        ("pinxit", "pinxit cannot take over from sdxl: their latents differ (8 channels"),
    ],
)
def test_a_model_of_other_latents_is_refused(easel: Easel, easels: Easels, model: str, expected: str) -> None:
    easels.model(model)
    with pytest.raises(ModelError) as raised:
        easel.resolve(passes=({"kind": "refine", "model": model},))
    assert str(raised.value).startswith(expected)


def test_there_is_one_refiner(easel: Easel) -> None:
    one = {"kind": "refine", "model": "refiner"}
    with pytest.raises(BadInput, match=r"Only one refiner can take over\. Keep one of them\."):
        easel.resolve(passes=(one, one))


def test_a_refiner_without_its_autoencoder_will_do(easel: Easel, easels: Easels, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for name in ("sdxl", "refiner"):
        tensors = load_file(easels.model(name))
        kept = {key: value for key, value in tensors.items() if name == "sdxl" or not key.startswith("first_stage")}
        save_file(kept, tmp_path / f"{name}.safetensors")
    own = easel_for(tmp_path, "sdxl")
    assert own.pixels(**TURN) == easel.pixels(**TURN)
    with pytest.raises(ModelError, match="refiner brings no vae"):
        own.resolve(model="refiner")


def test_a_missing_refiner_is_a_missing_model(easel: Easel) -> None:
    with pytest.raises((BadInput, Missing), match="nobody"):
        easel.resolve(passes=({"kind": "refine", "model": "nobody"},))


def test_refiners_are_values(easel: Easel) -> None:
    refiner = easel.resolve(**TURN).refiner
    assert isinstance(refiner, Refiner)
    assert refiner.resolved.models == (refiner.resolved,)
