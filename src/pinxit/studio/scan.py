"""Everything that was found in the folders at one moment, with the names that it answers to."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pinxit.engine.library import LORA, OTHER, ModelEntry
from pinxit.studio.foreign import invoke_models
from pinxit.studio.shelves import KINDS, settings_of, shelves
from pinxit.studio.walk import Identity, Item, Walk, changed, clean, is_model_file, is_model_folder, stem

BUILTIN = "pinxit"
SETTLED = 2 * 10**9
"""Nanoseconds after which a folder's time of change tells of every change; some file systems count in two seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """`entries` by place and name, and by every name that they answer to; `watched` are times of change.

    `aliases` are further names of one file: links, and what another program calls it.
    """

    entries: tuple[ModelEntry, ...]
    by_name: Mapping[tuple[str, str], tuple[ModelEntry, ...]]
    aliases: Mapping[Path, tuple[str, ...]]
    watched: Mapping[Path, int]
    settled: bool

    def current(self) -> bool:
        """Whether no folder has changed since."""
        return self.settled and all(changed(path) == moment for path, moment in self.watched.items())

    def exact(self, name: str, kind: str) -> ModelEntry | None:
        """The entry of that very name."""
        return next((one for one in self.named(name, kind) if one.name.casefold() == name.casefold()), None)

    def named(self, name: str, kind: str) -> tuple[ModelEntry, ...]:
        """The entries of a kind that answer to `name`, in lower case; only the exact one where there is one."""
        found = self.by_name.get((kind, name), ())
        exact = tuple(entry for entry in found if entry.name.casefold() == name)
        return exact or found

    def keys(self, entry: ModelEntry) -> tuple[str, ...]:
        """Every name that `entry` answers to, in lower case: its own, its end after each `/`, and its aliases."""
        names: dict[str, None] = {}
        for name in (entry.name, *self.aliases.get(entry.path, ())):
            spellings = {name.casefold(): None, stem(name).casefold(): None}
            for parts in (spelling.split("/") for spelling in spellings):
                names |= dict.fromkeys("/".join(parts[start:]) for start in range(len(parts)))
        return tuple(names)


def look(folders: Sequence[Path], builtin: Path, adopted: Sequence[ModelEntry]) -> Scan:
    """Look through `folders`. The built-in model and its adapters come first, then what was `adopted`, then the
    folders' models.
    """
    started = time.time_ns()
    walk = Walk()
    entries: list[ModelEntry] = []
    if (builtin / "model_index.json").is_file():
        entries.append(ModelEntry(name=BUILTIN, title="pinxit's own model", path=builtin))
        for path in sorted(builtin.glob("*.safetensors")):
            entries.append(ModelEntry(name=path.stem, title="for pinxit's own model", path=path, kind=LORA))
    entries += adopted
    paths = {entry.path for entry in entries}
    taken = {(entry.kind, entry.name.casefold()) for entry in entries}
    known: dict[Identity, Path] = {}
    aliases: dict[Path, tuple[str, ...]] = {}
    for item in _items(folders, walk):
        if item.path in paths:
            continue
        first = known.get(item.identity)
        if first is not None:
            aliases[first] = (*aliases.get(first, ()), item.name)
            continue
        known[item.identity] = item.path
        name = _free(item, taken)
        taken.add((item.kind, name.casefold()))
        entries.append(ModelEntry(name=name, title=name, path=item.path, kind=item.kind))
    settled = all(started - moment > SETTLED for moment in walk.watched.values())
    scan = Scan(entries=tuple(entries), by_name={}, aliases=aliases, watched=walk.watched, settled=settled)
    return replace(scan, by_name=_index(scan))


def _items(folders: Iterable[Path], walk: Walk) -> Iterator[Item]:
    for folder in folders:
        for path in (folder, *settings_of(folder), folder / "databases" / "invokeai.db"):
            walk.watched[path] = changed(path)
        yield from _told(folder)
        for shelf in shelves(folder):
            yield from sorted(walk.items(shelf), key=lambda item: item.name.casefold())


def _told(root: Path) -> Iterator[Item]:
    """The models that InvokeAI's database names, by the names that their owner gave them."""
    for told in invoke_models(root):
        try:
            if not (is_model_file(told.path.name) and told.path.is_file()) and not is_model_folder(told.path):
                continue
            facts = told.path.stat()
        except (OSError, ValueError):
            continue
        yield Item(
            name=clean(told.name),
            path=told.path,
            kind=KINDS.get(told.type.casefold(), OTHER),
            identity=(facts.st_dev, facts.st_ino),
        )


def _free(item: Item, taken: set[tuple[str, str]]) -> str:
    """The item's name, with a number after it when another of its kind has it."""
    name, number = item.name, 2
    while (item.kind, name.casefold()) in taken:
        name, number = f"{item.name}-{number}", number + 1
    return name


def _index(scan: Scan) -> dict[tuple[str, str], tuple[ModelEntry, ...]]:
    found: dict[tuple[str, str], list[ModelEntry]] = {}
    for entry in scan.entries:
        for key in scan.keys(entry):
            found.setdefault((entry.kind, key), []).append(entry)
    return {key: tuple(values) for key, values in found.items()}
