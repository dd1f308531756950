"""An evaluation: paint what is asked, judge it, and compare with real pictures, with chance and with another model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pinxit.evaluate.asks import TASKS, Ask, Domain, Language
from pinxit.evaluate.references import References
from pinxit.evaluate.seeing import Reading, answers, readings
from pinxit.train.data.sources import STYLES
from pinxit.train.judge import FIELDS, SIDE, Verdict, judged

SHARP = 256
Paint = Callable[[Ask], Image.Image]
Watch = Callable[[int, int], None]
OBJECT_TASKS = frozenset(TASKS) - {"background", "colour"}
"""Tasks that only a model of the judge's own domain can be scored on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Painted:
    """The pictures of one model, uint8 [N, 3, 96, 96], and what the judge says of them.

    `sharp` are those of one thing at 256 pixels, uint8 [M, 3, 256, 256], where they were asked for.
    """

    asks: tuple[Ask, ...]
    pictures: Tensor
    verdict: Verdict
    readings: tuple[Reading, ...]
    sharp: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """Of `count` pictures, the share for which the asked cell is the first (or among the ten) of `cells` likeliest."""

    count: int
    first: float
    ten: float
    cells: int


def paint_all(
    asks: Sequence[Ask], paint: Paint, references: References, watch: Watch, *, sharp: bool = False
) -> Painted:
    """Paint every ask, one after another, and judge the pictures; with `sharp`, keep those of one thing larger too."""
    pictures = torch.empty(len(asks), 3, SIDE, SIDE, dtype=torch.uint8)
    large: list[Tensor] = []
    for at, ask in enumerate(asks):
        watch(at, len(asks))
        picture = paint(ask).convert("RGB")
        pictures[at] = _resized(picture, SIDE)
        if sharp and ask.facts.kind == "single":
            large.append(_resized(picture, SHARP))
    watch(len(asks), len(asks))
    painted = judge_all(asks, pictures, references)
    return replace(painted, sharp=torch.stack(large)) if large else painted


def _resized(picture: Image.Image, side: int) -> Tensor:
    small = picture.resize((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1)


def judge_all(asks: Sequence[Ask], pictures: Tensor, references: References) -> Painted:
    """The judge's verdict on pictures, uint8 [N, 3, 96, 96]."""
    verdict = judged(references.judge, pictures)
    seen = readings(references.judge, verdict, pictures)
    return Painted(asks=tuple(asks), pictures=pictures, verdict=verdict, readings=tuple(seen))


def scores(
    painted: Painted, references: References, *, foreign: bool = False, language: Language | None = None
) -> dict[str, list[bool]]:
    """The answers by task, in the order of the asks; of a foreign model only those that need no knowledge of it."""
    found: dict[str, list[bool]] = {}
    for ask, seen in zip(painted.asks, painted.readings, strict=True):
        if language in (None, ask.language):
            for task, right in answers(ask.facts, seen, references.judge.config.styles).items():
                if not (foreign and task in OBJECT_TASKS):
                    found.setdefault(task, []).append(right)
    return {task: found[task] for task in TASKS if task in found}


def retrieved(painted: Painted, references: References, domain: Domain) -> dict[str, Retrieved]:
    """How well the second judge finds the asked (concept, style) among all of the domain's, from the picture alone.

    In three groups of cells: `known`, `held_out` (never shown in training, though a style of the same family was) and
    `held_out_alone` (without such a sibling). A group without pictures is left out.
    """
    judge = references.second
    concepts, styles = judge.config.concepts, judge.config.styles
    cells = [(c, s) for c in domain.concepts if c in concepts for s in domain.styles if s in styles]
    wanted = [
        (at, (ask.facts.objects[0].drawing.concept, ask.facts.objects[0].drawing.style))
        for at, ask in enumerate(painted.asks)
        if ask.facts.kind == "single"
    ]
    wanted = [(at, cell) for at, cell in wanted if cell in cells]
    if not wanted:
        return {}
    verdict = judged(judge, painted.pictures[[at for at, _ in wanted]])
    heat = torch.nn.functional.logsigmoid(verdict.heat.amax(dim=(2, 3)))
    style = verdict.style.log_softmax(dim=1)
    likely = torch.stack([heat[:, concepts.index(c)] + style[:, styles.index(s)] for c, s in cells], dim=1)
    ranks: dict[str, list[int]] = {}
    for row, (_, cell) in zip(likely, wanted, strict=True):
        own = row[cells.index(cell)]
        ranks.setdefault(_group(cell, references), []).append(int((row > own).sum()))
    return {
        group: Retrieved(
            count=len(found),
            first=sum(rank == 0 for rank in found) / len(found),
            ten=sum(rank < 10 for rank in found) / len(found),
            cells=len(cells),
        )
        for group, found in sorted(ranks.items())
    }


def _group(cell: tuple[str, str], references: References) -> str:
    concept, style = cell
    drawn = {row[4] for row in references.drawings if row[3] == concept}
    if style in drawn:
        return "known"
    family = {other.key: other.family for other in STYLES}
    return "held_out" if any(family[other] == family[style] for other in drawn) else "held_out_alone"


def features(painted: Painted) -> NDArray[np.float64]:
    """The judge's features of the pictures of one thing, which the stored real ones are like."""
    single = [at for at, ask in enumerate(painted.asks) if ask.facts.kind == "single"]
    return painted.verdict.features[single].double().numpy()


def picture_statistics(painted: Painted) -> dict[str, float]:
    """Plain measures that hold for any model: mean and spread of brightness, saturation, and flatness of the border."""
    x = painted.pictures.float() / 255
    high, low = x.amax(dim=1), x.amin(dim=1)
    rim = torch.cat([x[:, :, 0], x[:, :, -1], x[:, :, :, 0], x[:, :, :, -1]], dim=2)
    return {
        "brightness": float(x.mean()),
        "contrast": float(x.mean(dim=1).flatten(1).std(dim=1).mean()),
        "saturation": float(((high - low) / high.clamp(min=1e-3)).mean()),
        "border_deviation": float(rim.std(dim=2).mean()),
    }


def shuffled(painted: Painted, *, seed: int = 0) -> Painted:
    """The same pictures under one another's prompts: what guessing scores."""
    order = np.random.default_rng(seed).permutation(len(painted.asks))
    asks = tuple(painted.asks[at] for at in np.roll(order, 1))
    by = list(order)
    return Painted(
        asks=asks,
        pictures=painted.pictures[by],
        verdict=Verdict(*(getattr(painted.verdict, name)[by] for name in FIELDS)),
        readings=tuple(painted.readings[at] for at in by),
    )


def noise_like(painted: Painted, references: References, *, seed: int = 0) -> Painted:
    """As many pictures of pure noise under the same prompts: an evaluation that scores them well is broken."""
    generator = torch.Generator().manual_seed(seed)
    return judge_all(
        painted.asks, torch.randint(0, 256, painted.pictures.shape, generator=generator, dtype=torch.uint8), references
    )
