"""The one training loop: step, average, log, checkpoint, stop.

Batches, noise and dropout are functions of (seed, step, rank), so a run that was killed and resumed on the same CPU
ends with the same bytes as one that was not.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from pinxit.schema.errors import NumericError
from pinxit.train.checkpoint import State, load_state, save_state
from pinxit.train.parallel import Workers
from pinxit.train.recipe import Optimisation


class Task(Protocol):
    """What is trained. `networks` holds every trained module by name; `loss` must draw from (seed, step) only."""

    networks: nn.ModuleDict

    def loss(self, step: int) -> Mapping[str, Tensor]:
        """The terms for one batch at `step`; the term named `loss` is minimised, the others are logged."""
        ...

    def learning_rates(self, step: int) -> Mapping[str, float]:
        """Relative learning rate per network at `step`; 0 freezes it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When to stop and how often to write a state, in seconds; how often to log and to paint samples, in steps."""

    seconds: float | None = None
    checkpoint_seconds: float = 240.0
    log_every: int = 20
    samples_every: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How a run ended: after `steps` in all, `seconds` of this run, at `rate` samples per second."""

    steps: int
    seconds: float
    rate: float
    finished: bool


class Trainer:
    """Optimizer, average and step counter around a task."""

    def __init__(self, task: Task, optimisation: Optimisation, *, workers: Workers | None = None) -> None:
        self.task = task
        self.optimisation = optimisation
        self.workers = workers or Workers.alone()
        self.step = 0
        self.groups = {name: list(network.parameters()) for name, network in task.networks.items()}
        self.optimizer = torch.optim.AdamW(
            [{"params": parameters, "name": name} for name, parameters in self.groups.items()],
            lr=optimisation.learning_rate,
            betas=(optimisation.beta1, optimisation.beta2),
            weight_decay=optimisation.weight_decay,
            fused=True,
        )
        self.average = {name: p.detach().clone() for name, p in task.networks.named_parameters()}

    def advance(self) -> dict[str, float]:
        """Do one step; returns the logged terms. Raises NumericError before any weight changes if one is not finite."""
        settings = self.optimisation
        torch.manual_seed(settings.seed * 1_000_003 + self.step * 131 + self.workers.rank)
        relative = self.task.learning_rates(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate_at(self.step) * relative.get(group["name"], 1.0)
            for parameter in group["params"]:
                parameter.requires_grad_(group["lr"] > 0)
        self.optimizer.zero_grad(set_to_none=True)
        terms = self.task.loss(self.step)
        terms["loss"].backward()
        parameters = [p for p in self.task.networks.parameters() if p.grad is not None]
        self.workers.average_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, settings.clip)
        together = torch.stack([*(value.detach().float() for value in terms.values()), norm.float()])
        values = dict(zip((*terms, "norm"), together.tolist(), strict=True))  # one wait for the device
        self._check(values)
        self.optimizer.step()
        self._update_average()
        self.step += 1
        return values

    def _check(self, values: Mapping[str, float]) -> None:
        bad = sorted(name for name, value in values.items() if not abs(value) < float("inf"))
        if bad:
            raise NumericError(
                f"Step {self.step} gave a {' and '.join(bad)} that is not a finite number.",
                hint="Resume from the last state with a lower learning_rate or a stronger clip.",
            )

    @torch.no_grad()
    def _update_average(self) -> None:
        keep = self.optimisation.ema_at(self.step)
        named = dict(self.task.networks.named_parameters())
        torch._foreach_lerp_(list(self.average.values()), [named[name] for name in self.average], 1 - keep)  # pyright: ignore[reportPrivateUsage] - the only fused average torch has

    def state(self, recipe: str) -> State:
        tensors: dict[str, Tensor] = {f"average.{name}": value for name, value in self.average.items()}
        for name, parameter in self.task.networks.named_parameters():
            tensors[f"weight.{name}"] = parameter
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"adam.{key}.{name}"] = value
        return State(step=self.step, recipe=recipe, tensors=tensors)

    @torch.no_grad()
    def restore(self, state: State) -> None:
        """Take over a saved state; where it holds no optimizer part (another machine's average), Adam starts afresh."""
        self.step = state.step
        for name, parameter in self.task.networks.named_parameters():
            parameter.copy_(state.tensors[f"weight.{name}"])
            self.average[name].copy_(state.tensors[f"average.{name}"])
            prefix, slots = "adam.", {}
            for key in ("step", "exp_avg", "exp_avg_sq"):
                if (value := state.tensors.get(f"{prefix}{key}.{name}")) is not None:
                    # A fused step walks through memory: moments must lie as their weights do, which files forget.
                    like = torch.empty_like(parameter if value.ndim else value, device=parameter.device)
                    slots[key] = like.copy_(value)
            if slots:
                self.optimizer.state[parameter] = slots

    @torch.no_grad()
    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights by name, as detached copies."""
        return {name: value.clone() for name, value in self.average.items()}


def train(
    trainer: Trainer,
    folder: Path,
    *,
    recipe: str,
    limits: Limits,
    report: Callable[[str], None],
    paint: Callable[[Mapping[str, Tensor]], Image.Image] | None = None,
) -> Summary:
    """Run until the recipe's steps are done, the time is over or the user interrupts; the state is saved in each case.

    `folder` receives the states, `log.jsonl`, one line per `limits.log_every` steps, and every `limits.samples_every`
    steps `samples/step_<N>.png`, what `paint` makes of the averaged weights.
    """
    if (state := load_state(folder, recipe=recipe)) is not None:
        trainer.restore(state)
        report(f"resumed at step {trainer.step}")
    folder.mkdir(parents=True, exist_ok=True)
    workers, first, start = trainer.workers, trainer.step, time.monotonic()
    saved_at, log = start, _Log(folder / "log.jsonl", batch=trainer.optimisation.batch * workers.count)
    with _interrupts() as interrupted:
        while trainer.step < trainer.optimisation.steps:
            over = limits.seconds is not None and time.monotonic() - start >= limits.seconds
            if workers.any(over or bool(interrupted)):
                break
            log.add(trainer.advance())
            if workers.rank == 0 and trainer.step % limits.log_every == 0:
                report(log.write(trainer.step))
            if workers.rank == 0 and paint and limits.samples_every and trainer.step % limits.samples_every == 0:
                _save_samples(paint(trainer.average), folder, trainer.step)
            if workers.rank == 0 and time.monotonic() - saved_at >= limits.checkpoint_seconds:
                save_state(folder, trainer.state(recipe))
                saved_at = time.monotonic()
    if workers.rank == 0 and trainer.step > first:
        save_state(folder, trainer.state(recipe))
    workers.wait()
    seconds = time.monotonic() - start
    return Summary(
        steps=trainer.step,
        seconds=seconds,
        rate=(trainer.step - first) * log.batch / max(seconds, 1e-9),
        finished=trainer.step >= trainer.optimisation.steps,
    )


def _save_samples(sheet: Image.Image, folder: Path, step: int) -> None:
    place = folder / "samples" / f"step_{step}.png"
    place.parent.mkdir(exist_ok=True)
    sheet.save(place)


class _Log:
    """Means of the logged terms since the last line, appended to a file of JSON lines."""

    def __init__(self, path: Path, *, batch: int) -> None:
        self.path = path
        self.batch = batch
        self._sums: dict[str, float] = {}
        self._count = 0
        self._since = time.monotonic()

    def add(self, values: Mapping[str, float]) -> None:
        self._count += 1
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def write(self, step: int) -> str:
        now = time.monotonic()
        rate = self._count * self.batch / max(now - self._since, 1e-9)
        means = {name: round(total / self._count, 6) for name, total in self._sums.items()}
        line = {"step": step, "batch": self.batch, "samples_per_second": round(rate, 1), **means}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._sums, self._count, self._since = {}, 0, now
        return " ".join(f"{key} {value}" for key, value in line.items())


@contextmanager
def _interrupts() -> Generator[list[int]]:
    """Collect Ctrl-C and SIGTERM instead of raising, so that a run ends between two steps, with its state whole."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda got, _frame: caught.append(got))
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
