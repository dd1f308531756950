"""T5 text encoders (Raffel et al. 2020) by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.models.kinds import Kind
from pinxit.models.t5.config import T5File, config_from
from pinxit.models.t5.layout import LAYOUTS

if TYPE_CHECKING:
    from torch import nn


def _build(config: T5File) -> nn.Module:
    from pinxit.models.common.t5 import T5Encoder

    return T5Encoder(config.network)


KIND = Kind(
    name="t5",
    title="T5 text encoder",
    hint="It is one part of a model: give the folder or file that holds all of them.",
    layouts=LAYOUTS,
    config_from=config_from,
    build=_build,
)
