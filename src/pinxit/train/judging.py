"""Training a judge: scenes with known contents, made worse in all the ways that a painted picture may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pinxit.train.data.bank import Bank
from pinxit.train.data.composition import Composer, CompositionSettings, KindShares
from pinxit.train.data.concepts import first_keys
from pinxit.train.data.facts import SceneFacts
from pinxit.train.judge import SIDE, STRIDE, Judge, JudgeConfig, Verdict, save_judge, seen
from pinxit.train.loop import Summary
from pinxit.train.recipe import JudgeRecipe
from pinxit.train.workshop import Job, Report, train_averaged

CELLS = SIDE // STRIDE
ALL_CONCEPTS = 1000
KINDS = KindShares(single=0.55, pair=0.2, size=0.08, count=0.17, colour=0.0)
TEMPERATURE = 0.1


class JudgeTask:
    """Find every thing in composed scenes, tell their style, and know one drawing again on another ground."""

    def __init__(self, recipe: JudgeRecipe, judge: Judge, bank: Bank, *, seed: int) -> None:
        self.recipe = recipe
        self.seed = seed
        self.composer = judge_composer(bank, styles=recipe.styles)
        self.places = {concept: at for at, concept in enumerate(judge.config.concepts)}
        self.styles = {style: at for at, style in enumerate(judge.config.styles)}
        self.networks = nn.ModuleDict({"judge": judge})
        self.networks.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's overloads omit this form

    def learning_rates(self, step: int) -> Mapping[str, float]:
        del step
        return {}

    def loss(self, step: int) -> Mapping[str, Tensor]:
        rng = np.random.Generator(np.random.Philox(key=[self.seed, step]))
        count = self.recipe.optimisation.batch
        pairs = count // 4
        pictures, facts = self._scenes(count - 2 * pairs, pairs, rng)
        x = harmed(seen(torch.from_numpy(pictures)), self.recipe.harm, rng)
        judge = self.networks["judge"]
        device = next(judge.parameters()).device
        with torch.autocast(device.type, dtype=torch.bfloat16):
            verdict: Verdict = judge(x.to(device))
        heat, side, mask = (part.to(device) for part in targets(facts, self.places))
        style = torch.tensor([self._style(shown) for shown in facts], device=device)
        terms = {
            "heat": focal(verdict.heat.float(), heat),
            "side": ((verdict.side.float() - side).abs() * mask).sum() / mask.sum().clamp(min=1),
            "style": F.cross_entropy(verdict.style.float(), style, ignore_index=-1),
            "same": contrast(verdict.embedding[count - 2 * pairs :]),
        }
        return {"loss": terms["heat"] + 0.5 * terms["side"] + 0.5 * terms["style"] + 0.3 * terms["same"], **terms}

    def _scenes(self, count: int, pairs: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[SceneFacts]]:
        """`count` scenes, then `pairs` drawings, each on two grounds."""
        scenes = self.composer.batch(count, rng)
        rows = rng.choice(self.composer.rows, size=pairs, replace=len(self.composer.rows) < pairs)
        views = [self.composer.compose_row(int(row), rng) for row in np.repeat(rows, 2)]
        pictures = np.stack([picture.transpose(2, 0, 1) for picture, _ in views])
        return np.concatenate([scenes.images, pictures]), [*scenes.facts, *(facts for _, facts in views)]

    def _style(self, facts: SceneFacts) -> int:
        styles = {thing.drawing.style for thing in facts.objects}
        return self.styles[styles.pop()] if len(styles) == 1 else -1


def judge_composer(bank: Bank, *, styles: Sequence[str] = (), concepts: Sequence[str] | None = None) -> Composer:
    """Scenes at the judge's own size: all kinds, every background, concepts drawn alike."""
    settings = CompositionSettings(kinds=KINDS, scale=(0.5, 0.96), even_concepts=True, held_out_rules=False)
    keys = first_keys(ALL_CONCEPTS) if concepts is None else concepts
    return Composer(bank, settings, size=SIDE, concepts=keys, styles=styles or None)


