"""One named collection: families, samplers, schedules and every other thing a plugin can add."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from pinxit.schema.errors import UnknownName


class Named(Protocol):
    """What an entry must say of itself."""

    @property
    def name(self) -> str: ...
    @property
    def aliases(self) -> tuple[str, ...]: ...


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """Entries by name and alias. A name is taken once; adding it again raises ValueError.

    `key` says which spellings are one name; by default those that differ in case alone.
    """

    def __init__(self, kind: str, entries: tuple[T, ...] = (), *, key: Callable[[str], str] = str.casefold) -> None:
        self.kind = kind
        self._key = key
        self._entries: dict[str, T] = {}
        self._lookup: dict[str, T] = {}
        self._spellings: list[str] = []
        for entry in entries:
            self.add(entry)

    def add(self, entry: T) -> None:
        """Add `entry` under its name and aliases. Raises ValueError when one of them is taken."""
        keys = list(dict.fromkeys(self._key(name) for name in (entry.name, *entry.aliases)))
        for key in keys:
            if key in self._lookup:
                raise ValueError(f"{self.kind} {key!r} is already taken by {self._lookup[key].name!r}")
        self._entries[entry.name] = entry
        self._lookup.update(dict.fromkeys(keys, entry))
        self._spellings += (entry.name, *entry.aliases)

    def get(self, name: str, *, field: str | None = None) -> T:
        """The entry called `name` (or with that alias). Raises UnknownName with the nearest names."""
        found = self._lookup.get(self._key(name))
        if found is None:
            raise UnknownName(self.kind, name, self._spellings, listed=self._entries, field=field)
        return found

    def names(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def as_mapping(self) -> Mapping[str, T]:
        return dict(self._entries)

    def __iter__(self) -> Iterator[T]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._key(name) in self._lookup
