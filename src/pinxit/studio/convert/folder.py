"""What lies beside the tensors: the folder's JSON, the tokenizers, the model's card; or a single file's markers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pinxit.models.common.folder import TOKENIZERS, without_parts
from pinxit.prompts.t5 import T5Tokenizer
from pinxit.prompts.tokenizer import ClipTokenizer
from pinxit.schema.errors import BadInput
from pinxit.studio.convert.understanding import Known
from pinxit.weights.layout import Layout

TOKENIZER_FILES = (
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
)
CARDS = ("README.md", "LICENSE", "LICENSE.md", "LICENSE.txt")
MAX_COPY = 32 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """Texts and JSON values by relative path, files to copy, and the names of a single file's markers."""

    files: Mapping[str, object] = field(default_factory=dict[str, object])
    copies: Mapping[str, Path] = field(default_factory=dict[str, Path])
    markers: tuple[str, ...] = ()


def around(known: Known, layout: Layout, written: set[str]) -> Around:
    """What belongs beside the components `written`. Raises BadInput for a folder that we cannot write."""
    if known.kind is not None:
        if not layout.folder:
            return Around()
        if known.kind.files is None:
            raise BadInput(f"A {known.kind.title} is not written as a folder.", hint="Choose --layout single.")
        return Around(files=known.kind.files(known.config))
    writing = known.family.writing if known.family is not None else None
    if not layout.folder:
        return Around(markers=writing.markers(known.config) if writing is not None and "unet" in written else ())
    if writing is None:
        raise BadInput(f"A {known.name} is not written as a folder.", hint="Choose --layout single.")
    files = without_parts(writing.files(known.config), written)
    copies = _copies(known, written)
    files |= _vocabularies(known, written, copies)
    return Around(files={name: value for name, value in files.items() if name not in copies}, copies=copies)


def _copies(known: Known, written: set[str]) -> dict[str, Path]:
    """The files that a folder's tokenizers are, and its card; from a single file there is nothing to copy."""
    root = known.match.header.path
    if not known.match.layout.folder:
        return {}
    names = [
        f"{TOKENIZERS[encoder]}/{file}" for encoder in written if encoder in TOKENIZERS for file in TOKENIZER_FILES
    ]
    found = {name: root / name for name in (*names, *CARDS)}
    return {name: path for name, path in found.items() if path.is_file() and path.stat().st_size <= MAX_COPY}


def _vocabularies(known: Known, written: set[str], copies: Mapping[str, Path]) -> dict[str, object]:
    """The vocabulary of every text encoder whose tokenizer is not copied."""
    if known.family is None:
        return {}
    files: dict[str, object] = {}
    for encoder, tokenizer in known.family.tokenizers(known.config, known.match).items():
        folder = TOKENIZERS.get(encoder)
        if folder is None or encoder not in written or f"{folder}/vocab.json" in copies:
            continue
        if isinstance(tokenizer, ClipTokenizer):
            vocab, merges = tokenizer.vocabulary.texts()
            files |= {f"{folder}/vocab.json": vocab, f"{folder}/merges.txt": merges}
        elif isinstance(tokenizer, T5Tokenizer) and (text := tokenizer.json_text()) is not None:
            files[f"{folder}/tokenizer.json"] = text
    return files
