"""The configuration of a CLIP text encoder by itself."""

from __future__ import annotations

from dataclasses import dataclass

from pinxit.models.common.configs import ClipTextConfig
from pinxit.models.common.measured import clip_config
from pinxit.models.kinds import About
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import Match

TOWERS = {768: ("L", ("sd1", "sdxl", "sd3")), 1024: ("H", ("sd2",)), 1280: ("bigG", ("sdxl", "refiner", "sd3"))}
"""Names, and the families that read them, by the width."""
OPENAI_WIDTH = 768
"""OpenAI's encoder has the approximate GELU and pads with the end of the text, OpenCLIP's the exact one and zeros."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """One text encoder."""

    about: About
    network: ClipTextConfig


def config_from(match: Match) -> TextFile:
    """The configuration of a text encoder by itself. Raises BadModelFile where its sizes contradict each other."""
    part = match.part("clip-text")
    width = part.dim("text_model.embeddings.token_embedding.weight", 1)
    openai = width <= OPENAI_WIDTH
    network = clip_config(
        match,
        activation="quick_gelu" if openai else "gelu",
        pad_id=None if openai else 0,
        component="clip-text",
    )
    if network is None:
        raise BadModelFile(f"{match.header.path.name} holds no text encoder.")
    name, bases = TOWERS.get(width, ("", ()))
    return TextFile(
        about=About(bases=bases, variant=name, evidence=(f"{network.layers} layers {width} wide",)), network=network
    )
