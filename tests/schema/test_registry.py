from __future__ import annotations

from dataclasses import dataclass

import pytest

from pinxit.schema.errors import UnknownName
from pinxit.schema.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    name: str
    aliases: tuple[str, ...] = ()


EULER = Entry(name="euler", aliases=("k_euler", "Euler"))


def test_entries_answer_to_names_and_aliases_without_case() -> None:
    registry = Registry("sampler", (EULER,))
    assert registry.get("K_Euler") is registry.get("EULER") is EULER
    assert registry.names() == ("euler",)
    assert list(registry) == [EULER]
    assert len(registry) == 1
    assert "k_euler" in registry
    assert 3 not in registry
    assert registry.as_mapping() == {"euler": EULER}


def test_a_name_is_taken_once() -> None:
    registry = Registry("sampler", (EULER,))
    with pytest.raises(ValueError, match="sampler 'k_euler' is already taken by 'euler'"):
        registry.add(Entry(name="other", aliases=("K_EULER",)))


def test_an_unknown_entry_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"There is no sampler named 'eulr'\. Did you mean 'euler'"):
        Registry("sampler", (EULER,)).get("eulr", field="sampler")
