"""The application over the engine: where models lie, and one object to paint with."""

from __future__ import annotations

from pinxit.studio.studio import Studio

__all__ = ["Studio"]
