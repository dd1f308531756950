"""What lies on a shelf: files, indexes of shards, folders of parts, and the snapshots of a hub's cache."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pinxit.schema.text import NAME_LENGTH
from pinxit.studio.shelves import Shelf
from pinxit.weights.folder import LEGACY_SUFFIXES, WEIGHT_STEMS

SUFFIX = ".safetensors"
INDEX_SUFFIX = ".safetensors.index.json"
SUFFIXES = (INDEX_SUFFIX, SUFFIX, ".sft", ".gguf", *LEGACY_SUFFIXES)
MOST_FILES = 100_000
"""Files and folders that are looked at below all roots together."""
DEEPEST = 16
"""Levels of folders below a shelf."""
NEVER = frozenset({"venv", "env", "node_modules", "__pycache__", "site-packages"})
"""Folders of programs, not of models."""

_SHARD = re.compile(r"-[0-9]{5}-of-[0-9]{5}\.(?:safetensors|bin)$")
"""One of several files that an index stands for."""
_HUB = re.compile(r"^models--(?P<owner>[\w.-]+?)--(?P<name>[\w.-]+)$")
_COMMIT = re.compile(r"^[0-9a-f]{40}$")
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\\\\:]")
"""Characters that no name of a model may have in a request."""

Identity = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Something that lies on a shelf. `identity` is the file's, or the folder's own."""

    name: str
    path: Path
    kind: str
    identity: Identity


@dataclass(slots=True, kw_only=True)
class Walk:
    """One look at everything: where it has been, and the folders with their times of change."""

    seen: set[Identity] = field(default_factory=set[Identity])
    watched: dict[Path, int] = field(default_factory=dict[Path, int])
    count: int = 0

    def items(self, shelf: Shelf) -> Iterator[Item]:
        """Everything on `shelf`, by name. Folders that were walked before, and what cannot be read, are passed over."""
        yield from self._folder(shelf.folder, shelf, shelf.prefix, DEEPEST)

    def _folder(self, folder: Path, shelf: Shelf, prefix: str, levels: int) -> Iterator[Item]:
        identity = self._enter(folder)
        # A shallow shelf leaves its folders to others, so it must not count as having been in its own.
        if identity is None or (shelf.deep and identity in self.seen):
            return
        if shelf.deep:
            self.seen.add(identity)
        folders: list[Path] = []
        for entry in self._entries(folder):
            path = folder / entry.name
            try:
                if entry.is_dir():
                    folders.append(path)
                elif is_model_file(entry.name) and entry.is_file():
                    facts = entry.stat()
                    # A pickle keeps its suffix, so that what it is converted to can have the name.
                    name = entry.name if is_legacy(path) else stem(entry.name)
                    yield Item(
                        name=clean(prefix + name),
                        path=path,
                        kind=shelf.kind,
                        identity=(facts.st_dev, facts.st_ino),
                    )
            except OSError:
                continue
        if shelf.deep and levels:
            for path in folders:
                if path not in shelf.skip and path.name.casefold() not in NEVER:
                    yield from self._sub_folder(path, shelf, prefix, levels)

    def _sub_folder(self, folder: Path, shelf: Shelf, prefix: str, levels: int) -> Iterator[Item]:
        hub = _HUB.match(folder.name)
        if hub is not None:
            yield from self._snapshots(folder, shelf, f"{hub['owner']}/{hub['name']}", levels)
            return
        name = prefix + folder.name
        if is_model_folder(folder):
            yield from self._model_folder(folder, shelf, name)
        else:
            yield from self._folder(folder, shelf, name + "/", levels - 1)

    def _model_folder(self, folder: Path, shelf: Shelf, name: str) -> Iterator[Item]:
        """A folder of parts, and the whole checkpoints that some repositories keep beside the parts."""
        identity = self._enter(folder)
        if identity is None or identity in self.seen:
            return
        yield Item(name=clean(name), path=folder, kind=shelf.kind, identity=identity)
        beside = Shelf(folder=folder, kind=shelf.kind, deep=False)
        for item in self._folder(folder, beside, name + "/", 0):
            if stem(item.path.name).split(".")[0] not in WEIGHT_STEMS:
                yield item
        self.seen.add(identity)

    def _snapshots(self, repo: Path, shelf: Shelf, name: str, levels: int) -> Iterator[Item]:
        """A repository in a hub's cache: the commit that `refs/main` names under the plain name, then the others."""
        snapshots = repo / "snapshots"
        main = _commit(repo / "refs" / "main")
        self.watched[repo / "refs" / "main"] = changed(repo / "refs" / "main")
        self._enter(snapshots)
        commits = [entry.name for entry in self._entries(snapshots) if _COMMIT.match(entry.name)]
        commits.sort(key=lambda commit: (commit != main, commit))
        for number, commit in enumerate(commits):
            called = name if number == 0 else f"{name}@{commit[:10]}"
            folder = snapshots / commit
            if is_model_folder(folder):
                yield from self._model_folder(folder, shelf, called)
            else:
                yield from self._folder(folder, shelf, called + "/", levels - 1)

    def _enter(self, folder: Path) -> Identity | None:
        """Remember when `folder` changed; its identity, or None when it cannot be read."""
        try:
            facts = folder.stat()
        except OSError:
            return None
        self.watched[folder] = facts.st_mtime_ns
        return facts.st_dev, facts.st_ino

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """What is in `folder`, by name, without hidden files; nothing more once too much was seen."""
        found: list[os.DirEntry[str]] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if self.count >= MOST_FILES:
                        break
                    self.count += 1
                    if not entry.name.startswith("."):
                        found.append(entry)
        except OSError:
            return []
        return sorted(found, key=lambda entry: entry.name)


def changed(path: Path) -> int:
    """When `path` changed, in nanoseconds; -1 where there is nothing."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return -1


def is_model_file(name: str) -> bool:
    """Whether a file of this name can hold a model by itself."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".") and not _SHARD.search(name)


def is_legacy(path: Path) -> bool:
    """Whether `path` is a pickle by its name, which has to be converted first."""
    return path.name.lower().endswith(LEGACY_SUFFIXES)


def is_model_folder(folder: Path) -> bool:
    """Whether `folder` holds a model in parts, or one part with its configuration."""
    try:
        if (folder / "model_index.json").is_file():
            return True
        return (folder / "config.json").is_file() and any(
            (folder / f"{name}{suffix}").is_file() for name in WEIGHT_STEMS for suffix in (SUFFIX, INDEX_SUFFIX)
        )
    except OSError:
        return False


def stem(name: str) -> str:
    """A file's name without the suffix by which it is known as a model."""
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def clean(name: str) -> str:
    """`name` as a request may spell it: composed characters, none that a record refuses, at most 200."""
    words = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", name)).strip()
    if words.startswith("~"):
        words = "_" + words[1:]
    parts = ["_" if part in ("", "..") else part for part in words.split("/")]
    return "/".join(parts)[:NAME_LENGTH].strip() or "_"


def _commit(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(64).decode("ascii", "replace").strip()
    except OSError:
        return ""
