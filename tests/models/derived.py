"""Manifests derived from stated depths and sizes, for checkpoints whose names and shapes nobody wrote down."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.models import derived_sd, derived_sdxl
from tests.models.derived_sd import Content, Shapes

DERIVED: Mapping[str, Callable[[], Shapes]] = {**derived_sd.SINGLE, **derived_sdxl.SINGLE}
"""Names and shapes of a single file by the manifest's name."""

DERIVED_FOLDERS: Mapping[str, Callable[[], Content]] = derived_sd.FOLDERS
"""Diffusers folders by the manifest's name."""
