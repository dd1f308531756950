from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pinxit.schema.errors import BadInput, BadModelFile, Missing, NumericError, OutOfSpace
from pinxit.train import checkpoint
from pinxit.train.checkpoint import load_state, save_state
from pinxit.train.loop import Limits, Trainer, train
from pinxit.train.recipe import Optimisation, VaeRecipe, read_recipe

OPTIMISATION = Optimisation(steps=12, batch=4, learning_rate=0.05, warmup=3, decay=4, ema=0.9)


class Line:
    """Fit a line to noisy points that depend on the step alone."""

    def __init__(self, *, poison: int | None = None, interrupt: int | None = None) -> None:
        torch.manual_seed(0)
        self.networks = nn.ModuleDict({"line": nn.Linear(3, 1), "frozen": nn.Linear(3, 1)})
        self.poison, self.interrupt = poison, interrupt

    def learning_rates(self, step: int) -> Mapping[str, float]:
        return {"frozen": 0.0}

    def loss(self, step: int) -> dict[str, Tensor]:
        if step == self.interrupt:
            os.kill(os.getpid(), signal.SIGINT)
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        wanted = x.sum(dim=1, keepdim=True) + 0.1 * torch.randn(4, 1)
        loss = (self.networks["line"](x) - wanted).square().mean()
        return {"loss": loss * (float("nan") if step == self.poison else 1.0)}


def _weights(trainer: Trainer) -> list[Tensor]:
    return [*(p.detach().clone() for p in trainer.task.networks.parameters()), *trainer.average.values()]


def _run(folder: Path, task: Line, *, seconds: float | None = None, steps: int = 12) -> Trainer:
    optimisation = OPTIMISATION.model_copy(update={"steps": steps})
    trainer = Trainer(task, optimisation)
    limits = Limits(seconds=seconds, checkpoint_seconds=0.0, log_every=2)
    train(trainer, folder, recipe="line", limits=limits, report=lambda _: None)
    return trainer


def test_resumed_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = _run(tmp_path / "whole", Line())
    _run(tmp_path / "cut", Line(interrupt=4))
    assert load_state(tmp_path / "cut", recipe="line") is not None
    resumed = _run(tmp_path / "cut", Line())
    assert whole.step == resumed.step == 12
    for ours, theirs in zip(_weights(whole), _weights(resumed), strict=True):
        assert torch.equal(ours, theirs)


