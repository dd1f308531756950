"""Hypernetworks of the sort that A1111's program trains."""

from __future__ import annotations

from pinxit.models.hypernetwork.config import config_from, recognise
from pinxit.models.kinds import Kind

KIND = Kind(
    name="hypernetwork",
    title="Hypernetwork",
    hint="It changes a model of its family; it is no model by itself.",
    config_from=config_from,
    recognise=recognise,
)
