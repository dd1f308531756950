"""The checkpoint doctor: what a model file is, how that is known, and what to do with it. No torch, nothing is run."""

from __future__ import annotations

from pinxit.studio.inspect.examine import inspect_file
from pinxit.studio.inspect.inspection import Inspection

__all__ = ["Inspection", "inspect_file"]
