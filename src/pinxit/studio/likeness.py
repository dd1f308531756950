"""How alike the same recipes come out with two ways of computing, such as number formats."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.schema.request import GenerationRequest
from pinxit.studio.studio import Studio

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

PROMPTS = (
    "a fox",
    "a bowl of fruit",
    "a lighthouse at night",
    "a hot air balloon",
    "an old man with a white beard",
    "a blue bicycle",
    "a house with a red roof",
    "three yellow flowers",
)
"""What is painted, the first one with seed 1, the next with seed 2."""
SAME, CLOSE = 0.98, 0.90
"""The worst picture's structural similarity from which hardly anybody, or only who looks closely, sees a difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Painted:
    """A finished latent, its picture, and the seconds that its steps took."""

    latent: Tensor
    image: Image.Image
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How alike two pictures of one recipe are.

    `psnr` in dB (infinite for the same pixels), `ssim` 1 for the same structure, `latent` the distance of the finished
    latents as a share of the second one's length.
    """

    prompt: str
    seed: int
    psnr: float
    ssim: float
    latent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Every recipe's likeness, and the seconds that each of the two ways spent on steps."""

    pictures: tuple[Likeness, ...]
    seconds: tuple[float, float]

    @property
    def verdict(self) -> str:
        """`same`, `close` or `differs`, by the worst picture."""
        return "same" if self.worst >= SAME else "close" if self.worst >= CLOSE else "differs"

    @property
    def worst(self) -> float:
        """The structural similarity of the picture that suffered most."""
        return min(one.ssim for one in self.pictures)

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; an infinite ratio is null."""
        rows = [{**asdict(one), "psnr": one.psnr if math.isfinite(one.psnr) else None} for one in self.pictures]
        return {"pictures": rows, "seconds": list(self.seconds), "worst": self.worst, "verdict": self.verdict}


def recipes(count: int, model: str | None, steps: int | None) -> tuple[GenerationRequest, ...]:
    """The first `count` recipes for a model; `steps` None is the model's own number."""
    return tuple(
        GenerationRequest(prompt=prompt, model=model, seed=seed, steps=steps)
        for seed, prompt in enumerate(PROMPTS[:count], 1)
    )


def compare(
    one: Studio, other: Studio, requests: Sequence[GenerationRequest], *, folder: Path | None = None
) -> Comparison:
    """Paint every request with one studio, then with the other. Raises what painting raises.

    Each pair of pictures is written to `folder` side by side, the other studio's on the right.
    """
    pairs = list(zip(requests, list(_paint(one, requests)), _paint(other, requests), strict=True))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for request, ours, theirs in pairs:
            _side_by_side(ours.image, theirs.image).save(folder / f"{request.seed}.png")
    return Comparison(
        pictures=tuple(likeness(*pair) for pair in pairs),
        seconds=(sum(ours.seconds for _, ours, _ in pairs), sum(theirs.seconds for _, _, theirs in pairs)),
    )


def likeness(request: GenerationRequest, one: Painted, other: Painted) -> Likeness:
    """How alike two results of one request are."""
    from pinxit.engine.image import to_tensor
    from pinxit.evaluate.autoencoder import structural_similarity

    first, second = to_tensor(one.image), to_tensor(other.image)
    error = float(((first - second) / 2).square().mean())
    return Likeness(
        prompt=request.prompt,
        seed=request.seed or 0,
        psnr=math.inf if error == 0 else -10 * math.log10(error),
        ssim=float(structural_similarity(first, second).mean()),
        latent=float((one.latent - other.latent).norm() / other.latent.norm()),
    )


def _paint(studio: Studio, requests: Sequence[GenerationRequest]) -> Iterator[Painted]:
    """Paint each request; what was loaded goes when all are painted."""
    from pinxit.engine import stages

    residency = studio.residency
    for request in requests:
        resolved = studio.plan(request).resolved
        encoded = stages.encode(resolved, residency)
        start = stages.prepare(resolved, residency, seed=resolved.request.seed or 0)
        clean, began = start.x, time.perf_counter()
        for step in stages.denoise(resolved, residency, encoded, start):
            clean = step.x
        seconds = time.perf_counter() - began
        yield Painted(latent=clean, image=stages.decode(resolved, residency, clean), seconds=seconds)
    residency.clear()


def _side_by_side(left: Image.Image, right: Image.Image) -> Image.Image:
    from PIL import Image

    both = Image.new("RGB", (left.width + right.width, left.height))
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    return both
