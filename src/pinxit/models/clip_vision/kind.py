"""Image encoders of CLIP (Radford et al. 2021) by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pinxit.models.clip_vision.config import VisionFile, config_from
from pinxit.models.clip_vision.layout import LAYOUTS
from pinxit.models.common.vision import preprocessor_json, vision_json
from pinxit.models.kinds import Kind

if TYPE_CHECKING:
    from torch import nn


def _build(config: VisionFile) -> nn.Module:
    from pinxit.models.common.clip_vision import ClipVision

    return ClipVision(config.network)


def _files(config: VisionFile) -> Mapping[str, object]:
    """The folder's config.json, and how pictures are prepared."""
    return {
        "config.json": vision_json(config.network),
        "preprocessor_config.json": preprocessor_json(config.network),
    }


KIND = Kind(
    name="clip-vision",
    title="CLIP image encoder",
    hint="It sees pictures for IP-Adapters and for models that vary them; it is no model by itself.",
    layouts=LAYOUTS,
    config_from=config_from,
    build=_build,
    files=_files,
)
