"""An upscaler's configuration, off its shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from pinxit.models.kinds import About
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import Match

SQUARES = {1: 1, 3: 1, 4: 2, 12: 2, 16: 4, 48: 4}
"""Side of the squares that become channels, by the channels that are read: a picture has 1 or 3 of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscalerConfig:
    """One upscaler. The picture's squares of `unshuffle` pixels become channels, then `doubles` times the size doubles.

    `features` are the channels all through, `growth` those that each dense convolution adds.
    """

    about: About
    in_channels: int
    out_channels: int
    features: int
    growth: int
    blocks: int
    doubles: int
    unshuffle: int

    @property
    def scale(self) -> int:
        """How many times as large pictures become, along each side."""
        return 2**self.doubles // self.unshuffle


def config_from(match: Match) -> UpscalerConfig:
    """The configuration of an ESRGAN upscaler. Raises BadModelFile where its sizes contradict each other."""
    part = match.part("esrgan")
    blocks, doubles = cast(int, part.sizes["blocks"]), cast(int, part.sizes["doubles"])
    read, out = part.dim("conv_first.weight", 1), part.dim("conv_last.weight", 0)
    if read not in SQUARES:
        raise BadModelFile(f"The upscaler reads {read} channels; known: {', '.join(map(str, SQUARES))}.")
    unshuffle = SQUARES[read]
    if doubles > 4 or 2**doubles < unshuffle:
        raise BadModelFile(f"The upscaler doubles {doubles} times after taking squares of {unshuffle} pixels.")
    scale = 2**doubles // unshuffle
    return UpscalerConfig(
        about=About(variant=f"x{scale}", evidence=(f"{blocks} blocks; pictures become {scale} times as large",)),
        in_channels=read // unshuffle**2,
        out_channels=out,
        features=part.dim("conv_first.weight", 0),
        growth=part.dim("RRDB_trunk.0.RDB1.conv1.weight", 0),
        blocks=blocks,
        doubles=doubles,
        unshuffle=unshuffle,
    )
