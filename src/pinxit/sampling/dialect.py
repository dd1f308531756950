"""Whose numbers to follow where the field's programs disagree."""

from __future__ import annotations

from typing import Literal

Dialect = Literal["native", "a1111", "comfyui", "diffusers"]
"""`native` is our own choice; the others reproduce the named program where it differs from that choice."""
