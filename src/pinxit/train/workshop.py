"""A model in the making: a folder of weights by component, and the runs that fill it.

```
vae.safetensors  text.safetensors  unet.safetensors     averaged weights under our own names
tokenizer/vocab.json  tokenizer/merges.txt
shape.json                                              the shapes, as the recipes gave them
runs/<recipe name>/                                     the recipe as it was run, training states, logs
```
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image
from pydantic import BaseModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pinxit.models.common.vae import AutoencoderKL
from pinxit.schema.errors import BadInput, Missing
from pinxit.train.autoencoder import AutoencoderTask, fold_statistics, latent_statistics, vae_config
from pinxit.train.computing import Computing, tune
from pinxit.train.crops import Crops
from pinxit.train.data.bank import Bank
from pinxit.train.data.concepts import first_keys, keys_named
from pinxit.train.loop import Limits, Summary, Task, Trainer, train
from pinxit.train.parallel import Workers
from pinxit.train.recipe import (
    AnyRecipe,
    DistillationRecipe,
    JudgeRecipe,
    PreviewRecipe,
    Selection,
    TextRecipe,
    VaeRecipe,
    VaeShape,
    identity,
)

Report = Callable[[str], None]
CPU = torch.device("cpu")
STATISTICS_BATCHES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training command: a recipe, the bank it learns from, the workshop it fills, and when to stop."""

    name: str
    recipe: AnyRecipe
    bank: Path
    workshop: Path
    limits: Limits
    device: torch.device = CPU
    computing: Computing = field(default_factory=Computing)
    workers: Workers = field(default_factory=Workers.alone)

    @property
    def seed(self) -> int:
        """The seed of this process's own batches."""
        return self.recipe.optimisation.seed + 7919 * self.workers.rank


def chosen_rows(bank: Bank, selection: Selection) -> tuple[list[int], list[float]]:
    """Rows of the drawings that a recipe learns from, and their weights; never a held-out one.

    Curriculum drawings share `1 - plain` of the weight, all other ones `plain`.
    """
    styles = selection.styles or None
    keys = chosen_keys(selection)
    if keys is None:
        rows = list(bank.rows(styles=styles, split="train"))
        return rows, [bank.drawings[row].weight for row in rows]
    inner = list(bank.rows(concepts=keys, styles=styles, split="train"))
    if not inner:
        raise BadInput("The bank holds none of the curriculum's drawings.", hint="Build it with more sources.")
    inside = frozenset(inner)
    outer = [row for row in bank.rows(styles=styles, split="train") if row not in inside] if selection.plain else []
    weights = _scaled(bank, inner, 1 - selection.plain) + _scaled(bank, outer, selection.plain)
    return inner + outer, weights


def chosen_keys(selection: Selection) -> tuple[str, ...] | None:
    """Keys of the concepts that a recipe names or counts; None for all there are. Raises UnknownName."""
    if selection.only:
        return keys_named(selection.only)
    return None if selection.concepts is None else first_keys(selection.concepts)


def _scaled(bank: Bank, rows: Sequence[int], share: float) -> list[float]:
    total = sum(bank.drawings[row].weight for row in rows)
    return [share * bank.drawings[row].weight / total for row in rows]


def run(job: Job, report: Report) -> Summary:
    """Train as `job` says and write the averaged weights into the workshop."""
    bank = Bank.open(job.bank)
    tune(job.device)
    if isinstance(job.recipe, VaeRecipe):
        return _run_vae(job, job.recipe, bank, report)
    if isinstance(job.recipe, JudgeRecipe):
        from pinxit.train.judging import run_judge

        return run_judge(job, job.recipe, bank, report)
    if isinstance(job.recipe, DistillationRecipe):
        from pinxit.train.students import run_distillation

        return run_distillation(job, job.recipe, bank, report)
    if isinstance(job.recipe, PreviewRecipe):
        from pinxit.train.students import run_preview

        return run_preview(job, job.recipe, bank, report)
    if isinstance(job.recipe, TextRecipe):
        from pinxit.train.words import run_text

        return run_text(job, job.recipe, bank, report)
    from pinxit.train.latents import run_diffusion

    return run_diffusion(job, job.recipe, bank, report)


