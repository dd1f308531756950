"""Names of a denoiser's blocks as people who merge models write them, and a weight for each.

IN00 to IN11, M00 and OUT00 to OUT11 are `input_blocks`, `middle_block` and `output_blocks` of the U-Net; SD3's blocks
are JOINT00 and on. What belongs to no block (time embedding, output layer) has the plain ratio.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping

from pinxit.schema.errors import BadInput, UnknownName

_PLACES = ((re.compile(r"^input_blocks\.(\d+)\."), "IN"), (re.compile(r"^output_blocks\.(\d+)\."), "OUT"))
_JOINT = re.compile(r"^joint_blocks\.(\d+)\.")
_WORD = re.compile(r"^(in|m|mid|middle|out|joint)(\d{0,2})$")
_ORDER = {"IN": 0, "M": 1, "OUT": 2, "JOINT": 3}

PRESETS: Mapping[str, Callable[[float], float]] = {
    "grad-v": lambda x: abs(2 * x - 1),
    "grad-a": lambda x: 1 - abs(2 * x - 1),
    "flat-25": lambda x: 0.25,  # noqa: ARG005  every preset is a function of the place
    "flat-50": lambda x: 0.5,  # noqa: ARG005
    "flat-75": lambda x: 0.75,  # noqa: ARG005
    "smoothstep": lambda x: x * x * (3 - 2 * x),
    "reverse-smoothstep": lambda x: 1 - x * x * (3 - 2 * x),
    "cosine": lambda x: (1 + math.cos(math.pi * x)) / 2,
    "reverse-cosine": lambda x: (1 - math.cos(math.pi * x)) / 2,
}
"""How much of B, by the place of the block from 0 (the first) to 1 (the last)."""


def block_of(name: str) -> str | None:
    """The block that our tensor `name` of a denoiser belongs to."""
    for pattern, word in _PLACES:
        if found := pattern.match(name):
            return f"{word}{int(found[1]):02d}"
    if name.startswith("middle_block."):
        return "M00"
    found = _JOINT.match(name)
    return f"JOINT{int(found[1]):02d}" if found else None


def blocks_of(names: Iterable[str]) -> tuple[str, ...]:
    """Every block among the tensors `names`, from the first to the last."""
    found = {block for name in names if (block := block_of(name)) is not None}
    return tuple(sorted(found, key=lambda block: (_ORDER[block.rstrip("0123456789")], block)))


def read_blocks(text: str | None, blocks: tuple[str, ...]) -> dict[str, float]:
    """The weights that `text` gives to `blocks`: a preset, a list of numbers in their order, or `in00=0.2,mid=0.5`.

    Later parts win over earlier ones. Raises BadInput for what is none of these, and UnknownName for other blocks.
    """
    if not text:
        return {}
    parts = [part.strip().lower() for part in text.split(",") if part.strip()]
    if len(parts) > 1 and all(_is_number(part) for part in parts):
        return _listed([_weight(part) for part in parts], blocks)
    weights: dict[str, float] = {}
    for part in parts:
        word, equals, value = part.partition("=")
        if not equals:
            weights |= _preset(word, blocks)
        else:
            weights[_block(word.strip(), blocks)] = _weight(value)
    return weights


def _listed(numbers: list[float], blocks: tuple[str, ...]) -> dict[str, float]:
    """Numbers in the blocks' order; one more than there are blocks begins with the ratio, which stands elsewhere."""
    if len(numbers) == len(blocks) + 1:
        numbers = numbers[1:]
    if len(numbers) != len(blocks):
        raise BadInput(
            f"--blocks lists {len(numbers)} numbers; this model has {len(blocks)} blocks.",
            hint=f"They are {', '.join(blocks)}.",
        )
    return dict(zip(blocks, numbers, strict=True))


def _preset(word: str, blocks: tuple[str, ...]) -> dict[str, float]:
    name = word.replace("_", "-")
    if name not in PRESETS:
        raise UnknownName("preset of block weights", word[:40], PRESETS)
    last = max(len(blocks) - 1, 1)
    return {block: PRESETS[name](at / last) for at, block in enumerate(blocks)}


def _block(word: str, blocks: tuple[str, ...]) -> str:
    found = _WORD.match(word)
    kind = {"mid": "M", "middle": "M"}.get(found[1], found[1].upper()) if found else ""
    name = f"{kind}{int(found[2] or 0):02d}" if found else word
    if name not in blocks:
        raise UnknownName("block", word[:40], blocks)
    return name


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _weight(text: str) -> float:
    value = float(text) if _is_number(text) else math.nan
    if not -10 <= value <= 10:
        raise BadInput(f"{text[:40]!r} is no weight of a block.", hint="Write a number, usually from 0 to 1.")
    return value
