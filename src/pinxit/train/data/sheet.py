"""Contact sheets: many drawings or pictures on one page, for looking at."""

from __future__ import annotations

import io
import json
import re
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pinxit.schema.errors import BadInput
from pinxit.train.data.bank import Bank
from pinxit.train.data.sources import SOURCES

_LONGEST = 44
"""Letters of a caption."""

_BEHIND_WHITE = (70, 78, 92)
"""The ground of drawings that are white, to be tinted."""


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
    grounds = [_BEHIND_WHITE if bank.drawings[row].monochrome else background for row in chosen]
    pictures = [on_colour(pixels[row], ground) for row, ground in zip(chosen, grounds, strict=True)]
    names = [bank.drawings[row].en[:1] + (bank.drawings[row].zh[:1] if font else ()) for row in chosen]
    texts = [textwrap.shorten(" ".join(name), _LONGEST, placeholder=" ...") for name in names]
    return grid(pictures, texts, columns=columns, cell=cell, font=font)


def write_sheets(bank: Bank, folder: Path, *, limit: int) -> list[Path]:
    """A sheet of at most `limit` bytes for each source, as `SOURCE.webp`, and `README.md` that shows them all."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = Counter(drawing.source for drawing in bank.drawings)
    listed: dict[str, int] = json.loads((bank.folder / "bank.json").read_text("utf-8")).get("listed", {})
    held_out = sum(drawing.split == "held_out" for drawing in bank.drawings)
    lines = [
        "# The drawings",
        "",
        f"{len(bank)} drawings of {len(counts)} sets, {held_out} of them held out. This page is written by "
        "`pinxit data sheet`.",
        "",
    ]
    authors = {source.name: source.author for source in SOURCES}
    written: list[Path] = []
    for source, count in counts.items():
        first = next(drawing for drawing in bank.drawings if drawing.source == source)
        path = folder / f"{source}.webp"
        path.write_bytes(_encoded(contact_sheet(bank, source, count=60, cell=76), limit))
        written.append(path)
        author = authors.get(source, first.author)
        lines += [
            f"## {source}",
            "",
            f"{count} of the {listed.get(source, count)} drawings that its package lists; {author}; {first.licence}.",
            "",
            f"![{source}]({path.name})",
            "",
        ]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")
    return written


def _encoded(sheet: Image.Image, limit: int) -> bytes:
    """The sheet as WebP, as good as `limit` bytes allow, and smaller where even the lowest quality is too much."""
    for quality in (85, 70, 55, 40, 30, 20):
        buffer = io.BytesIO()
        sheet.save(buffer, "WEBP", quality=quality, method=6)
        if buffer.tell() <= limit:
            return buffer.getvalue()
    return _encoded(sheet.reduce(2), limit)


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
    """Lines of about `width` pixels, broken between words or Chinese characters, which are twice as wide as letters."""
    lines, line = [], ""
    for part in re.findall(r"[\u2e80-\uffff]|[^\s\u2e80-\uffff]+|\s+", text):
        if line and _width(line + part.rstrip()) > width - 4:
            lines.append(line.rstrip())
            line = ""
        line = (line + part).lstrip()
    return [*lines, line]


def _width(text: str) -> float:
    return sum(5.4 if ord(char) < 0x2E80 else 11.0 for char in text)
