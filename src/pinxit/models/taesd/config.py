"""A tiny autoencoder's configuration, off its shapes. Its latents are scaled already, as the U-Net sees them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from pinxit.models.contract import LatentSpec
from pinxit.models.kinds import About
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import Match, PartMatch


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTiny:
    """A tiny autoencoder that people have: the families whose latents it knows, and what its files are called."""

    variant: str
    bases: tuple[str, ...]
    channels: int
    names: str


KNOWN = (
    KnownTiny(variant="taesd", bases=("sd1", "sd2"), channels=4, names=r"taesd(_|-|\W|$)|tae-?sd[12]?(\W|_|$)"),
    KnownTiny(variant="taesdxl", bases=("sdxl", "refiner"), channels=4, names=r"xl"),
    KnownTiny(variant="taesd3", bases=("sd3",), channels=16, names=r"sd-?3"),
    KnownTiny(variant="taef1", bases=(), channels=16, names=r"taef1|flux"),
)
"""The first with the same number of latent channels is the one that is assumed where no name tells them apart."""


FAMILY = "pinxit.family"
"""Metadata of a tiny autoencoder that we trained: the family that it goes with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyConfig:
    """One tiny autoencoder. `encoder` and `decoder` count the blocks of each level; empty where that half lacks."""

    about: About
    latent: LatentSpec
    channels: int
    encoder: tuple[int, ...]
    decoder: tuple[int, ...]
    assumed: bool


def config_from(match: Match) -> TinyConfig:
    """The configuration of a tiny autoencoder. Raises BadModelFile where its sizes contradict each other."""
    part = match.part("taesd")
    encoder, decoder = (cast(tuple[int, ...], part.sizes[f"{half}_blocks"]) for half in ("enc", "dec"))
    if encoder and decoder and len(encoder) != len(decoder):
        raise BadModelFile(
            f"The tiny autoencoder halves {len(encoder) - 1} times and doubles {len(decoder) - 1} times."
        )
    seen = {_latent_channels(part, half) for half in ("encodes", "decodes") if part.sizes[half]}
    if len(seen) != 1:
        raise BadModelFile(f"The halves of the tiny autoencoder have latents of {sorted(seen)} channels.")
    z = seen.pop()
    alike = [known for known in KNOWN if known.channels == z]
    named = [known for known in alike if re.search(known.names, match.header.path.name, re.IGNORECASE)]
    known = (named if len(named) == 1 else alike or [None])[0]
    told = match.header.metadata.get(FAMILY)
    bases = (told,) if told else known.bases if known else ()
    halves = " and ".join(name for name, blocks in (("encoder", encoder), ("decoder", decoder)) if blocks)
    said = f"it was made for {told}" if told else _said(known, named=len(named) == 1)
    variant = known.variant if known and not told else ""
    return TinyConfig(
        about=About(bases=bases, variant=variant, evidence=(f"{halves} of latents of {z} channels", said)),
        latent=LatentSpec(channels=z, downscale=2 ** (len(decoder or encoder) - 1)),
        channels=part.dim("decoder.1.weight" if decoder else "encoder.0.weight", 0),
        encoder=encoder,
        decoder=decoder,
        assumed=not told and len(named) != 1,
    )


def _said(known: KnownTiny | None, *, named: bool) -> str:
    if known is None:
        return "whose latents: unknown"
    return f"the file's name names {known.variant}" if named else f"whose latents: unknown, assuming {known.variant}"


def _latent_channels(part: PartMatch, half: str) -> int:
    if half == "decodes":
        return part.dim("decoder.1.weight", 1)
    return part.dim(f"encoder.{cast(tuple[int, ...], part.sizes['enc_conv'])[-1]}.weight", 0)