class Pictures(Line):
    """Filter noise with weights that lie channels last, as those of all our networks do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.networks = nn.ModuleDict({"filter": nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)})  # pyright: ignore[reportCallIssue] - torch's overloads omit this form

    def loss(self, step: int) -> dict[str, Tensor]:
        x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(step))
        return {"loss": (self.networks["filter"](x.contiguous(memory_format=torch.channels_last)) - 1).square().mean()}


def test_moments_of_channels_last_weights_come_back_in_their_order(tmp_path: Path) -> None:
    """A file keeps no strides, and a fused optimizer walks through memory: in another order the bytes differ."""
    whole = _run(tmp_path / "whole", Pictures())
    cut = Trainer(Pictures(), OPTIMISATION)
    for _ in range(5):
        cut.advance()
    save_state(tmp_path / "cut", cut.state("line"))
    resumed = _run(tmp_path / "cut", Pictures())
    assert resumed.step == 12
    assert all(map(torch.equal, _weights(whole), _weights(resumed)))


def test_interrupt_ends_between_steps_with_the_state_written(tmp_path: Path) -> None:
    trainer = _run(tmp_path, Line(interrupt=6))
    state = load_state(tmp_path, recipe="line")
    assert state is not None
    assert state.step == trainer.step == 7


def test_frozen_network_keeps_its_weights(tmp_path: Path) -> None:
    task = Line()
    before = [parameter.detach().clone() for parameter in task.networks["frozen"].parameters()]
    _run(tmp_path, task)
    assert all(map(torch.equal, before, task.networks["frozen"].parameters()))


def test_time_limit_stops_early_and_goes_on_later(tmp_path: Path) -> None:
    assert _run(tmp_path, Line(), seconds=0.0).step == 0
    assert _run(tmp_path, Line()).step == 12


def test_nan_stops_with_its_step_and_the_weights_before_it(tmp_path: Path) -> None:
    with pytest.raises(NumericError, match="Step 5 gave a loss and norm") as caught:
        _run(tmp_path, Line(poison=5))
    assert "learning_rate" in caught.value.hint
    state = load_state(tmp_path, recipe="line")
    assert state is not None
    assert state.step == 5
    assert all(bool(torch.isfinite(value).all()) for value in state.tensors.values())


def test_damaged_state_falls_back_to_the_one_before(tmp_path: Path) -> None:
    _run(tmp_path, Line())
    newest = sorted(tmp_path.glob("state-*.safetensors"))[-1]
    data = bytearray(newest.read_bytes())
    data[-1] ^= 0xFF
    newest.unlink()
    newest.write_bytes(bytes(data))
    state = load_state(tmp_path, recipe="line")
    assert state is not None
    assert state.step == 11
    newest.unlink()
    newest.write_bytes(b"nonsense")
    assert load_state(tmp_path, recipe="line") is not None


def test_state_of_another_recipe_is_refused(tmp_path: Path) -> None:
    _run(tmp_path, Line())
    with pytest.raises(BadModelFile, match="another recipe"):
        load_state(tmp_path, recipe="circle")


def test_full_disk_keeps_the_older_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = _run(tmp_path, Line(), steps=3)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "replace", full)
    trainer.step = 99
    with pytest.raises(OutOfSpace, match="could not be written"):
        save_state(tmp_path, trainer.state("line"))
    assert not list(tmp_path.glob("*.tmp"))
    state = load_state(tmp_path, recipe="line")
    assert state is not None
    assert state.step == 3


def test_log_has_one_line_for_every_window(tmp_path: Path) -> None:
    _run(tmp_path, Line())
    lines = (tmp_path / "log.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 6
    assert '"step": 12' in lines[-1]
    assert '"samples_per_second"' in lines[0]


def test_learning_rate_rises_holds_and_falls() -> None:
    rates = [OPTIMISATION.learning_rate_at(step) for step in range(13)]
    assert rates[0] == pytest.approx(0.05 / 3)
    assert rates[3:9] == [0.05] * 6
    assert rates[10] == pytest.approx(0.05 / 2)
    assert rates[12] == 0.0


def test_shipped_recipes_are_valid() -> None:
    folder = Path(checkpoint.__file__).parent / "recipes"
    recipes = [read_recipe(path) for path in sorted(folder.glob("*.toml"))]
    assert {recipe.kind for recipe in recipes} == {
        "vae",
        "text",
        "diffusion",
        "refiner",
        "distillation",
        "preview",
        "judge",
    }


def test_recipe_errors_name_the_entry(tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    with pytest.raises(Missing, match=r"odd\.toml cannot be read"):
        read_recipe(path)
    path.write_text(
        "kind = 'vae'\nstage = 'sideways'\nsize = 64\n[optimisation]\nsteps=1\nbatch=1\nlearning_rate=0.1\n"
    )
    with pytest.raises(BadInput, match=r"vae\.stage"):
        read_recipe(path)
    path.write_text("kind = [")
    with pytest.raises(BadInput, match="not a TOML file"):
        read_recipe(path)


def test_recipe_values_can_be_changed_from_outside() -> None:
    path = Path(checkpoint.__file__).parent / "recipes" / "vae-inner.toml"
    recipe = read_recipe(path, changes={"steps": 7, "decay": 3})
    assert isinstance(recipe, VaeRecipe)
    assert (recipe.optimisation.steps, recipe.optimisation.decay) == (7, 3)
