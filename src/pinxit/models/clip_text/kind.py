"""Text encoders of CLIP (Radford et al. 2021) by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pinxit.models.clip_text.config import TextFile, config_from
from pinxit.models.clip_text.layout import LAYOUTS
from pinxit.models.common.diffusers_json import clip_json
from pinxit.models.kinds import Kind

if TYPE_CHECKING:
    from torch import nn


def _build(config: TextFile) -> nn.Module:
    from pinxit.models.common.clip import ClipText

    return ClipText(config.network)


def _files(config: TextFile) -> Mapping[str, object]:
    """The folder's config.json."""
    return {"config.json": clip_json(config.network)}


KIND = Kind(
    name="clip-text",
    title="CLIP text encoder",
    hint="It is one part of a model: give the folder or file that holds all of them.",
    layouts=LAYOUTS,
    config_from=config_from,
    build=_build,
    files=_files,
)
