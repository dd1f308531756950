"""The picture of four steps beside that of sixteen: `python -m docs.few_steps` paints both and says how they differ.

Rows: sixteen guided steps; four guided steps; four plain ones; four with the few-step adapter. Columns: prompts, each
with its own seed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pinxit.schema.events import ImageReady
from pinxit.schema.request import GenerationRequest
from pinxit.studio import Studio

PLACE = Path(__file__).parent / "images" / "few-step.png"
SIDE = 128
FIRST_SEED = 20
PROMPTS = (
    "a red apple on a blue background, 3d style",
    "a cat, 3d style, white background",
    "一只猫，3D风格，黄色背景",
    "a house, 3d style, on a green background",
    "a rocket, 3d style, navy blue background",
    "a sunflower, 3d style, white background",
    "a panda, 3d style, red background",
    "a car",
    "月亮，3D风格，黑色背景",
    "a pizza, 3d style, gray background",
    "a smiling face, 3d style, purple background",
    "a ghost, 3d style, orange background",
)
PLAIN = {"steps": 4, "guidance": 1.0, "sampler": "euler", "schedule": "sgm_uniform"}
WAYS: dict[str, dict[str, Any]] = {
    "16 guided steps": {},
    "4 guided steps": {"steps": 4},
    "4 plain steps": PLAIN,
    "4 steps, few-step": {"adapters": ({"name": "few-step"},)},
}


def picture(studio: Studio, column: int, fields: dict[str, Any]) -> Image.Image:
    request = GenerationRequest(prompt=PROMPTS[column], seed=FIRST_SEED + column, **fields)
    ready = next(event for event in studio.paint(request) if isinstance(event, ImageReady))
    if ready.image is None:
        raise ValueError("the picture is not here")
    return ready.image


def psnr(one: Image.Image, other: Image.Image) -> float:
    """How near two pictures lie, in decibels."""
    difference = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    return float(10 * np.log10(255**2 / np.square(difference).mean()))


def main() -> None:
    studio = Studio()
    sheet = Image.new("RGB", (len(PROMPTS) * SIDE, len(WAYS) * SIDE))
    full: list[Image.Image] = []
    for row, (name, fields) in enumerate(WAYS.items()):
        painted = [picture(studio, column, fields) for column in range(len(PROMPTS))]
        full = full or painted
        for column, image in enumerate(painted):
            sheet.paste(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (column * SIDE, row * SIDE))
        if row:
            near = sum(map(psnr, full, painted)) / len(painted)
            sys.stdout.write(f"{name}: {near:.1f} dB from the picture of 16 steps\n")
    sheet.save(PLACE, optimize=True)


if __name__ == "__main__":
    main()
