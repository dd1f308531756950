"""Distillation: what a student is taught, on whose path, and what comes out as a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pinxit.models.common.configs import UNetConfig
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.unet_layouts import UNET_DIFFUSERS
from pinxit.models.pinxit.family import GUIDANCE, INTERVAL, RESCALE
from pinxit.sampling.denoiser import Denoiser, Prediction
from pinxit.sampling.schedules import ScheduleOptions, sgm_uniform
from pinxit.schema.errors import BadInput
from pinxit.train import recipe as recipes
from pinxit.train.distillation import DistillationTask, Grid, RollPool, Teacher, Told, changed, plain_model, roll
from pinxit.train.loop import Limits, Trainer, train
from pinxit.train.lowrank import LowRank
from pinxit.train.recipe import AdapterShape, DistillationRecipe, Optimisation, read_recipe
from pinxit.weights.lora_names import read_modules

CONFIG = UNetConfig(
    in_channels=4,
    out_channels=4,
    model_channels=32,
    channel_mult=(1, 2),
    num_res_blocks=(1, 1),
    transformer_depth=(0, 1),
    transformer_depth_middle=1,
    transformer_depth_output=(0, 1),
    context_dim=8,
    head_width=8,
    linear_projections=True,
    adm_in_channels=12,
)
RECIPE = DistillationRecipe(
    kind="distillation",
    shape=AdapterShape(rank=4),
    steps=2,
    teacher_steps=4,
    pool=4,
    refresh=3,
    optimisation=Optimisation(steps=8, batch=4, learning_rate=3e-3, warmup=1),
)


@pytest.fixture
def unet() -> UNet:
    torch.manual_seed(1)
    return UNet(CONFIG)


def _words(rng: object, count: int) -> Told:
    del rng
    return torch.ones(count, 3, 8), torch.zeros(count, 12)


def _task(unet: UNet, report: list[str] | None = None) -> DistillationTask:
    grid = Grid.of(RECIPE.steps, RECIPE.teacher_steps)
    torch.manual_seed(0)
    adapter = LowRank(unet, RECIPE.shape.rank)
    teacher = Teacher(plain_model(changed(unet, None), grid), grid, multistep=True)
    said = [].append if report is None else report.append
    pool = RollPool(RECIPE, teacher, None, _words, shape=(4, 4, 4), seed=5, report=said)
    return DistillationTask(RECIPE, unet, adapter, pool, seed=5)


def towards(picture: Tensor) -> Denoiser:
    """A denoiser that always sees the same picture: its path is a straight line."""
    return lambda x, sigma, index, /: Prediction(picture.expand_as(x))


def test_students_levels_are_among_the_teachers() -> None:
    grid = Grid.of(4, 16)
    assert grid.finer[::4] == pytest.approx(grid.levels)
    assert grid.finer == sgm_uniform(16, grid.process, ScheduleOptions())
    assert grid.levels[0] > 4000
    assert grid.levels[-1] == 0


def test_the_taught_velocity_leads_to_the_taught_end() -> None:
    grid = Grid.of(4, 16)
    for index, (here, there) in enumerate(zip(grid.levels, grid.levels[1:], strict=False)):
        x, end = torch.randn(2, 4, 4, 4) * here, torch.randn(2, 4, 4, 4) * max(there, 1)
        shown, velocity = grid.lesson(index, x, end)
        scalings = grid.process.scalings(here)
        torch.testing.assert_close(shown, scalings.input * x)
        clean = scalings.skip * x + scalings.output * velocity
        reached = grid.process.move(x, clean, here, there, there)
        torch.testing.assert_close(reached, end, rtol=1e-4, atol=2e-3)


def test_a_roll_follows_the_teacher_or_the_student() -> None:
    grid = Grid.of(2, 4)
    ours, theirs = torch.full((1, 4, 2, 2), 1.0), torch.full((1, 4, 2, 2), -1.0)
    told = _words(None, 1)
    teacher = Teacher(lambda _: towards(ours), grid, multistep=False)
    noise = torch.randn(1, 4, 2, 2)
    shown, velocity = roll(noise, told, teacher, None)
    assert shown.shape == velocity.shape == (1, 2, 4, 2, 2)
    middle, scalings = grid.levels[1], grid.process.scalings(grid.levels[1])
    seen = shown[:, 1] / scalings.input
    torch.testing.assert_close(seen, ours + middle * noise, rtol=1e-3, atol=1e-3)
    own, taught = roll(noise, told, teacher, lambda _: towards(theirs))
    torch.testing.assert_close(own[:, 1] / scalings.input, theirs + middle * noise, rtol=1e-3, atol=1e-3)
    clean = scalings.skip * own[:, 1] / scalings.input + scalings.output * taught[:, 1]
    torch.testing.assert_close(clean, ours, rtol=1e-3, atol=1e-3)


def test_the_adapter_begins_as_nothing_and_learns(unet: UNet, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    said: list[str] = []
    task = _task(unet, said)
    merged = task.adapter.merged(unet)
    assert all(torch.equal(weight, before[name]) for name, weight in merged.items())
    first = task.loss(0)["loss"].item()
    trainer = Trainer(task, RECIPE.optimisation)
    train(trainer, tmp_path, recipe="x", limits=Limits(), report=lambda _: None)
    task.pool.at(0)
    assert task.loss(0)["loss"].item() < 0.9 * first
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())
    assert said.count("rolled 4 paths") == 4


def test_a_resumed_run_ends_with_the_same_bytes(unet: UNet, tmp_path: Path) -> None:
    def weights(folder: Path, *stops: int) -> list[Tensor]:
        for steps in stops:
            trainer = Trainer(_task(unet), RECIPE.optimisation.model_copy(update={"steps": steps}))
            train(trainer, folder, recipe="x", limits=Limits(), report=lambda _: None)
        return list(trainer.averaged().values())  # pyright: ignore[reportPossiblyUnboundVariable] - there is a stop

    for whole, cut in zip(weights(tmp_path / "whole", 8), weights(tmp_path / "cut", 5, 8), strict=True):
        assert torch.equal(whole, cut)


def test_error_is_logged_by_noise_level(unet: UNet) -> None:
    terms = _task(unet).loss(0)
    assert set(terms) == {"loss", "error_0", "error_1"}
    assert terms["loss"].item() == pytest.approx((terms["error_0"].item() + terms["error_1"].item()) / 2, rel=1e-4)


def test_factors_are_named_as_lora_files_name_them(unet: UNet) -> None:
    adapter = LowRank(unet, 4)
    factors = adapter.named_factors("unet", UNET_DIFFUSERS, unet)
    modules, strangers = read_modules(factors)
    assert not strangers
    assert len(modules) == len(adapter.names)
    assert {module.algorithm for module in modules.values()} == {"lora"}
    down, up = (factors[f"unet.mid_block.resnets.0.conv1.lora_{part}.weight"] for part in "AB")
    assert (down.shape, up.shape) == ((4, 64, 3, 3), (64, 4, 1, 1))
    assert factors["unet.mid_block.attentions.0.proj_in.lora_A.weight"].shape == (4, 64)


def test_shipped_stages_follow_each_other_and_teach_what_the_model_does() -> None:
    folder = Path(recipes.__file__).parent / "recipes"
    first, second = (read_recipe(folder / f"{name}.toml") for name in ("few-step-first", "few-step"))
    assert isinstance(first, DistillationRecipe)
    assert isinstance(second, DistillationRecipe)
    assert second.after == first.writes
    assert second.writes == "few-step"
    for stage in (first, second):
        guidance = stage.guidance
        assert (guidance.scale, guidance.rescale, guidance.low, guidance.high) == (GUIDANCE, RESCALE, *INTERVAL)
        assert stage.optimisation.steps > stage.optimisation.decay


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("steps = 3\nteacher_steps = 16", "16 teacher steps are no multiple of 3"),
        ("own = 0.5", "need the adapter that after names"),
        ("after = 'few-step'", "cannot replace what it begins with"),
    ],
)
def test_stages_that_cannot_be(lines: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(f"kind = 'distillation'\n{lines}\n[optimisation]\nsteps = 1\nbatch = 1\nlearning_rate = 0.1\n")
    with pytest.raises(BadInput, match=words):
        read_recipe(path)
