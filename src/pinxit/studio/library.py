"""The models on this machine: the built-in one, the user's folder, and files named on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pinxit.engine.library import ModelEntry
from pinxit.schema.errors import BadInput, Missing, UnknownName
from pinxit.schema.record import ModelFile
from pinxit.studio.hashes import HashCache
from pinxit.studio.paths import builtin_model, cache_folder, model_folder
from pinxit.weights.folder import read_model

BUILTIN = "pinxit"
SUFFIX = ".safetensors"
INDEX_SUFFIX = ".safetensors.index.json"
_SHARD = re.compile(r"-[0-9]{5}-of-[0-9]{5}\.safetensors$")
"""One of several files that an index stands for."""


class Library:
    """Models by name: a file's stem, or a folder's name. Files are never copied or changed."""

    def __init__(self, folders: Sequence[Path] | None = None, *, builtin: Path | None = None) -> None:
        self._folders = tuple(folders) if folders is not None else (model_folder(),)
        self._builtin = builtin or builtin_model()
        self._adopted: dict[str, ModelEntry] = {}
        self._hashes = HashCache(cache_folder() / "hashes.json")

    def find(self, name: str | None) -> ModelEntry:
        """The model called `name` (without case); None is the built-in one. Raises UnknownName or Missing."""
        known = {entry.name.casefold(): entry for entry in self.entries()}
        found = known.get((name or BUILTIN).casefold())
        if found is None and (name or BUILTIN).casefold() == BUILTIN:
            raise Missing(
                "The built-in model is not in this installation.",
                hint="Install pinxit again, or name a model of your own with --model.",
            )
        if found is None:
            raise UnknownName("model", name or "", [entry.name for entry in known.values()], field="model")
        return found

    def entries(self) -> tuple[ModelEntry, ...]:
        """All models, the built-in one first, then those named by path, then those in the folders by name."""
        found: dict[str, ModelEntry] = {}
        if (self._builtin / "model_index.json").is_file():
            found[BUILTIN] = ModelEntry(name=BUILTIN, title="pinxit's own model", path=self._builtin)
        for entry in (*self._adopted.values(), *self._listed()):
            found.setdefault(entry.name.casefold(), entry)
        return tuple(found.values())

    def adopt(self, path: Path) -> str:
        """Make a model outside the folders known by name, and return that name. Raises Missing or BadInput."""
        try:
            path = path.expanduser().resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise Missing(f"There is no model at {path}.", hint="Check the path.", field="model") from error
        name = _name(path)
        taken = {entry.name.casefold(): entry.path for entry in self.entries()}
        number = 2
        while taken.get(name.casefold(), path) != path:
            name, number = f"{_name(path)}-{number}", number + 1
        if not name:
            raise BadInput(f"{path} has no name to call a model by.", hint="Rename it.", field="model")
        self._adopted[name.casefold()] = ModelEntry(name=name, title=name, path=path)
        return name

    def files(self, entry: ModelEntry) -> tuple[ModelFile, ...]:
        """Every weights file of a model with its SHA-256, computed once per change of the file."""
        header = read_model(entry.path)
        paths = sorted(header.sizes, key=lambda path: (-header.sizes[path], path.name))
        found = tuple(ModelFile(name=path.name, sha256=self._hashes.sha256(path)) for path in paths)
        self._hashes.save()
        return found

    def _listed(self) -> list[ModelEntry]:
        found: list[ModelEntry] = []
        for folder in self._folders:
            try:
                paths = sorted(folder.iterdir())
            except OSError:
                continue
            found += [ModelEntry(name=_name(path), title=_name(path), path=path) for path in paths if _is_model(path)]
        return found


def _is_model(path: Path) -> bool:
    """Whether a listed path can be asked for by name; hidden files, single shards and what cannot be read cannot."""
    if path.name.startswith(".") or _SHARD.search(path.name):
        return False
    try:
        return (path.name.endswith((SUFFIX, INDEX_SUFFIX)) and path.is_file()) or (path / "model_index.json").is_file()
    except OSError:
        return False


def _name(path: Path) -> str:
    for suffix in (INDEX_SUFFIX, SUFFIX):
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    return path.name
