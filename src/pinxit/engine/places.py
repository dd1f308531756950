"""Where computed things lie that can be computed again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """`PINXIT_CACHE`, or the user's cache directory. Whatever is in it may be deleted."""
    named = os.environ.get("PINXIT_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("pinxit")
