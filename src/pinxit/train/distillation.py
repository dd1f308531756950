"""Few steps: a low-rank change of the U-Net that does in one plain step what the guided model does in several.

Progressive distillation (Salimans & Ho 2022, arXiv 2202.00512) on the noise levels that the student will visit. The
teacher is the model as it is used, sampler, guidance and interval included, so the student needs no guidance, keeps
what a seed composes, and is run by the plainest sampler. It learns from rolls: whole paths from pure noise, of which
each student step is one sample. A later stage can let rolls follow an earlier student instead (`own`), which then
learns to correct what it did itself.

Legend: x the noisy state of the variance-exploding form, `here` and `there` two levels of the student.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from pinxit.models.common.ldm_family import process_of
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.prediction import Prediction as Target
from pinxit.sampling.denoiser import Conditioning, Denoiser, Network, precondition
from pinxit.sampling.guidance import GuidanceOptions, guided
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers.dpmpp import dpmpp_2m
from pinxit.sampling.samplers.euler import euler
from pinxit.sampling.samplers.spec import SamplerOptions
from pinxit.sampling.schedules import ScheduleOptions, sgm_uniform
from pinxit.sampling.shortcuts import Shortcut
from pinxit.train.lowrank import LowRank
from pinxit.train.recipe import DistillationRecipe, Guidance

ROLL_BATCH = 32
PREDICTION = Target(kind="velocity", zero_terminal_snr=True, evidence="our own models predict velocity")

Told = tuple[Tensor, Tensor]
"""What the U-Net is told beside x: tokens [B,T,C] and the added vector [B,Y]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The student's levels, the teacher's `finer` ones between them, and the process they belong to."""

    process: NoiseProcess
    levels: tuple[float, ...]
    finer: tuple[float, ...]

    @staticmethod
    def of(steps: int, teacher_steps: int) -> Grid:
        process = process_of(PREDICTION)
        levels, finer = (sgm_uniform(count, process, ScheduleOptions()) for count in (steps, teacher_steps))
        return Grid(process=process, levels=levels, finer=finer)

    @property
    def steps(self) -> int:
        return len(self.levels) - 1

    @property
    def ratio(self) -> int:
        """Teacher steps in one of the student's."""
        return (len(self.finer) - 1) // self.steps

    def lesson(self, index: int, x: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """What the U-Net is shown at student step `index`, and the velocity whose plain step leads from `x` to `end`.

        A plain step is x' = r x + (1 - r) clean with r = there / here; solved for clean, then written as velocity.
        """
        here, there = self.levels[index], self.levels[index + 1]
        scalings, r = self.process.scalings(here), there / here
        clean = (end - r * x) / (1 - r)
        return scalings.input * x, (clean - scalings.skip * x) / scalings.output


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolls:
    """Samples by [item, student step]: what the U-Net is shown, and the velocity it should answer with; and the words.

    `shown` and `velocity` are [N,S,z,h,w], `tokens` [N,T,C], `added` [N,Y].
    """

    shown: Tensor
    velocity: Tensor
    tokens: Tensor
    added: Tensor


def network_of(unet: nn.Module, device: torch.device) -> Network:
    """A U-Net as samplers call it; the conditioning holds tokens and the added vector for every item of the batch."""

    def network(x: Tensor, t: float, conditioning: Conditioning, shortcut: Shortcut | None = None, /) -> Tensor:
        del shortcut
        x = x.contiguous(memory_format=torch.channels_last)
        return unet(x, torch.full((len(x),), t, device=device), conditioning.tokens, conditioning.pooled).float()

    return network


class Teacher:
    """Whoever is imitated. `guide` binds what it is told to a denoiser; `fine` is the sampler it is run with."""

    def __init__(self, guide: Callable[[Told], Denoiser], grid: Grid, *, multistep: bool) -> None:
        self.guide = guide
        self.grid = grid
        self.run = dpmpp_2m if multistep else euler

    def path(self, x: Tensor, told: Told, start: int = 0, count: int | None = None) -> list[Tensor]:
        """The states at the student's levels after `start`, `count` of them, beginning with `x` at that level."""
        grid, ratio = self.grid, self.grid.ratio
        last = grid.steps if count is None else start + count
        levels = grid.finer[start * ratio : last * ratio + 1]
        nothing = cast(NoiseSource, None)  # neither sampler draws noise
        options = SamplerOptions(eta=0.0)
        steps = list(self.run(self.guide(told), x, levels, grid.process, nothing, options))
        return [step.x for step in steps[ratio - 1 :: ratio]]


def guided_model(unet: nn.Module, settings: Guidance, nothing: Told, grid: Grid) -> Callable[[Told], Denoiser]:
    """The model, guided against `nothing`, the empty prompt [1,...]."""
    network = network_of(unet, next(unet.parameters()).device)
    options = GuidanceOptions(scale=settings.scale, phi=settings.rescale, low=settings.low, high=settings.high)

    def bound(told: Told) -> Denoiser:
        count = len(told[0])
        empty = tuple(part.expand(count, *part.shape[1:]) for part in nothing)
        cond, uncond = (
            precondition(network, grid.process, Conditioning(tokens=tokens, pooled=added))
            for tokens, added in (told, cast(Told, empty))
        )
        return guided(cond, uncond, grid.process, options)

    return bound


def plain_model(unet: UNet, grid: Grid) -> Callable[[Told], Denoiser]:
    """The model without guidance, as a student is run."""
    network = network_of(unet, next(unet.parameters()).device)
    return lambda told: precondition(network, grid.process, Conditioning(tokens=told[0], pooled=told[1]))


@torch.no_grad()
def changed(unet: UNet, adapter: LowRank | None) -> UNet:
    """A copy of the U-Net for painting, with the adapter's change in its weights, in bfloat16 as the engine runs it."""
    network = copy.deepcopy(unet).requires_grad_(False).eval()
    if adapter is not None:
        for name, weight in adapter.merged(unet).items():
            network.get_parameter(name).copy_(weight)
    return network.to(torch.bfloat16)


@torch.no_grad()
def roll(noise: Tensor, told: Told, teacher: Teacher, student: Callable[[Told], Denoiser] | None) -> Told:
    """Lessons of whole paths from `noise` [B,z,h,w]: shown and velocity, each [B,S,z,h,w].

    The path follows the teacher, or the `student` where there is one: then the teacher goes on from each of its states.
    """
    grid = teacher.grid
    x = noise * grid.levels[0]
    if student is None:
        states = [x, *teacher.path(x, told)]
        lessons = [grid.lesson(index, *pair) for index, pair in enumerate(pairwise(states))]
    else:
        denoise, lessons = student(told), list[tuple[Tensor, Tensor]]()
        for index, (here, there) in enumerate(pairwise(grid.levels)):
            lessons.append(grid.lesson(index, x, teacher.path(x, told, index, 1)[0]))
            x = grid.process.move(x, denoise(x, here, index).clean, here, there, there)
    shown, velocity = zip(*lessons, strict=True)
    return torch.stack(shown, dim=1), torch.stack(velocity, dim=1)


class RollPool:
    """Rolls held for `refresh` steps and then made anew; a function of (seed, step), so a resumed run makes the same.

    `words(rng, count)` gives what the U-Net is told for `count` fresh captions.
    """

    def __init__(
        self,
        recipe: DistillationRecipe,
        teacher: Teacher,
        student: Callable[[Told], Denoiser] | None,
        words: Callable[[np.random.Generator, int], Told],
        *,
        shape: Sequence[int],
        seed: int,
        report: Callable[[str], None],
    ) -> None:
        self.recipe = recipe
        self.teacher = teacher
        self.student = student
        self.words = words
        self.shape = tuple(shape)
        self.seed = seed
        self.report = report
        self._turn = -1

    def at(self, step: int) -> Rolls:
        if (turn := step // self.recipe.refresh) != self._turn:
            self._rolls, self._turn = self._roll(turn), turn
            self.report(f"rolled {self.recipe.pool} paths")
        return self._rolls

    def _roll(self, turn: int) -> Rolls:
        rng = np.random.Generator(np.random.Philox(key=[self.seed, 1_000_000 + turn]))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        followed = round(self.recipe.pool * self.recipe.own) if self.student is not None else 0
        parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        for first, last, student in ((0, followed, self.student), (followed, self.recipe.pool, None)):
            for start in range(first, last, ROLL_BATCH):
                count = min(ROLL_BATCH, last - start)
                told = self.words(rng, count)
                noise = torch.randn(count, *self.shape, generator=generator).to(told[0].device)
                parts.append((*roll(noise, told, self.teacher, student), *told))
        shown, velocity, tokens, added = (torch.cat(column) for column in zip(*parts, strict=True))
        return Rolls(shown=shown, velocity=velocity, tokens=tokens, added=added)


class DistillationTask:
    """Answer with the velocity that takes one plain step as far as the teacher went."""

    def __init__(self, recipe: DistillationRecipe, unet: UNet, adapter: LowRank, pool: RollPool, *, seed: int) -> None:
        self.recipe = recipe
        self.unet = unet.requires_grad_(False)
        self.adapter = adapter
        self.pool = pool
        self.seed = seed
        self.grid = pool.teacher.grid
        self.networks = nn.ModuleDict({"adapter": adapter})

    def learning_rates(self, step: int) -> Mapping[str, float]:  # noqa: ARG002 - every step alike
        return {}

    def loss(self, step: int) -> Mapping[str, Tensor]:
        rolls, count, grid = self.pool.at(step), self.recipe.optimisation.batch, self.grid
        rng = np.random.Generator(np.random.Philox(key=[self.seed, step]))
        items = torch.from_numpy(rng.integers(0, len(rolls.shown), size=count))
        index = torch.arange(count) % grid.steps
        t = torch.tensor([grid.process.timestep(level) for level in grid.levels[:-1]])[index]
        x = rolls.shown[items, index].contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            told = (x, t.to(x.device), rolls.tokens[items], rolls.added[items])
            guess = torch.func.functional_call(self.unet, self.adapter.merged(self.unet), told)
        error = (guess.float() - rolls.velocity[items, index]).square().mean(dim=(1, 2, 3))
        each = {f"error_{number}": error[index == number].mean().detach() for number in range(min(grid.steps, count))}
        return {"loss": error.mean(), **each}
