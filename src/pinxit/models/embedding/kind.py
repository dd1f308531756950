"""Embeddings of textual inversion (Gal et al. 2022)."""

from __future__ import annotations

from pinxit.models.embedding.config import config_from, recognise
from pinxit.models.kinds import Kind

KIND = Kind(
    name="embedding",
    title="Embedding (textual inversion)",
    hint="It is a word for the prompts of a model; it is no model by itself.",
    config_from=config_from,
    recognise=recognise,
    aliases=("textual-inversion",),
)
