"""Recipes of two steps for networks so small that the whole road takes seconds."""

from __future__ import annotations

from pathlib import Path

from pinxit.train.data.bank import Bank
from pinxit.train.loop import Limits
from pinxit.train.recipe import (
    AdapterShape,
    DiffusionRecipe,
    DistillationRecipe,
    Optimisation,
    PreviewRecipe,
    PreviewShape,
    RefinerRecipe,
    TextRecipe,
    TextShape,
    UNetShape,
    VaeRecipe,
    VaeShape,
)
from pinxit.train.workshop import AnyRecipe, Job, run

UNET = UNetShape(model_channels=32, channel_mult=(1, 2), transformer_depth=(0, 1), size_embedding=8)
VAE = VaeShape(channel_mult=(1, 1, 1, 1, 2), z_channels=4)


def _few(batch: int) -> Optimisation:
    return Optimisation(steps=2, batch=batch, learning_rate=1e-3, warmup=1)


RECIPES: dict[str, AnyRecipe] = {
    "inner": VaeRecipe(kind="vae", stage="inner", shape=VAE, size=64, optimisation=_few(2)),
    "outer": VaeRecipe(kind="vae", stage="outer", shape=VAE, size=64, optimisation=_few(2)),
    "text": TextRecipe(
        kind="text",
        shape=TextShape(vocabulary=700, width=32, layers=2, heads=1),
        vocabulary_captions=200,
        optimisation=_few(4),
    ),
    "unet": DiffusionRecipe(
        kind="diffusion",
        shape=UNET,
        size=64,
        pool=16,
        refresh=1,
        optimisation=_few(4),
    ),
    "refiner": RefinerRecipe(
        kind="refiner",
        shape=UNET,
        size=64,
        pool=16,
        terminal=0.0,
        optimisation=_few(4),
    ),
    "few-step-first": DistillationRecipe(
        kind="distillation",
        shape=AdapterShape(rank=2),
        writes="few-step-first",
        steps=2,
        teacher_steps=4,
        pool=2,
        optimisation=_few(4),
    ),
    "few-step": DistillationRecipe(
        kind="distillation",
        shape=AdapterShape(rank=2),
        after="few-step-first",
        own=0.5,
        steps=2,
        teacher_steps=4,
        pool=2,
        optimisation=_few(4),
    ),
    "preview": PreviewRecipe(
        kind="preview", shape=PreviewShape(channels=8, blocks=(1, 1, 1, 1)), size=32, pool=2, optimisation=_few(2)
    ),
}


def trained(folder: Path, bank: Bank, *names: str) -> Path:
    """A workshop in `folder` with the runs of these names, or of all."""
    for name in names or RECIPES:
        job = Job(name=name, recipe=RECIPES[name], bank=bank.folder, workshop=folder, limits=Limits(log_every=1))
        assert run(job, lambda _: None).finished
    return folder