def _run_vae(job: Job, recipe: VaeRecipe, bank: Bank, report: Report) -> Summary:
    torch.manual_seed(recipe.optimisation.seed)
    vae = AutoencoderKL(vae_config(recipe.shape)).to(job.device)
    if recipe.stage == "outer":
        load_component(job.workshop, "vae", vae)
    else:
        begin_with(job.workshop, "vae", vae, recipe.shape)
    rows, weights = chosen_rows(bank, recipe.data)
    frame = 128 if recipe.stage == "inner" else 256
    crops = Crops(bank, rows, weights, size=recipe.size, frame=frame, seed=job.seed, device=job.device)
    task = AutoencoderTask(recipe, vae, crops)
    task.networks.to(job.device)
    summary = train_averaged(job, task, report)
    if recipe.stage != "outer":
        fold_statistics(vae, *latent_statistics(task, STATISTICS_BATCHES))
    if job.workers.rank == 0:
        save_component(job.workshop, "vae", vae, {"vae": recipe.shape.model_dump(mode="json")})
    return summary


def train_averaged(
    job: Job, task: Task, report: Report, paint: Callable[[Mapping[str, Tensor]], Image.Image] | None = None
) -> Summary:
    """Train, then leave the averaged weights in the task's networks. `paint` makes samples of them meanwhile.

    Raises BadInput when samples are asked for and `paint` is not given.
    """
    if job.limits.samples_every and paint is None:
        raise BadInput(
            f"A recipe of the kind {job.recipe.kind} paints no samples.",
            hint="Leave --samples out; recipes of the kinds diffusion and refiner paint them.",
        )
    trainer = Trainer(task, job.recipe.optimisation, workers=job.workers)
    if job.workers.rank == 0:
        folder = job.workshop / "runs" / job.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.json").write_text(job.recipe.model_dump_json(indent=1), "utf-8")
    summary = train(
        trainer,
        job.workshop / "runs" / job.name,
        recipe=identity(job.recipe),
        limits=job.limits,
        report=report,
        paint=paint,
    )
    average = trainer.averaged()
    with torch.no_grad():
        for name, parameter in task.networks.named_parameters():
            parameter.copy_(average[name])
    report(f"{summary.steps} steps, {summary.rate:.1f} samples per second")
    return summary


def save_component(workshop: Path, name: str, network: nn.Module, shape: Mapping[str, object]) -> None:
    """Write a network's weights and add its shape to `shape.json`, each atomically."""
    workshop.mkdir(parents=True, exist_ok=True)
    draft = workshop / f"{name}.tmp"
    save_file({key: value.detach().contiguous().clone() for key, value in network.state_dict().items()}, draft)
    os.replace(draft, workshop / f"{name}.safetensors")
    shapes = {**read_shapes(workshop), **shape}
    draft.write_text(json.dumps(shapes, indent=1), "utf-8")
    os.replace(draft, workshop / "shape.json")


def load_component(workshop: Path, name: str, network: nn.Module) -> None:
    """Read a network's weights back. Raises Missing when that component was never trained here."""
    network.load_state_dict(load_file(needed(workshop, name)))


def needed(workshop: Path, name: str) -> Path:
    """The file of a component. Raises Missing when it was never trained here."""
    path = workshop / f"{name}.safetensors"
    if not path.is_file():
        raise Missing(f"The workshop {workshop} has no {name} yet.", hint=f"Train the {name} first.")
    return path


def begin_with(workshop: Path, name: str, network: nn.Module, shape: BaseModel) -> None:
    """Start from the workshop's own weights of that component, where it has any of the same shape."""
    if (workshop / f"{name}.safetensors").is_file() and read_shapes(workshop).get(name) == shape.model_dump(
        mode="json"
    ):
        load_component(workshop, name, network)


def read_shapes(workshop: Path) -> dict[str, object]:
    path = workshop / "shape.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def load_vae(workshop: Path) -> AutoencoderKL:
    vae = AutoencoderKL(vae_config(VaeShape.model_validate(read_shapes(workshop).get("vae", {}))))
    load_component(workshop, "vae", vae)
    return vae.requires_grad_(False).eval()
