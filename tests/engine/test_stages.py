"""What the network is told at each step: prompts, their changes, guidance and its interval."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from pinxit.engine import stages
from pinxit.engine.plan import Resolved
from pinxit.engine.stages import Encoded
from pinxit.sampling.denoiser import Conditioning
from pinxit.schema.errors import Interrupted
from pinxit.schema.events import Event, Finished, ImageReady, Planned, StageStarted, Stepped
from tests.easel import Easel, Easels, with_network


class Recorder:
    """A network that predicts little and remembers what it was asked."""

    def __init__(self) -> None:
        self.seen: list[Conditioning] = []

    def __call__(self, x: Tensor, t: float, conditioning: Conditioning, /) -> Tensor:
        self.seen.append(conditioning)
        return 0.1 * x


def recorded(easel: Easel, resolved: Resolved) -> tuple[list[list[Conditioning]], Encoded]:
    """The conditioning of every call, step by step, and the encoded prompts."""
    recorder = Recorder()
    resolved = with_network(resolved, recorder)
    encoded = stages.encode(resolved, easel.residency)
    start = stages.prepare(resolved, easel.residency, seed=1)
    calls: list[list[Conditioning]] = []
    for _ in stages.denoise(resolved, easel.residency, encoded, start):
        calls.append(recorder.seen)
        recorder.seen = []
    return calls, encoded


def tokens(easel: Easel, prompt: str, **fields: object) -> Tensor:
    encoded = stages.encode(easel.resolve(prompt=prompt, **fields), easel.residency)
    found = encoded.prompt[0][1][0][0].tokens
    assert found is not None
    return found


def test_a_prompt_changes_after_its_step(easels: Easels) -> None:
    easel = easels("pinxit")
    resolved = easel.resolve(prompt="a [cat:dog:0.5]", steps=4, guidance=1, sampler="euler")
    calls, _ = recorded(easel, resolved)
    cat, dog = tokens(easel, "a cat"), tokens(easel, "a dog")
    assert not torch.equal(cat, dog)
    assert [len(step) for step in calls] == [1, 1, 1, 1]
    for step, wanted in zip(calls, (cat, cat, dog, dog), strict=True):
        assert step[0].tokens is not None
        assert torch.equal(step[0].tokens, wanted)


def test_the_negative_prompt_changes_too(easels: Easels) -> None:
    easel = easels("pinxit")
    resolved = easel.resolve(negative="[cat:dog:2]", steps=3, guidance=2, guidance_interval="all", sampler="euler")
    calls, encoded = recorded(easel, resolved)
    assert [last for last, _ in encoded.negative] == [2, 3]
    first, second = (conditioning for _, conditioning in encoded.negative)
    assert [step[0] is first for step in calls] == [True, True, False]
    assert calls[2][0] is second


def test_editing_acts_on_the_picture_from_its_step_on(easels: Easels) -> None:
    easel = easels("pinxit")
    plain = [step.x for step in run_of(easel, "a cat")]
    edited = [step.x for step in run_of(easel, "a [cat:dog:2]")]
    assert torch.equal(plain[1], edited[1])
    assert not torch.equal(plain[2], edited[2])


def run_of(easel: Easel, prompt: str) -> list[stages.Step]:
    resolved = easel.resolve(prompt=prompt, steps=3, guidance=1, sampler="euler")
    encoded = stages.encode(resolved, easel.residency)
    start = stages.prepare(resolved, easel.residency, seed=1)
    return list(stages.denoise(resolved, easel.residency, encoded, start))


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_guidance_of_one_asks_once_a_step(easels: Easels, sampler: str) -> None:
    easel = easels("pinxit")
    calls, encoded = recorded(easel, easel.resolve(guidance=1, guidance_interval="all", sampler=sampler))
    # Heun asks twice, save in the step that ends without noise.
    assert [len(step) for step in calls] == ([1, 1, 1] if sampler == "euler" else [2, 2, 1])
    assert all(asked is encoded.prompt[0][1][0][0] for step in calls for asked in step)


def test_guidance_acts_inside_its_interval_alone(easels: Easels) -> None:
    easel = easels("pinxit")
    resolved = easel.resolve(steps=6, guidance=3, guidance_interval="0.5,5", sampler="euler")
    calls, _ = recorded(easel, resolved)
    assert [len(step) for step in calls] == [2 if 0.5 < sigma <= 5 else 1 for sigma in resolved.sigmas[:-1]]
    assert {len(step) for step in calls} == {1, 2}


def test_and_asks_for_every_part(easels: Easels) -> None:
    easel = easels("pinxit")
    resolved = easel.resolve(prompt="a cat AND a dog :0.5", guidance=3, guidance_interval="all", sampler="euler")
    calls, encoded = recorded(easel, resolved)
    assert [weight for _, weight in encoded.prompt[0][1]] == [1.0, 0.5]
    assert [len(step) for step in calls] == [3, 3, 3]


def test_one_part_with_a_weight_is_not_the_plain_prompt(easels: Easels) -> None:
    easel = easels("pinxit")
    assert easel.pixels(prompt="a cat :0.5") != easel.pixels(prompt="a cat")


def test_emphasis_and_parts_change_the_picture(easels: Easels) -> None:
    easel = easels("sd1")
    prompts = ("a cat", "a (cat:1.4)", "a cat AND a dog", "a dog")
    found = [easel.pixels(prompt=prompt, sampler="euler")[0] for prompt in prompts]
    assert len(set(found)) == 4
    assert easel.pixels(prompt="a (cat:1.4)", sampler="euler", emphasis="comfyui")[0] not in found


@pytest.mark.parametrize("family", ["pinxit", "sd1", "sd2"])
def test_long_prompts_take_more_chunks(easels: Easels, family: str) -> None:
    easel = easels(family)
    long = ", ".join(["red apple"] * 30)
    assert tokens(easel, "red apple").shape[1] == 77
    assert tokens(easel, long).shape[1] == 154
    assert easel.paint(prompt=long, negative="", steps=1)[0].image is not None


def test_clip_skip_reads_another_layer(easels: Easels) -> None:
    easel = easels("sd1")
    assert not torch.equal(tokens(easel, "a cat"), tokens(easel, "a cat", clip_skip=2))
    # More layers than there are: the first one's input, as far as it goes.
    assert torch.equal(tokens(easel, "a cat", clip_skip=12), tokens(easel, "a cat", clip_skip=2))


def test_odd_sizes_come_out_as_asked(easels: Easels) -> None:
    easel = easels("deep")
    image = easel.paint(size="264x200", steps=1)[0].image
    assert image is not None
    assert image.size == (264, 200)


def test_the_events_of_a_run(easels: Easels, tmp_path: Path) -> None:
    events = list(easels("pinxit").events(count=2, steps=2, output=tmp_path))
    planned = events[0]
    assert isinstance(planned, Planned)
    assert planned.request.count == 2
    each = ["prepare", "denoise", "decode", "finish"]
    assert [event.stage for event in events if isinstance(event, StageStarted)] == ["encode", *each, *each]
    stepped = [(event.image, event.index, event.total) for event in events if isinstance(event, Stepped)]
    assert stepped == [(0, 0, 2), (0, 1, 2), (1, 0, 2), (1, 1, 2)]
    ready = [event for event in events if isinstance(event, ImageReady)]
    assert [(event.index, event.seed) for event in ready] == [(0, 7), (1, 8)]
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert [image.path for image in finished.images] == [event.path for event in ready]
    assert finished.seconds > 0


def test_a_sampler_that_chooses_its_steps_never_passes_the_total(easels: Easels) -> None:
    stepped = [event for event in easels("pinxit").events(sampler="dpm_adaptive") if isinstance(event, Stepped)]
    assert len(stepped) > 3
    assert all(event.index < event.total for event in stepped)


def test_stopping_ends_within_a_step_and_keeps_finished_pictures(easels: Easels, tmp_path: Path) -> None:
    seen: list[object] = []

    def stop() -> bool:
        return any(isinstance(event, ImageReady) for event in seen) and isinstance(seen[-1], Stepped)

    def watch() -> None:
        for event in easels("pinxit").events(count=3, steps=4, output=tmp_path, stop=stop):
            seen.append(event)

    with pytest.raises(Interrupted) as raised:
        watch()
    assert str(raised.value) == "Stopped. Pictures that were finished are kept."
    after = seen[1 + next(place for place, event in enumerate(seen) if isinstance(event, ImageReady)) :]
    assert sum(isinstance(event, Stepped) for event in after) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["7-a-cat.png"]


def test_closing_a_run_early_leaves_nothing(easels: Easels, tmp_path: Path) -> None:
    events = easels("pinxit").events(output=tmp_path)
    next(event for event in events if isinstance(event, Stepped))
    cast("Generator[Event]", events).close()
    assert not list(tmp_path.iterdir())
