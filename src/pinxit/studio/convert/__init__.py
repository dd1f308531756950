"""Models from one form into another: layouts, number types, single networks, and mixtures of models. No torch."""

from __future__ import annotations

from pinxit.studio.convert.mixture import Mixture, merge
from pinxit.studio.convert.model import Converted, Wish, convert
from pinxit.studio.convert.parts import extract_vae, prune

__all__ = ["Converted", "Mixture", "Wish", "convert", "extract_vae", "merge", "prune"]
