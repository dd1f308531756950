"""An autoencoder by itself: its sizes are in its tensors; which latents it makes is not, and is asked elsewhere."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from typing import cast

from pinxit.models.common.configs import VaeConfig
from pinxit.models.common.measured import vae_config
from pinxit.models.contract import LatentSpec
from pinxit.models.kinds import LATENT, About, settings_beside
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import Match
from pinxit.weights.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownVae:
    """An autoencoder that people have: its latents, the families that paint in them, and what its files are called.

    `names` is a regular expression that is looked for in the file's name and in what its metadata calls the model.
    """

    variant: str
    bases: tuple[str, ...]
    channels: int
    levels: int
    scale: float
    shift: float = 0.0
    names: str = r"(?!)"


KNOWN = (
    KnownVae(
        variant="kl-f8",
        bases=("sd1", "sd2"),
        channels=4,
        levels=4,
        scale=0.18215,
        names=r"ft-(mse|ema)|[58][46]0000|kl-f8|sd-?v?[12](\W|_|\d|$)|stable-diffusion-v[12]",
    ),
    KnownVae(
        variant="kl-f8-sdxl",
        bases=("sdxl", "refiner"),
        channels=4,
        levels=4,
        scale=0.13025,
        names=r"sd[-_]?xl|xl[-_.]?(v?ae|base|fp16|\d)|stable-diffusion-xl",
    ),
    KnownVae(
        variant="kl-f8-sd3",
        bases=("sd3",),
        channels=16,
        levels=4,
        scale=1.5305,
        shift=0.0609,
        names=r"sd[-_]?3|stable-diffusion-(v?3|3\.5)",
    ),
    KnownVae(
        variant="kl-f8-flux",
        bases=(),
        channels=16,
        levels=4,
        scale=0.3611,
        shift=0.1159,
        names=r"flux|^ae\.safetensors",
    ),
    KnownVae(variant="kl-f4", bases=("upscale4",), channels=4, levels=3, scale=0.08333, names=r"x4|kl-f4|upscal"),
)
"""The first of a form is the one that is assumed where nothing tells them apart."""

USUAL = 0.18215
"""The scale that diffusers takes where the JSON of a VAE names none."""
METADATA = ("modelspec.architecture", "modelspec.title", "ss_base_model_version")


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeFile:
    """One autoencoder. `assumed` is True where nothing said which latents it makes."""

    about: About
    network: VaeConfig
    latent: LatentSpec
    assumed: bool


def config_from(match: Match) -> VaeFile:
    """The configuration of a VAE by itself. Raises BadModelFile where its sizes contradict each other."""
    network = vae_config(match)
    if network is None:
        raise BadModelFile(f"{match.header.path.name} holds no vae.")
    downscale = 2 ** (len(network.channel_mult) - 1)
    latents = _latents(match, network)
    known = latents.known
    return VaeFile(
        about=About(
            bases=known.bases if known else (),
            variant=known.variant if known else f"kl-f{downscale}",
            evidence=(f"latents of {network.z_channels} channels, {downscale} pixels to a side", latents.evidence),
        ),
        network=network,
        latent=LatentSpec(channels=network.z_channels, downscale=downscale, scale=latents.scale, shift=latents.shift),
        assumed=latents.assumed,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Latents:
    """Scale and shift, the known autoencoder whose they are, and how that is known."""

    known: KnownVae | None
    scale: float
    shift: float = 0.0
    evidence: str
    assumed: bool = False


def _latents(match: Match, network: VaeConfig) -> Latents:
    """The latents of a file, by the first of these that tells.

    The JSON beside it, its metadata, its name; last the first known one of its form.
    """
    form = (network.z_channels, len(network.channel_mult))
    alike = [known for known in KNOWN if (known.channels, known.levels) == form]
    for settings in (settings_beside(match), _told(match)):
        if found := _from_settings(settings, alike):
            return found
    words = [(match.header.metadata[key], f"the file's {key}") for key in METADATA if key in match.header.metadata]
    for text, source in (*words, (match.header.path.name, "the file's name")):
        named = [known for known in alike if re.search(known.names, text, re.IGNORECASE)]
        if len(named) == 1:
            return _of(named[0], f"{source} names {named[0].variant}")
    if len(alike) == 1:
        return _of(alike[0], f"the only known one of its form is {alike[0].variant}")
    if not alike:
        return Latents(known=None, scale=1.0, evidence="scale unknown, assuming 1", assumed=True)
    return replace(_of(alike[0], f"scale unknown, assuming {alike[0].scale:g}"), assumed=True)


def _of(known: KnownVae, evidence: str) -> Latents:
    return Latents(known=known, scale=known.scale, shift=known.shift, evidence=evidence)


def _from_settings(settings: Settings, alike: list[KnownVae]) -> Latents | None:
    """What a JSON file says; None where it is no VAE's. One of a VAE that names no scale means the usual one."""
    scale, shift = settings.number("scaling_factor"), settings.number("shift_factor") or 0.0
    said = f"{settings.source} says a scale of {scale:g}" if scale is not None else ""
    if scale is None and settings.values.get("_class_name") == "AutoencoderKL":
        scale = USUAL
        said = f"{settings.source} names no scale, which means {USUAL}"
    if scale is None:
        return None
    known = next((known for known in alike if math.isclose(known.scale, scale, rel_tol=1e-3)), None)
    return Latents(known=known, scale=scale, shift=shift, evidence=said)


def _told(match: Match) -> Settings:
    """What the file's own metadata says of its latents; nothing where they do not, or say it wrongly."""
    text = match.header.metadata.get(LATENT, "")
    try:
        values: object = json.loads(text) if len(text) < 1000 else {}
    except (ValueError, RecursionError):
        values = {}
    return Settings(source="its metadata", values=cast("dict[str, object]", values) if isinstance(values, dict) else {})
