"""Measure what the shortcuts cost and save: `python -m docs.approximate` paints with the built-in model.

It writes the table of `docs/approximate.md` and the numbers that plans quote.

Time is the processor time of the denoising, on one thread: the least of all recipes over the least of exact runs.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from docs.grid import PROMPTS
from numpy.typing import NDArray

import pinxit.engine
from pinxit.engine import stages
from pinxit.engine.plan import Resolved, resolve
from pinxit.engine.shortcuts import MEASURED, OF_A_CACHE
from pinxit.schema.request import GenerationRequest
from pinxit.studio import Studio

PAGE = Path(__file__).parent / "approximate.md"
NUMBERS = Path(pinxit.engine.__file__).parent / MEASURED
BEGIN, END = "<!-- measured -->", "<!-- end -->"
RECIPES = tuple({"prompt": prompt, "seed": 100 + at, "steps": 20} for at, prompt in enumerate(PROMPTS[::4]))
PEAK = 255.0
CASES: tuple[Mapping[str, Any], ...] = (
    *({"cache": "deep", "cache_interval": n, "cache_branch": b} for b in (0, 1) for n in (2, 3, 5)),
    {"cache": "deep", "cache_interval": 3, "cache_branch": 0, "cache_center": 0.3},
    *({"cache": "block", "cache_interval": 4, "cache_branch": 1, "cache_threshold": t} for t in (0.05, 0.1, 0.2)),
    *({"token_merging": ratio} for ratio in (0.25, 0.5, 0.75)),
    {"cache": "deep", "cache_interval": 3, "cache_branch": 0, "token_merging": 0.5},
    {"guidance_interval": "1,6"},
    {"steps": 10},
)
"""What is measured; the last two for comparison: guidance left out in the last steps, and half the steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One picture [H,W,3], the processor seconds of its denoising, and the share of calls that computed the middle."""

    picture: NDArray[np.float64]
    seconds: float
    whole: float


class Painter:
    """The built-in model, with its calls counted."""

    def __init__(self) -> None:
        self.studio = Studio()
        self.calls = {"unet": 0, "middle": 0}
        self._counted = False

    def resolved(self, fields: Mapping[str, Any]) -> Resolved:
        return resolve(GenerationRequest.model_validate(dict(fields)), self.studio.catalog, self.studio.library)

    def paint(self, fields: Mapping[str, Any]) -> Run:
        resolved, residency = self.resolved(fields), self.studio.residency
        self._count(residency.network(resolved, "unet"))
        encoded = stages.encode(resolved, residency)
        start = stages.prepare(resolved, residency, seed=resolved.request.seed or 0)
        self.calls.update(unet=0, middle=0)
        began, clean = time.process_time(), start.x
        for step in stages.denoise(resolved, residency, encoded, start):
            clean = step.x
        seconds = time.process_time() - began
        picture = np.asarray(stages.decode(resolved, residency, clean), dtype=np.float64)
        return Run(picture=picture, seconds=seconds, whole=self.calls["middle"] / self.calls["unet"])

    def _count(self, unet: Any) -> None:
        if not self._counted:
            self._counted = True
            for name, module in (("unet", unet), ("middle", unet.middle_block[0])):
                module.register_forward_hook(lambda *_, name=name: self.calls.update({name: self.calls[name] + 1}))


def main() -> int:
    """Paint every recipe exactly and with every shortcut, and write what came out."""
    torch.set_num_threads(1)
    painter = Painter()
    exact = [painter.paint(recipe) for recipe in RECIPES]
    rows = [measure(painter, exact, case) for case in CASES]
    given = json.dumps({"recipes": RECIPES, "rows": rows}, ensure_ascii=False, indent=1)
    NUMBERS.write_text(given + "\n", encoding="utf-8")
    write_page(rows)
    return 0


def measure(painter: Painter, exact: list[Run], case: Mapping[str, Any]) -> dict[str, Any]:
    """One row: how far pictures moved from the exact ones, what was reused, and the time."""
    runs = [painter.paint({**recipe, **case}) for recipe in RECIPES]
    resolved = painter.resolved({**RECIPES[0], **case})
    steps = len(resolved.sigmas) - 1
    request = resolved.request
    kind = request.cache or ("merge" if request.token_merging else "other")
    row = {
        "kind": kind,
        "flags": " ".join(f"--{name.replace('_', '-')} {value}" for name, value in case.items()),
        "settings": {
            name: float(value)
            for name in (*OF_A_CACHE, "token_merging", "token_merging_levels")
            if (value := getattr(request, name)) is not None
        },
        "reused": round(reused(resolved, steps, runs), 3),
        "psnr": round(statistics.mean(psnr(one.picture, two.picture) for one, two in zip(runs, exact, strict=True)), 2),
        "ssim": round(statistics.mean(ssim(one.picture, two.picture) for one, two in zip(runs, exact, strict=True)), 3),
        "time": round(min(run.seconds for run in runs) / min(run.seconds for run in exact), 3),
    }
    sys.stdout.write(f"{row}\n")
    return row


def reused(resolved: Resolved, steps: int, runs: list[Run]) -> float:
    """The share of the steps that could reuse which did."""
    request = resolved.request
    afresh = math.ceil(steps / (request.cache_interval or 1)) / steps
    share = (1 - statistics.mean(run.whole for run in runs)) / (1 - afresh) if afresh < 1 else 0.0
    return min(1.0, share)


def psnr(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    """Peak signal-to-noise ratio in dB; 99 for equal pictures."""
    error = float(np.mean((one - two) ** 2))
    return 10 * math.log10(PEAK**2 / error) if error else 99.0


def ssim(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    """Structural similarity of the luminance, with a Gaussian window of 11 pixels and deviation 1.5 (Wang et al. 2004,
    eq. 13).
    """
    places = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-(places**2) / (2 * 1.5**2))
    window = (line[:, None] * line / line.sum() ** 2)[None, None]
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    a, b = (torch.from_numpy(picture) @ luma for picture in (one, two))

    def blurred(values: torch.Tensor) -> torch.Tensor:
        return F.conv2d(values[None, None], window)

    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b, both = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2, blurred(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    found = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(found.mean())


def write_page(rows: list[dict[str, Any]]) -> None:
    """Put the table into the page, between its marks."""
    lines = ["| settings | time | reused | PSNR | SSIM |", "|---|---|---|---|---|"]
    for row in rows:
        share = f"{row['reused']:.0%}" if row["reused"] else "-"
        lines.append(f"| `{row['flags']}` | {row['time']:.0%} | {share} | {row['psnr']:.1f} dB | {row['ssim']:.3f} |")
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
