"""From plugins to a catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import TypeVar

import pluggy

from pinxit.engine.catalog import Catalog
from pinxit.plugins import builtin, hookspecs
from pinxit.schema.methods import plain_key
from pinxit.schema.registry import Named, Registry

T = TypeVar("T", bound=Named)


def build_catalog(plugins: Iterable[object | ModuleType] = ()) -> Catalog:
    """The catalogue of the built-in plugin and `plugins`, in that order.

    Raises ValueError for a name taken twice, and pluggy's PluginValidationError for a hook that does not exist.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for plugin in (builtin, *plugins):
        manager.register(plugin)
    manager.check_pending()
    return Catalog(
        families=_registry("family", manager.hook.register_families()),
        kinds=_registry("kind", manager.hook.register_kinds()),
        adapters=_registry("adapter kind", manager.hook.register_adapters()),
        samplers=_registry("sampler", manager.hook.register_samplers(), key=plain_key),
        schedules=_registry("schedule", manager.hook.register_schedules(), key=plain_key),
        noises=_registry("noise source", manager.hook.register_noises()),
    )


def _registry(kind: str, answers: list[list[T]], *, key: Callable[[str], str] = str.casefold) -> Registry[T]:
    """Pluggy asks the last registered first; the catalogue keeps the order of registration."""
    return Registry(kind, tuple(entry for answer in reversed(answers) for entry in answer), key=key)
