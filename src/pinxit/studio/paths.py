"""Where things lie on this machine."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import platformdirs

from pinxit.engine.places import cache_folder

__all__ = ["builtin_model", "cache_folder", "model_folder", "model_folders"]


def builtin_model() -> Path:
    """The folder of the model that comes with the package."""
    return Path(str(files("pinxit"))) / "builtin"


def model_folder() -> Path:
    """Where a user's own models lie, and where new ones are put: the first of `model_folders`."""
    return model_folders()[0]


def model_folders() -> tuple[Path, ...]:
    """The folders that `PINXIT_MODELS` names, separated as in PATH; or one in the user's data directory.

    Each may be the folder of another program, such as A1111, ComfyUI, Fooocus or InvokeAI.
    """
    named = [Path(word).expanduser() for word in os.environ.get("PINXIT_MODELS", "").split(os.pathsep) if word]
    return tuple(named) or (platformdirs.user_data_path("pinxit") / "models",)
