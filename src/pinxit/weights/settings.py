"""JSON files beside the weights, read as data by our own rules: bounded, typed, and never a path to code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, cast

from pinxit.schema.errors import BadModelFile

MAX_JSON_BYTES = 8 * 2**20
MAX_NUMBER = 2**31


def read_json(path: Path, *, limit: int = MAX_JSON_BYTES) -> dict[str, object]:
    """The JSON object in `path`. Raises BadModelFile when it is missing, longer than `limit` bytes or not an object."""

    def refuse(reason: str) -> NoReturn:
        raise BadModelFile(f"{path.name} in {path.parent.name} {reason}.", hint="Download that file again.")

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        result = dict(pairs)
        if len(result) != len(pairs):
            refuse("gives one key twice")
        return result

    try:
        if not path.is_file():
            refuse("is missing")
        with path.open("rb") as stream:
            raw = stream.read(limit + 1)
        if len(raw) > limit:
            refuse(f"is longer than {limit:,} bytes")
        document: object = json.loads(raw.decode("utf-8"), object_pairs_hook=unique)
    except OSError as error:
        refuse(f"cannot be read ({error.strerror})")
    except (ValueError, RecursionError):
        refuse("is not valid JSON")
    if not isinstance(document, dict):
        refuse("is not a JSON object")
    return cast(dict[str, object], document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Typed reading of one JSON object. Every getter gives None where the key is absent or null.

    A value of the wrong type or out of bounds raises BadModelFile and names `source`, the key and what was expected.
    """

    source: str
    values: Mapping[str, object]

    def integer(self, key: str, *, low: int = 1, high: int = MAX_NUMBER) -> int | None:
        value = self.values.get(key)
        if value is None:
            return None
        if type(value) is not int or not low <= value <= high:
            self._refuse(key, f"a whole number from {low} to {high}")
        return value

    def integers(self, key: str, *, low: int = 0, high: int = MAX_NUMBER) -> tuple[int, ...] | None:
        """A list of at most 64 whole numbers."""
        value = self.values.get(key)
        if value is None:
            return None
        items = cast(list[object], value) if isinstance(value, list) else []
        numbers = [n for n in items if type(n) is int and low <= n <= high]
        if not isinstance(value, list) or len(numbers) != len(items) or len(items) > 64:
            self._refuse(key, f"a list of whole numbers from {low} to {high}")
        return tuple(numbers)

    def number(self, key: str) -> float | None:
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
            self._refuse(key, "a finite number")
        return float(value)

    def numbers(self, key: str) -> tuple[float, ...] | None:
        """A list of at most 64 finite numbers."""
        value = self.values.get(key)
        if value is None:
            return None
        items = cast(list[object], value) if isinstance(value, list) else []
        found = [float(n) for n in items if isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < 1e9]
        if not isinstance(value, list) or len(found) != len(items) or len(items) > 64:
            self._refuse(key, "a list of numbers")
        return tuple(found)

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or len(value) > 1000:
            self._refuse(key, "a short text")
        return value

    def flag(self, key: str) -> bool | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, bool):
            self._refuse(key, "true or false")
        return value

    def is_list(self, key: str) -> bool:
        return isinstance(self.values.get(key), list)

    def _refuse(self, key: str, expected: str) -> NoReturn:
        shown = ascii(self.values.get(key))[:60]
        raise BadModelFile(
            f"{self.source}: {key} is {shown}, expected {expected}.", hint="Restore the file from the model's source."
        )
