"""Contact sheets: many drawings or pictures on one page, for looking at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pinxit.schema.errors import BadInput
from pinxit.train.data.bank import Bank


def contact_sheet(
    bank: Bank,
    source: str | None = None,
    *,
    count: int = 80,
    columns: int = 10,
    cell: int = 96,
    background: tuple[int, int, int] = (236, 236, 236),
    font: Path | None = None,
) -> Image.Image:
    """Drawings of one source (None: of all), evenly spread over the set, each over its first name.

    `font` is a TrueType file for the names; with one that has Chinese, the Chinese name is shown too.

    Raises BadInput when the bank holds nothing of that source.
    """
    rows = [index for index, drawing in enumerate(bank.drawings) if source is None or drawing.source == source]
    if not rows:
        known = ", ".join(sorted({drawing.source for drawing in bank.drawings}))
        raise BadInput(f"The bank holds no drawings of {source!r}.", hint=f"It holds {known}.", field="source")
    chosen = [rows[position * len(rows) // min(count, len(rows))] for position in range(min(count, len(rows)))]
    pixels = bank.pixels(min(bank.sizes, key=lambda size: (size < cell, size)))
    pictures = [on_colour(pixels[row], background) for row in chosen]
    names = [bank.drawings[row].en[:1] + (bank.drawings[row].zh[:1] if font else ()) for row in chosen]
    return grid(pictures, [" ".join(name) for name in names], columns=columns, cell=cell, font=font)


def on_colour(pixels: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A premultiplied drawing [S, S, 4] over a plain colour, as uint8 [S, S, 3]."""
    alpha = pixels[..., 3:].astype(np.float32) / 255
    shown = pixels[..., :3] + np.array(colour, np.float32) * (1 - alpha)
    return shown.round().clip(0, 255).astype(np.uint8)


def grid(
    pictures: list[NDArray[np.uint8]], captions: list[str], *, columns: int, cell: int, font: Path | None = None
) -> Image.Image:
    """Pictures uint8 [H, W, 3] in rows of `columns`, each in a square of `cell` pixels over its caption."""
    line = 11
    lines = max((len(_wrapped(text, cell)) for text in captions), default=1)
    high = cell + lines * line + 3
    sheet = Image.new("RGB", (columns * cell, -(-len(pictures) // columns) * high), "white")
    draw = ImageDraw.Draw(sheet)
    letters = ImageFont.load_default(10) if font is None else ImageFont.truetype(font, 10)
    for index, (picture, text) in enumerate(zip(pictures, captions, strict=True)):
        left, top = index % columns * cell, index // columns * high
        shown = Image.fromarray(picture).resize((cell - 2, cell - 2), Image.Resampling.BICUBIC)
        sheet.paste(shown, (left + 1, top + 1))
        for number, part in enumerate(_wrapped(text, cell)):
            draw.text((left + 2, top + cell + number * line), part, fill="black", font=letters)
    return sheet


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of about `width` pixels; a Chinese character is twice as wide as a letter."""
    lines, line, used = [], "", 0.0
    for char in text:
        step = 6.0 if ord(char) < 0x2E80 else 11.0
        if used + step > width - 4:
            lines.append(line)
            line, used = "", 0.0
        line, used = line + char, used + step
    return [*lines, line]
