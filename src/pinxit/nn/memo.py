"""What a layer made of a tensor that comes again: kept for as long as that tensor lives, and no longer."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import NamedTuple

from torch import Tensor


class _Known(NamedTuple):
    given: weakref.ref[Tensor]
    stamp: Hashable
    made: Tensor


class Memo:
    """One layer's results. Safe in several threads: two at once may make the same thing twice."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> Memo:
        return Memo()

    def __reduce__(self) -> tuple[type[Memo], tuple[()]]:
        return Memo, ()

    def __len__(self) -> int:
        return len(self._known)

    def forget(self) -> None:
        """Make everything anew at its next call."""
        self._known = {}

    def of(self, given: Tensor, stamp: Callable[[], Hashable], make: Callable[[], Tensor]) -> Tensor:
        """What `make` gives, or gave for the same tensor object while `stamp` was what it is now."""
        key, every = id(given), self._known
        found = every.get(key)
        if found is not None and found.given() is given and found.stamp == stamp():
            return found.made
        made = make()
        every[key] = _Known(weakref.ref(given, lambda _: every.pop(key, None)), stamp(), made)
        return made
