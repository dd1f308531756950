"""How fast this machine would train a recipe: a few timed steps in several ways of computing. Nothing is kept."""

from __future__ import annotations

import copy
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from pinxit.schema.errors import BadInput
from pinxit.train.computing import Computing, tune
from pinxit.train.data.bank import Bank
from pinxit.train.diffusion import DiffusionTask
from pinxit.train.latents import diffusion_task
from pinxit.train.loop import Trainer
from pinxit.train.recipe import DiffusionRecipe, RefinerRecipe
from pinxit.train.workshop import Job, Report

POOL = 64
WARM_UP, TIMED = 2, 5
SECONDS = 3.0
"""Steps are timed for as long at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One way of computing. `hours` are those of the whole recipe; `failure` says why there are no figures.

    `memory` is the most that was held at a time in MiB: the GPU's own, elsewhere all of this process so far.
    """

    batch: int
    computing: Computing
    rate: float = 0.0
    milliseconds: float = 0.0
    memory: float = 0.0
    hours: float = 0.0
    failure: str | None = None

    def to_json(self) -> dict[str, Any]:
        row = asdict(self)
        del row["computing"]
        return {
            **{name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()},
            "dtype": str(self.computing.dtype).removeprefix("torch."),
            "channels_last": self.computing.channels_last,
            "compile": self.computing.compile,
        }


def probe(job: Job, report: Report, each: Callable[[Timed], None]) -> list[Timed]:
    """Time steps of the job's recipe; `each` gets every row as it comes.

    The recipe's own batch comes first, then other batches, then one other choice at a time. Raises BadInput for a
    recipe that trains no U-Net.
    """
    recipe = job.recipe
    if not isinstance(recipe, (DiffusionRecipe, RefinerRecipe)):
        raise BadInput(
            f"A recipe of the kind {recipe.kind} cannot be probed.",
            hint="Probe one of the kinds diffusion and refiner.",
        )
    tune(job.device)
    small = recipe.model_copy(update={"pool": POOL})
    task = diffusion_task(job, small, Bank.open(job.bank), report)
    rows: list[Timed] = []
    for batch, computing in _ways(recipe.optimisation.batch, job.computing):
        rows.append(_timed(task, batch, computing, job))
        each(rows[-1])
    return rows


def _ways(batch: int, usual: Computing) -> Iterator[tuple[int, Computing]]:
    yield batch, usual
    for other in (max(1, batch // 4), max(1, batch // 2), batch * 2):
        if other != batch:
            yield other, usual
    yield batch, replace(usual, channels_last=not usual.channels_last)
    yield batch, replace(usual, dtype=torch.float32 if usual.dtype != torch.float32 else torch.bfloat16)
    yield batch, replace(usual, compile=not usual.compile)


def _timed(task: DiffusionTask, batch: int, computing: Computing, job: Job) -> Timed:
    recipe = task.recipe
    whole = recipe.optimisation.steps * recipe.optimisation.batch
    optimisation = recipe.optimisation.model_copy(update={"batch": batch})
    networks = copy.deepcopy(task.networks)
    _forget(job.device)
    try:
        trial = task.like(recipe.model_copy(update={"optimisation": optimisation}), networks, computing)
        trainer = Trainer(trial, optimisation)
        for _ in range(WARM_UP):
            trainer.advance()
        start, steps = _now(job.device), 0
        while steps < TIMED or _now(job.device) - start < SECONDS:
            trainer.advance()
            steps += 1
        seconds = (_now(job.device) - start) / steps
    except RuntimeError as error:  # out of memory, or a compiler that is missing
        return Timed(batch=batch, computing=computing, failure=str(error).strip().splitlines()[0][:200])
    rate = batch * job.workers.count / seconds
    return Timed(
        batch=batch,
        computing=computing,
        rate=rate,
        milliseconds=1000 * seconds,
        memory=_memory(job.device),
        hours=whole * job.workers.count / rate / 3600,
    )


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()


def _forget(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _memory(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
