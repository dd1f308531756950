"""When memory runs out: the same picture with less of it, each rung said aloud, and an error only after the last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pinxit.engine.careful import Careful
from pinxit.engine.machine import GIB
from pinxit.engine.means import Means
from pinxit.engine.memory import LADDER
from pinxit.engine.plan import plan
from pinxit.engine.residency import Residency
from pinxit.engine.run import run
from pinxit.schema.errors import OutOfMemory
from pinxit.schema.events import ImageReady, Noted
from tests.easel import ROOMY, Easel, Easels, easel_for

CUDA = "CUDA out of memory. Tried to allocate 2.00 GiB."


class Failing:
    """Makes a network fail in some of its calls, counted from 0, as if memory had run out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, component: str, *calls: int, error: Exception | None = None):
        self.count = 0
        usual = Residency.network

        def network(residency: Residency, resolved: Any, name: str) -> nn.Module:
            found = usual(residency, resolved, name)
            if name == component:
                self.count += 1
                if self.count - 1 in calls:
                    raise error or RuntimeError(CUDA)
            return found

        monkeypatch.setattr(Residency, "network", network)


def told(easel: Easel, **fields: Any) -> tuple[list[str], list[str]]:
    """The remarks of a run, and the fingerprints of its pictures."""
    events = list(easel.events(**fields))
    notes = [event.text for event in events if isinstance(event, Noted)]
    return notes, [event.pixels_sha256 for event in events if isinstance(event, ImageReady)]


@pytest.mark.parametrize(
    ("component", "error"),
    [
        ("text_encoder_2", RuntimeError(CUDA)),
        ("unet", MemoryError()),
        ("vae", OutOfMemory("There is not enough memory.")),
    ],
)
def test_a_stage_that_runs_out_is_done_again(
    easels: Easels, monkeypatch: pytest.MonkeyPatch, component: str, error: Exception
) -> None:
    easel = easels("pinxit")
    _, expected = told(easel)
    Failing(monkeypatch, component, 0, error=error)
    notes, found = told(easel)
    assert notes == [f"memory ran out, so {LADDER[len(easel.plan().rungs)].note}"]
    assert found == expected


def test_steps_that_were_taken_are_not_taken_again(easels: Easels, monkeypatch: pytest.MonkeyPatch) -> None:
    easel = easels("pinxit")
    _, expected = told(easel, steps=4, guidance=1)
    unet = easel.residency.network(easel.resolve(), "unet")
    usual, calls = type(unet).forward, list[int]()

    def forward(self: nn.Module, *given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError(CUDA)
        return usual(self, *given, **named)

    monkeypatch.setattr(type(unet), "forward", forward)
    notes, found = told(easel, steps=4, guidance=1)
    assert (len(notes), found) == (1, expected)
    assert len(calls) == 5, "four steps and the one that failed"


def test_after_the_last_rung_it_is_an_error(easels: Easels, monkeypatch: pytest.MonkeyPatch) -> None:
    Failing(monkeypatch, "unet", *range(20))
    with pytest.raises(OutOfMemory) as raised:
        told(easels("pinxit"))
    assert raised.value.message.startswith("Memory ran out for a picture of 64x64; 0.")
    assert raised.value.field == "size"


def test_other_errors_pass(easels: Easels, monkeypatch: pytest.MonkeyPatch) -> None:
    Failing(monkeypatch, "unet", 0, error=RuntimeError("a shape is wrong"))
    with pytest.raises(RuntimeError, match="a shape is wrong"):
        told(easels("pinxit"))


@pytest.mark.parametrize("count", range(1, len(LADDER) + 1))
@pytest.mark.parametrize("model", ["pinxit", "sdxl", "sd35"])
def test_no_rung_changes_the_picture(easels: Easels, model: str, count: int) -> None:
    easel = easels(model, None)
    made = replace(easel.plan(), rungs=())
    saving = replace(made, rungs=tuple(rung.name for rung in LADDER[:count]))
    assert pixels(run(saving, easel.residency)) == pixels(run(made, easel.residency))


def pixels(events: Iterator[Any]) -> list[str]:
    return [event.pixels_sha256 for event in events if isinstance(event, ImageReady)]


def test_components_come_and_go_as_the_rungs_say(easels: Easels, tiny_models: Path) -> None:
    easel = easel_for(tiny_models, "pinxit")
    resolved, residency = easel.resolve(), easel.residency
    assert tiny_models.is_dir()

    def loaded() -> set[str]:
        return {name for one in residency._models.values() for name in one.networks}  # pyright: ignore[reportPrivateUsage]

    easels.model("pinxit")
    names = ("text_encoder_2", "unet", "vae")
    for rungs, after in [((), set(names)), (("encoders",), {"unet", "vae"}), (("encoders", "apart"), {"vae"})]:
        residency.clear()
        residency.save(rungs)
        for name in names:
            residency.network(resolved, name)
        assert loaded() == after


def test_a_streamed_network_holds_no_weights_between_calls(easels: Easels) -> None:
    easel = easels("sd1", torch.float32)
    residency = Residency(means=Means(precision="float32"))
    residency.save(tuple(rung.name for rung in LADDER))
    unet = residency.network(easel.resolve(), "unet")
    held = sum(one.numel() for one in unet.parameters() if not one.is_meta)
    whole = sum(one.numel() for one in unet.parameters())
    assert held < 0.3 * whole
    list(run(replace(easel.plan(), rungs=tuple(rung.name for rung in LADDER)), residency))
    assert sum(one.numel() for one in unet.parameters() if not one.is_meta) <= held


def test_the_plan_climbs_as_far_as_it_must(easels: Easels) -> None:
    resolved = easels("sd1").resolve(size="512x512", steps=20)
    roomy = plan(resolved, ROOMY)
    low = plan(resolved, ROOMY, means=Means(memory="low"))
    assert low.rungs == ("encoders", "apart", "part")
    assert [note for note in low.notes if note.startswith("to save memory, ")]
    assert low.bytes < roomy.bytes
    tight = plan(resolved, replace(ROOMY, available=low.bytes + 1000))
    assert tight.rungs[:2] == ("encoders", "apart")
    assert any(note.startswith("for want of memory, ") for note in tight.notes)
    assert plan(resolved, replace(ROOMY, available=0, held=64 * GIB)).rungs == roomy.rungs


def test_the_largest_size_that_fits_does_fit(easels: Easels) -> None:
    machine = replace(ROOMY, available=GIB // 2)
    resolved = easels("sd1").resolve(size="4096x2048")
    with pytest.raises(OutOfMemory) as raised:
        plan(resolved, machine)
    size = raised.value.hint.removeprefix("The largest of this shape that fits is ").split(";")[0]
    width, height = map(int, size.split("x"))
    assert abs(width / height - 2) < 0.05
    assert plan(easels("sd1").resolve(size=size), machine).bytes <= GIB // 2


def test_careful_asks_the_machine_anew(easels: Easels) -> None:
    made = easels("pinxit").plan()
    careful = Careful(made, easels("pinxit").residency, look=lambda: replace(ROOMY, available=1000))

    def fail() -> None:
        raise MemoryError

    with pytest.raises(OutOfMemory, match="are free"):
        list(careful.do(fail))
