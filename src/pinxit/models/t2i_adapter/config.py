"""A T2I-Adapter's configuration, off its shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from pinxit.models.kinds import About, settings_beside
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import Match

UNSHUFFLES = {64: (1, 8), 192: (3, 8), 256: (1, 16), 768: (3, 16)}
"""Channels of the picture and the side of its squares, by the channels that the adapter reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """One T2I-Adapter. Tuples have one entry per level, the largest size first.

    The picture's squares of `unshuffle` pixels to a side become channels. `halves` are the levels that begin with half
    the size of the one before, `kernel` is the side of each block's second convolution. `inner` are the channels of the
    blocks of a light adapter; None for a full one.
    """

    about: About
    in_channels: int
    unshuffle: int
    channels: tuple[int, ...]
    blocks: int
    halves: tuple[bool, ...]
    kernel: int = 1
    inner: tuple[int, ...] | None = None


def config_from(match: Match) -> AdapterConfig:
    """The configuration of a T2I-Adapter. Raises BadModelFile where its sizes contradict each other."""
    part = match.part("t2i-adapter")
    levels, each = cast(int, part.sizes["levels"]), cast(int, part.sizes["each"])
    light = "widens" not in part.sizes
    if light:
        read = part.dim("body.0.in_conv.weight", 1)
        channels = tuple(part.dim(f"body.{level}.out_conv.weight", 0) for level in range(levels))
        inner = tuple(part.dim(f"body.{level}.in_conv.weight", 0) for level in range(levels))
    else:
        read = part.dim("conv_in.weight", 1)
        channels = tuple(part.dim(f"body.{each * level}.block1.weight", 0) for level in range(levels))
        inner = None
    picture, unshuffle = _squares(match, read)
    large = unshuffle == 16
    kind = "light" if light else "full"
    evidence = f"squares of {unshuffle} pixels of a picture of {picture} channels"
    return AdapterConfig(
        about=About(bases=("sdxl",) if large else ("sd1",), variant=kind, evidence=(evidence,)),
        in_channels=picture,
        unshuffle=unshuffle,
        channels=channels,
        blocks=each,
        halves=tuple(level == 2 if large else level > 0 for level in range(levels)),
        kernel=3 if light else part.dim("body.0.block2.weight", 2),
        inner=inner,
    )


def _squares(match: Match, read: int) -> tuple[int, int]:
    """Channels of the picture and the side of its squares: from the JSON beside it, else from the channels read."""
    settings = settings_beside(match)
    channels, side = settings.integer("in_channels"), settings.integer("downscale_factor", high=256)
    if channels is not None and side is not None and channels * side * side == read:
        return channels, side
    if read not in UNSHUFFLES:
        known = ", ".join(map(str, UNSHUFFLES))
        raise BadModelFile(f"The T2I-Adapter reads {read} channels; known: {known}.", hint="Download the file again.")
    return UNSHUFFLES[read]
