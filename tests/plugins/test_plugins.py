"""Plugins add to the catalogue by documented hooks, ours by the same ones as everybody's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pluggy import PluginValidationError

from pinxit.models.contract import AnyFamily
from pinxit.models.kinds import AnyKind
from pinxit.models.sd1.family import FAMILY as SD1
from pinxit.models.vae.kind import KIND as VAE
from pinxit.plugins import builtin, hookspecs
from pinxit.plugins.hookspecs import PROJECT, hookimpl
from pinxit.plugins.manager import build_catalog
from pinxit.sampling.compat import NOISE_SOURCES, NoiseSpec
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers import SAMPLERS, SamplerSpec, sampler, specs_of
from pinxit.sampling.samplers.euler import euler
from pinxit.sampling.schedules import SCHEDULES, ScheduleOptions, ScheduleSpec, schedule
from pinxit.studio import Studio
from pinxit.studio.library import Library
from tests.easel import Easel, Easels

HOOKS = [name for name, value in vars(hookspecs).items() if hasattr(value, f"{PROJECT}_spec")]


@schedule("halves", title="Halves")
def halves(n: int, process: NoiseProcess, options: ScheduleOptions) -> tuple[float, ...]:
    """Each level is half the one before."""
    del options
    return (*(process.sigma_max / 2**step for step in range(n)), 0.0)


class Plugin:
    """One of everything under new names."""

    @hookimpl
    def register_samplers(self) -> list[SamplerSpec]:
        def mine(*arguments: Any) -> Any:
            """Euler under another name."""
            return euler(*arguments)

        return list(specs_of(sampler("mine", title="Mine", aliases=("my own",))(mine)))

    @hookimpl
    def register_schedules(self) -> list[ScheduleSpec]:
        return [cast(ScheduleSpec, vars(halves)["spec"])]

    @hookimpl
    def register_families(self) -> list[AnyFamily]:
        return [replace(SD1, name="sd1-like", title="Like SD 1", layouts=(), aliases=("likeness",))]

    @hookimpl
    def register_kinds(self) -> list[AnyKind]:
        return [replace(VAE, name="vae-like", layouts=())]

    @hookimpl
    def register_noises(self) -> list[NoiseSpec]:
        return [replace(NOISE_SOURCES[0], name="silence", aliases=())]


def test_a_plugins_entries_are_used_by_name(easels: Easels) -> None:
    ours = easels("pinxit")
    catalog = build_catalog([Plugin()])
    easel = Easel(library=ours.library, catalog=catalog, residency=ours.residency, model="pinxit")
    ready = easel.paint(sampler="My Own", schedule="halves", noise="Silence")[0]
    request = ready.record.request
    assert (request.sampler, request.schedule, ready.record.noise) == ("mine", "halves", "silence")
    assert ready.pixels_sha256 == easel.pixels(sampler="euler", schedule="halves")[0]
    assert catalog.families.get("likeness").name == "sd1-like"


def test_a_studio_takes_plugins(easels: Easels) -> None:
    folder = easels.model("pinxit")
    studio = Studio(library=Library([], builtin=folder), plugins=[Plugin()])
    assert "mine" in studio.catalog.samplers
    assert "mine" not in Studio(library=Library([], builtin=folder)).catalog.samplers


def test_ours_come_first_and_in_order() -> None:
    catalog = build_catalog([Plugin()])
    assert catalog.samplers.names() == (*(spec.name for spec in SAMPLERS), "mine")
    assert catalog.schedules.names() == (*(spec.name for spec in SCHEDULES), "halves")
    assert catalog.families.names() == (*(family.name for family in builtin.register_families()), "sd1-like")
    assert catalog.kinds.names() == (*(kind.name for kind in builtin.register_kinds()), "vae-like")
    assert catalog.noises.names() == (*(spec.name for spec in NOISE_SOURCES), "silence")


@pytest.mark.parametrize(
    ("hook", "entries", "told"),
    [
        ("register_samplers", lambda: [SAMPLERS[0]], "sampler 'euler' is already taken by 'euler'"),
        ("register_samplers", lambda: [replace(SAMPLERS[0], name="Heun", aliases=())], "sampler 'heun' is already"),
        ("register_schedules", lambda: [SCHEDULES[0]], "schedule 'karras' is already taken by 'karras'"),
        ("register_families", lambda: [SD1], "family 'sd1' is already taken by 'sd1'"),
        ("register_kinds", lambda: [VAE], "kind 'vae' is already taken by 'vae'"),
        ("register_noises", lambda: [NOISE_SOURCES[0]], "'philox' is already taken by 'philox'"),
    ],
)
def test_a_name_is_taken_once(hook: str, entries: Callable[[], list[object]], told: str) -> None:
    plugin = SimpleNamespace(**{hook: hookimpl(entries)})
    with pytest.raises(ValueError, match=told):
        build_catalog([plugin])


def test_two_plugins_cannot_take_one_name() -> None:
    with pytest.raises(ValueError, match="'sd1-like' is already taken"):
        build_catalog([Plugin(), Plugin()])


def test_a_plugin_with_nothing_to_say_changes_nothing() -> None:
    assert build_catalog([SimpleNamespace()]).samplers.names() == build_catalog().samplers.names()


def test_a_hook_that_does_not_exist_is_told() -> None:
    def register_sampler() -> list[SamplerSpec]:
        return []

    with pytest.raises(PluginValidationError, match="unknown hook 'register_sampler'"):
        build_catalog([SimpleNamespace(register_sampler=hookimpl(register_sampler))])


def test_catalogues_share_nothing() -> None:
    build_catalog([Plugin()])
    assert "mine" not in build_catalog().samplers


def test_there_are_hooks() -> None:
    assert HOOKS == [
        "register_families",
        "register_kinds",
        "register_adapters",
        "register_samplers",
        "register_schedules",
        "register_noises",
    ]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_and_answered_by_ours(hook: str) -> None:
    function = getattr(hookspecs, hook)
    assert len(inspect.getdoc(function) or "") > 20
    assert function() == []
    ours = getattr(builtin, hook)
    assert hasattr(ours, f"{PROJECT}_impl")
    assert inspect.signature(ours).parameters == inspect.signature(function).parameters
    assert ours()


@pytest.mark.parametrize("registry", ["families", "kinds", "samplers", "schedules", "noises"])
def test_every_entry_has_a_title_that_people_read(registry: str) -> None:
    for entry in getattr(build_catalog(), registry):
        assert entry.title
        assert entry.name == entry.name.casefold()
        if registry not in ("families", "kinds"):
            assert entry.summary.endswith((".", ")"))
