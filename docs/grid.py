"""Paint the sample grid of the README: `python -m docs.grid` writes `docs/images/grid.png` from the prompts below."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from pinxit.schema.events import ImageReady
from pinxit.schema.request import GenerationRequest
from pinxit.studio import Studio

TARGET = Path(__file__).parent / "images" / "grid.png"
COLUMNS = 8
SEED = 7
PROMPTS = (
    "a red apple on a blue background, 3d style",
    "a cat, 3d style, white background",
    "a rocket, 3d style, navy blue background",
    "a house, 3d style, on a green background",
    "a sunflower, 3d style, white background",
    "a penguin, 3d style, cyan background",
    "a strawberry, 3d style, pink background",
    "a smiling face, 3d style, purple background",
    "一只猫，3D风格，黄色背景",
    "红苹果，3D风格，白色背景",
    "一只熊猫，3D风格，绿色背景",
    "蓝心，3D风格，白色背景",
    "太阳，3D风格，蓝色背景",
    "向日葵，3D风格，白色背景",
    "月亮，3D风格，黑色背景",
    "草莓，3D风格，白色背景",
    "a dog, 3d style, beige background",
    "a frog, 3d style, white background",
    "a banana, 3d style, gray background",
    "a chick, 3d style, white background",
    "a fire, 3d style, white background",
    "a pineapple, 3d style, teal background",
    "a crown, 3d style, purple background",
    "a ghost, 3d style, navy blue background",
    "a carrot, 3d style, white background",
    "a cactus, 3d style, yellow background",
    "a pig, 3d style, white background",
    "a panda, 3d style, red background",
    "a cloud, 3d style, blue background",
    "a donut, 3d style, cyan background",
    "a balloon, 3d style, white background",
    "a star, 3d style, black background",
)


def main() -> int:
    """Paint every prompt with the built-in model's defaults and put the pictures side by side."""
    studio = Studio()
    pictures: list[Image.Image] = []
    for prompt in PROMPTS:
        request = GenerationRequest(prompt=prompt, seed=SEED)
        events = studio.paint(request)
        pictures += [event.image for event in events if isinstance(event, ImageReady) and event.image is not None]
        sys.stdout.write(f"{prompt}\n")
    side = pictures[0].width // 2
    rows = -(-len(pictures) // COLUMNS)
    grid = Image.new("RGB", (COLUMNS * side, rows * side), "white")
    for place, picture in enumerate(pictures):
        small = picture.resize((side, side), Image.Resampling.LANCZOS)
        grid.paste(small, (place % COLUMNS * side, place // COLUMNS * side))
    TARGET.parent.mkdir(exist_ok=True)
    grid.save(TARGET, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
