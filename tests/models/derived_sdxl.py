"""SDXL's pruned relatives as single files, derived from their stated depths.

Each is SDXL's with the layers taken out that the pruned model lacks. Skips between the levels keep their widths, so
every tensor that is left has the shape that it has in SDXL, but for the blocks whose neighbours changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

from tests.weights.files import manifest

Shapes = dict[str, tuple[int, ...]]
UNET = "model.diffusion_model."
CHANNELS, MULT = 320, (1, 2, 4)


def _wide(level: int) -> int:
    return CHANNELS * MULT[level]


def pruned(down: list[list[int]], up: list[list[int]], *, middle: int, middle_blocks: int) -> Shapes:
    """SDXL with these transformer depths per block; `up` begins with the smallest size.

    Blocks are built from SDXL's own of the same level, with the numbers of channels that their skips bring.
    """
    whole = manifest("sdxl-base")
    shapes = {
        name: shape
        for name, shape in whole.items()
        if not re.match(rf"{re.escape(UNET)}(in|out)put_blocks|{re.escape(UNET)}middle", name)
    }
    shapes |= _block(whole, "input_blocks.0", "input_blocks.0", 0)
    skips, at, width = [CHANNELS], 1, CHANNELS
    for level, depths in enumerate(down):
        for depth in depths:
            source = f"input_blocks.{3 * level + 2}"
            shapes |= _res(whole, f"{source}.0", f"input_blocks.{at}.0", width, _wide(level))
            shapes |= _transformer(whole, f"{source}.1", f"input_blocks.{at}.1", depth)
            width, at = _wide(level), at + 1
            skips.append(width)
        if level + 1 < len(down):
            shapes |= _block(whole, f"input_blocks.{3 * level + 3}", f"input_blocks.{at}", 0)
            skips.append(width)
            at += 1
    for block in range(middle_blocks):
        shapes |= _res(whole, f"middle_block.{2 * block}", f"middle_block.{2 * block}", width, width)
    shapes |= _transformer(whole, "middle_block.1", "middle_block.1", middle)
    at = 0
    for number, depths in enumerate(up):
        level = len(up) - 1 - number
        for place, depth in enumerate(depths):
            source = f"output_blocks.{3 * number}"
            shapes |= _res(whole, f"{source}.0", f"output_blocks.{at}.0", width + skips.pop(), _wide(level))
            shapes |= _transformer(whole, f"{source}.1", f"output_blocks.{at}.1", depth)
            width = _wide(level)
            if level and place == len(depths) - 1:
                shapes |= _block(whole, f"output_blocks.{3 * number + 2}.2", f"output_blocks.{at}.{1 + bool(depth)}", 0)
            at += 1
    return shapes


def _block(whole: Mapping[str, tuple[int, ...]], source: str, target: str, depth: int) -> Shapes:
    del depth
    start = f"{UNET}{source}."
    return {
        f"{UNET}{target}.{name.removeprefix(start)}": shape for name, shape in whole.items() if name.startswith(start)
    }


def _res(whole: Mapping[str, tuple[int, ...]], source: str, target: str, width: int, out: int) -> Shapes:
    """A residual block from `width` to `out` channels; its source has the same `out`."""
    shapes = {name: shape for name, shape in _block(whole, source, target, 0).items() if "skip_connection" not in name}
    for layer, shape in (
        ("in_layers.0.weight", (width,)),
        ("in_layers.0.bias", (width,)),
        ("in_layers.2.weight", (out, width, 3, 3)),
    ):
        shapes[f"{UNET}{target}.{layer}"] = shape
    if width != out:
        shapes[f"{UNET}{target}.skip_connection.weight"] = (out, width, 1, 1)
        shapes[f"{UNET}{target}.skip_connection.bias"] = (out,)
    return shapes


def _transformer(whole: Mapping[str, tuple[int, ...]], source: str, target: str, depth: int) -> Shapes:
    """The first `depth` layers of a transformer of SDXL; nothing for 0."""
    if not depth:
        return {}
    return {
        name: shape
        for name, shape in _block(whole, source, target, 0).items()
        if (layer := re.search(r"transformer_blocks\.(\d+)\.", name)) is None or int(layer[1]) < depth
    }


SINGLE: Mapping[str, Callable[[], Shapes]] = {
    "ssd-1b": partial(pruned, [[0, 0], [2, 2], [4, 4]], [[4, 4, 10], [2, 1, 1], [0, 0, 0]], middle=0, middle_blocks=1),
    "segmind-vega": partial(
        pruned, [[0, 0], [1, 1], [2, 2]], [[2, 2, 2], [1, 1, 1], [0, 0, 0]], middle=0, middle_blocks=1
    ),
    "koala-700m": partial(pruned, [[0], [2], [5]], [[5, 5], [2, 2], [0, 0]], middle=0, middle_blocks=0),
    "koala-1b": partial(pruned, [[0], [2], [6]], [[6, 6], [2, 2], [0, 0]], middle=6, middle_blocks=2),
}
"""Names and shapes of a single file by the manifest's name."""
