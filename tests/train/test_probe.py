from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pinxit.schema.errors import BadInput
from pinxit.train import diffusion, probe
from pinxit.train.computing import Computing, onto
from pinxit.train.data.bank import Bank
from pinxit.train.latents import diffusion_task
from pinxit.train.loop import Limits, Trainer
from pinxit.train.recipe import DiffusionRecipe
from pinxit.train.workshop import Job
from tests.cli.fakes import call
from tests.train.shapes import RECIPES, trained


@pytest.fixture(scope="module")
def workshop(drawings: Bank, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("probe"), drawings, "inner", "outer", "text", "unet")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """As few steps as can be, on a machine without a compiler."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler\nat all")

    monkeypatch.setattr(torch, "compile", broken)
    for name, value in (("POOL", 16), ("WARM_UP", 1), ("TIMED", 1), ("SECONDS", 0.0)):
        monkeypatch.setattr(probe, name, value)


def _job(drawings: Bank, workshop: Path, name: str = "unet") -> Job:
    return Job(name=name, recipe=RECIPES[name], bank=drawings.folder, workshop=workshop, limits=Limits())


@pytest.mark.usefixtures("quick")
def test_a_probe_times_every_way_and_keeps_nothing(drawings: Bank, workshop: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in workshop.rglob("*")}
    seen: list[probe.Timed] = []
    rows = probe.probe(_job(drawings, workshop), lambda _: None, seen.append)
    assert rows == seen
    assert [row.batch for row in rows] == [4, 1, 2, 8, 4, 4, 4]
    *timed, compiled = rows
    assert compiled.failure == "no compiler"
    for row in timed:
        assert row.rate * row.milliseconds == pytest.approx(1000 * row.batch)
        assert row.hours == pytest.approx(8 / row.rate / 3600)
        assert row.memory > 10
    assert {(row.computing.dtype, row.computing.channels_last) for row in timed} == {
        (torch.bfloat16, True),
        (torch.bfloat16, False),
        (torch.float32, True),
    }
    assert {path: path.stat().st_mtime_ns for path in workshop.rglob("*")} == before


def test_only_networks_on_latents_are_probed(drawings: Bank, workshop: Path) -> None:
    with pytest.raises(BadInput, match="kind vae cannot be probed"):
        probe.probe(_job(drawings, workshop, "inner"), lambda _: None, lambda _: None)


@pytest.mark.usefixtures("quick")
def test_the_command_tells_what_it_timed(drawings: Bank, workshop: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "small.toml"
    recipe.write_text(
        'kind = "diffusion"\nsize = 64\npool = 16\n'
        "[shape]\nmodel_channels = 32\nchannel_mult = [1, 2]\ntransformer_depth = [0, 1]\nsize_embedding = 8\n"
        "[optimisation]\nsteps = 100\nbatch = 2\nlearning_rate = 1e-3\n"
    )
    words = ("train", str(recipe), "--data", str(drawings.folder), "--into", str(workshop), "--probe")
    told = [json.loads(line) for line in call(*words, "--device", "cpu", "--json").out.splitlines()]
    assert told[-1]["event"] == "probed"
    assert told[-1]["rows"][0] == {key: value for key, value in told[1].items() if key != "event"}
    assert {"batch", "dtype", "channels_last", "compile", "rate", "milliseconds", "memory", "hours", "failure"} == set(
        told[-1]["rows"][0]
    )
    done = call(*words, "--device", "cpu")
    assert "2 bfloat16 channels_last: " in done.out
    assert "Nothing was trained or chosen" in done.err


def test_a_compiled_step_learns_the_same(drawings: Bank, workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a compiler that changes nothing the weights keep their names and change alike."""
    compiled: list[object] = []

    def same(network: torch.nn.Module, **settings: object) -> torch.nn.Module:
        compiled.append(settings)
        return network

    monkeypatch.setattr(torch, "compile", same)
    averages: list[dict[str, torch.Tensor]] = []
    for computing in (Computing(), Computing(compile=True)):
        recipe = RECIPES["unet"]
        assert isinstance(recipe, DiffusionRecipe)
        job = Job(
            name="unet", recipe=recipe, bank=drawings.folder, workshop=workshop, limits=Limits(), computing=computing
        )
        trainer = Trainer(diffusion_task(job, recipe, drawings, lambda _: None), recipe.optimisation)
        trainer.advance()
        averages.append(trainer.averaged())
    assert compiled == [{"dynamic": False, "mode": None}]
    assert averages[0].keys() == averages[1].keys()
    assert all(torch.equal(value, averages[1][key]) for key, value in averages[0].items())


def test_the_next_batch_is_made_ready_for_its_own_step_only(drawings: Bank, workshop: Path) -> None:
    """What a GPU run prepares ahead gives the same loss as what is made when it is needed."""
    recipe = RECIPES["unet"]
    assert isinstance(recipe, DiffusionRecipe)
    task = diffusion_task(_job(drawings, workshop), recipe, drawings, lambda _: None)
    plain = task.loss(1)["loss"].item()
    for ahead in (1, 7):
        task._next = task._batch(ahead)  # pyright: ignore[reportPrivateUsage] - what a GPU run does by itself
        assert task.loss(1)["loss"].item() == plain


def test_errors_by_noise_level_are_means_of_their_samples() -> None:
    error, fifth = torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 4])
    told = diffusion._by_noise_level(error, fifth)  # pyright: ignore[reportPrivateUsage] - the log's own arithmetic
    assert {name: float(value) for name, value in told.items()} == {
        "error_0": 2.0, "error_1": 3.0, "error_2": 3.0, "error_3": 3.0, "error_4": 5.0,
    }  # fmt: skip


def test_what_stays_on_the_processor_is_not_copied() -> None:
    tensor = torch.zeros(2)
    assert onto(tensor, torch.device("cpu")) is tensor
    assert onto(tensor, torch.device("meta")).is_meta
