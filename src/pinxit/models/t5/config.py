"""The configuration of a T5 encoder by itself."""

from __future__ import annotations

from dataclasses import dataclass

from pinxit.models.common.configs import T5Config
from pinxit.models.common.measured import t5_config
from pinxit.models.kinds import About
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import Match

XXL = 4096
"""Width of the encoder that Stable Diffusion 3 reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class T5File:
    """One T5 encoder."""

    about: About
    network: T5Config


def config_from(match: Match) -> T5File:
    """The configuration of a T5 encoder by itself. Raises BadModelFile where its sizes contradict each other."""
    network = t5_config(match, component="t5")
    if network is None:
        raise BadModelFile(f"{match.header.path.name} holds no T5 encoder.")
    large = network.width == XXL
    about = About(
        bases=("sd3",) if large else (),
        variant="XXL" if large else "",
        evidence=(f"{network.layers} layers {network.width} wide",),
    )
    return T5File(about=about, network=network)
