"""The configuration of a CLIP image encoder by itself."""

from __future__ import annotations

from dataclasses import dataclass

from pinxit.models.common.vision import ClipVisionConfig, vision_config
from pinxit.models.kinds import About, settings_beside
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import Match

TOWERS = {768: "B", 1024: "L", 1280: "H", 1408: "g", 1664: "bigG"}
"""Names by the width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionFile:
    """One image encoder."""

    about: About
    network: ClipVisionConfig


def config_from(match: Match) -> VisionFile:
    """The configuration of an image encoder by itself. Raises BadModelFile where its sizes contradict each other."""
    network = vision_config(match, component="clip-vision", settings=settings_beside(match))
    if network is None:
        raise BadModelFile(f"{match.header.path.name} holds no image encoder.")
    made = "none" if network.projection is None else str(network.projection)
    return VisionFile(
        about=About(
            variant=TOWERS.get(network.width, ""),
            evidence=(f"{network.layers} layers {network.width} wide; width of its embedding: {made}",),
        ),
        network=network,
    )