def targets(facts: Sequence[SceneFacts], places: Mapping[str, int]) -> tuple[Tensor, Tensor, Tensor]:
    """What the judge should answer: heat [B, concepts, 24, 24] in 0..1, log side and where it counts [B, 24, 24].

    A thing is a Gaussian bump whose width is a sixth of its size; where bumps of one concept overlap the higher counts.
    """
    heat = torch.zeros(len(facts), len(places), CELLS, CELLS)
    side, mask = torch.zeros(len(facts), CELLS, CELLS), torch.zeros(len(facts), CELLS, CELLS)
    grid = torch.arange(CELLS) + 0.5
    for number, shown in enumerate(facts):
        for thing in shown.objects:
            left, top, right, bottom = (edge * CELLS for edge in thing.box)
            x, y = (left + right) / 2, (top + bottom) / 2
            column, row = min(int(x), CELLS - 1), min(int(y), CELLS - 1)
            sigma = max(right - left, bottom - top) / 6 / 2 + 0.5
            bump = torch.exp(-((grid - row - 0.5)[:, None] ** 2 + (grid - column - 0.5)[None] ** 2) / (2 * sigma**2))
            at = places[thing.drawing.concept]
            heat[number, at] = torch.maximum(heat[number, at], bump)
            side[number, row, column] = float(np.log(max(right - left, bottom - top) / CELLS))
            mask[number, row, column] = 1
    return heat, side, mask


def focal(logits: Tensor, heat: Tensor) -> Tensor:
    """The penalty-reduced focal loss of Law and Deng 2018, eq. 1, with alpha 2 and beta 4, per thing."""
    probability = logits.sigmoid()
    peak = heat >= 1
    positive = F.logsigmoid(logits) * (1 - probability) ** 2 * peak
    negative = F.logsigmoid(-logits) * probability**2 * (1 - heat) ** 4 * ~peak
    return -(positive.sum() + negative.sum()) / peak.sum().clamp(min=1)


def contrast(embedding: Tensor) -> Tensor:
    """Of all other views in the batch, the one that shows the same drawing (van den Oord et al. 2018, eq. 4).

    Neighbouring rows are the two views of one drawing.
    """
    count = len(embedding)
    near = embedding @ embedding.T / TEMPERATURE
    near = near.masked_fill(torch.eye(count, dtype=torch.bool, device=near.device), float("-inf"))
    return F.cross_entropy(near, torch.arange(count, device=near.device) ^ 1)


def harmed(x: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Pictures made worse, each with chance `share`: coarser, noisy, shifted in brightness and colour."""
    count = len(x)
    for factor in (2, 3):
        chosen = torch.from_numpy(rng.random(count) < share / 3)
        small = F.avg_pool2d(x[chosen], factor)
        x[chosen] = F.interpolate(small, (SIDE, SIDE), mode="bilinear", align_corners=False)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    gain = 1 + 0.15 * torch.randn(count, 3, 1, 1, generator=generator)
    offset = 0.1 * torch.randn(count, 3, 1, 1, generator=generator)
    noise = 0.15 * torch.rand(count, 1, 1, 1, generator=generator) * torch.randn(x.shape, generator=generator)
    chosen = torch.from_numpy(rng.random(count) < share).view(-1, 1, 1, 1)
    return (
        torch.where(chosen, x * gain + offset + noise, x).clamp(-1.2, 1.2).contiguous(memory_format=torch.channels_last)
    )


def run_judge(job: Job, recipe: JudgeRecipe, bank: Bank, report: Report) -> Summary:
    """Train a judge and write it into the workshop as `NAME.safetensors`, NAME being the recipe's."""
    composer = judge_composer(bank, styles=recipe.styles)
    drawings = [bank.drawings[row] for row in composer.rows]
    known = {drawing.concept for drawing in drawings}
    config = JudgeConfig(
        concepts=tuple(key for key in first_keys(ALL_CONCEPTS) if key in known),
        styles=tuple(sorted({drawing.style for drawing in drawings})),
        widths=recipe.shape.widths,
        embedding=recipe.shape.embedding,
    )
    torch.manual_seed(recipe.optimisation.seed)
    judge = Judge(config).to(job.device)
    task = JudgeTask(recipe, judge, bank, seed=job.seed)
    summary = train_averaged(job, task, report)
    if job.workers.rank == 0:
        job.workshop.mkdir(parents=True, exist_ok=True)
        save_judge(judge, judge_file(job.workshop, job.name))
    return summary


def judge_file(workshop: Path, name: str) -> Path:
    return workshop / f"{name}.safetensors"
