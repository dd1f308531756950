"""Runs that teach a student what the workshop's finished model does."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pinxit.train.conditioning import added_embedding, token_rows
from pinxit.train.crops import Crops
from pinxit.train.data.bank import Bank
from pinxit.train.data.captions import caption
from pinxit.train.distillation import (
    DistillationTask,
    Grid,
    RollPool,
    Teacher,
    Told,
    changed,
    guided_model,
    plain_model,
)
from pinxit.train.extras import base_unet
from pinxit.train.loop import Summary
from pinxit.train.lowrank import LowRank
from pinxit.train.preview import PREVIEW, PreviewPool, PreviewTask, check_half_size, preview_decoder
from pinxit.train.recipe import DistillationRecipe, PreviewRecipe, UNetShape
from pinxit.train.words import composer, load_text
from pinxit.train.workshop import (
    Job,
    Report,
    begin_with,
    chosen_rows,
    load_component,
    load_vae,
    read_shapes,
    save_component,
    train_averaged,
)


def run_distillation(job: Job, recipe: DistillationRecipe, bank: Bank, report: Report) -> Summary:
    """Train an adapter of the workshop's U-Net for few steps."""
    vae = load_vae(job.workshop)
    text, tokenizer = load_text(job.workshop)
    text = text.to(job.device).requires_grad_(False)
    shapes = read_shapes(job.workshop)
    shape, side = UNetShape.model_validate(shapes.get("unet", {})), int(str(shapes.get("size", 256)))
    unet = base_unet(job.workshop).to(job.device)
    unet.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's overloads omit this form
    torch.manual_seed(recipe.optimisation.seed)
    adapter = LowRank(unet, recipe.shape.rank).to(job.device)
    scenes = composer(bank, recipe.data, recipe.composing, size=16)
    sizes = torch.tensor([[side, side, 0, 0, side, side]], device=job.device).float()

    @torch.no_grad()
    def told(captions: list[str]) -> Told:
        with torch.autocast(job.device.type, dtype=torch.bfloat16):
            states = text(token_rows(tokenizer, captions).to(job.device))
        added = added_embedding(states.projected.float(), sizes.expand(len(captions), -1), shape.size_embedding)
        return states.hidden[-2].to(torch.bfloat16), added

    def words(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        return told([caption(scenes.compose(rng)[1], rng) for _ in range(count)])

    grid, student = Grid.of(recipe.steps, recipe.teacher_steps), None
    if recipe.after is not None:
        load_component(job.workshop, recipe.after, adapter)
        student = plain_model(changed(unet, adapter), grid)
    if recipe.halving and student is not None:
        teacher = Teacher(student, grid, multistep=False)
    else:
        teacher = Teacher(guided_model(changed(unet, None), recipe.guidance, told([""]), grid), grid, multistep=True)
    latent = side // 2 ** (len(vae.config.channel_mult) - 1)
    pool = RollPool(
        recipe,
        teacher,
        student if recipe.own else None,
        words,
        shape=(vae.config.z_channels, latent, latent),
        seed=job.seed,
        report=report,
    )
    task = DistillationTask(recipe, unet, adapter, pool, seed=job.seed)
    summary = train_averaged(job, task, report)
    if job.workers.rank == 0:
        shape_and_steps = {**recipe.shape.model_dump(mode="json"), "steps": recipe.steps}
        save_component(job.workshop, recipe.writes, adapter, {recipe.writes: shape_and_steps})
    return summary


def run_preview(job: Job, recipe: PreviewRecipe, bank: Bank, report: Report) -> Summary:
    """Train the workshop's preview decoder."""
    vae = load_vae(job.workshop).to(job.device)
    vae.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's overloads omit this form
    check_half_size(recipe.shape, vae)
    torch.manual_seed(recipe.optimisation.seed)
    decoder = preview_decoder(recipe.shape, z_channels=vae.config.z_channels).to(job.device)
    begin_with(job.workshop, PREVIEW, decoder, recipe.shape)
    rows, weights = chosen_rows(bank, recipe.data)
    crops = Crops(bank, rows, weights, size=recipe.size, frame=recipe.size, seed=job.seed, device=job.device)
    pool = PreviewPool(recipe, vae, crops, seed=job.seed, report=report)
    summary = train_averaged(job, PreviewTask(recipe, decoder, pool, seed=job.seed), report)
    if job.workers.rank == 0:
        save_component(job.workshop, PREVIEW, decoder, {PREVIEW: recipe.shape.model_dump(mode="json")})
    return summary
