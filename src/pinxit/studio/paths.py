"""Where things lie on this machine."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import platformdirs

from pinxit.engine.places import cache_folder

__all__ = ["builtin_model", "cache_folder", "model_folder"]


def builtin_model() -> Path:
    """The folder of the model that comes with the package."""
    return Path(str(files("pinxit"))) / "builtin"


def model_folder() -> Path:
    """Where a user's own models lie: `PINXIT_MODELS`, or a folder in the user's data directory."""
    named = os.environ.get("PINXIT_MODELS")
    return Path(named) if named else platformdirs.user_data_path("pinxit") / "models"
