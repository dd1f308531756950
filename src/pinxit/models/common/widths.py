"""Widths by which families are told apart where their names do not."""

from __future__ import annotations

OWN_TEXT_WIDTHS = (32, 192, 256, 320)
"""Widths of our own text encoders, none of which another family has: tests, the CPU variant, and the full model."""
