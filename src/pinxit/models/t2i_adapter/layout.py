"""The files of a T2I-Adapter: the original names, with or without `adapter.`, or diffusers'.

There are two forms. The full one numbers all its blocks in one row, `each` of them per level; the light one has a
group of narrow blocks per level. `widens[i]` is 1 where a level begins with a 1x1 convolution to more channels.
"""

from __future__ import annotations

from pinxit.weights.formula import Scope
from pinxit.weights.layout import Layout, Leaf, Part, Place, Row, Table, View

BLOCK = (Leaf("block1", "block1"), Leaf("block2", "block2"))
LEVELS = 4
"""The original names of the full form do not say where a level ends; every adapter that people have is of four."""

FULL_ROWS = (
    Row("conv_in", "adapter.conv_in"),
    Row("body.{each*i}.in_conv", "adapter.body.{i}.in_conv", i="levels", k="widens[i]"),
    Row("body.{each*i+j}", "adapter.body.{i}.resnets.{j}", BLOCK, i="levels", j="each"),
)
LIGHT_ROWS = (
    Row("body.{i}.in_conv", "adapter.body.{i}.in_conv", i="levels"),
    Row("body.{i}.body.{j}", "adapter.body.{i}.resnets.{j}", BLOCK, i="levels", j="each"),
    Row("body.{i}.out_conv", "adapter.body.{i}.out_conv", i="levels"),
)


def full_sizes(view: View) -> Scope | None:
    """Sizes of the full form in the original names."""
    blocks = view.count("body.#")
    if not view.has("conv_in") or not view.has("body.0.block1") or blocks % LEVELS:
        return None
    each = blocks // LEVELS
    return {
        "levels": LEVELS,
        "each": each,
        "widens": tuple(int(view.has(f"body.{each * level}.in_conv")) for level in range(LEVELS)),
    }


def full_diffusers_sizes(view: View) -> Scope | None:
    """Sizes of the full form in diffusers' names."""
    levels = view.count("adapter.body.#")
    if not view.has("adapter.conv_in") or not view.has("adapter.body.0.resnets"):
        return None
    return {
        "levels": levels,
        "each": view.count("adapter.body.0.resnets.#"),
        "widens": tuple(int(view.has(f"adapter.body.{level}.in_conv")) for level in range(levels)),
    }


def light_sizes(view: View) -> Scope | None:
    """Sizes of the light form in the original names."""
    if view.has("conv_in") or not view.has("body.0.out_conv") or not view.has("body.0.body"):
        return None
    return {"levels": view.count("body.#"), "each": view.count("body.0.body.#")}


def light_diffusers_sizes(view: View) -> Scope | None:
    """Sizes of the light form in diffusers' names."""
    if view.has("adapter.conv_in") or not view.has("adapter.body.0.out_conv") or not view.has("adapter.body.0.resnets"):
        return None
    return {"levels": view.count("adapter.body.#"), "each": view.count("adapter.body.0.resnets.#")}


FULL_DIFFUSERS = Table(
    name="diffusers T2I-Adapter", rows=FULL_ROWS, measure=full_diffusers_sizes, measure_ours=full_sizes
)
LIGHT_DIFFUSERS = Table(
    name="diffusers light T2I-Adapter", rows=LIGHT_ROWS, measure=light_diffusers_sizes, measure_ours=light_sizes
)


def _layouts(form: str, table: Table) -> tuple[Layout, Layout]:
    original = table.own(table.name.replace("diffusers", "original"))
    places = (Place(prefix="", table=original), Place(prefix="adapter.", table=original))
    return (
        Layout(
            name=form,
            family="t2i-adapter",
            parts=(Part(component="t2i-adapter", places=places, required=True),),
        ),
        Layout(
            name=f"{form}-diffusers",
            family="t2i-adapter",
            parts=(Part(component="t2i-adapter", places=(Place(prefix="", table=table),), required=True),),
            folder=True,
        ),
    )


FULL, FULL_FOLDER = _layouts("t2i-adapter", FULL_DIFFUSERS)
LIGHT, LIGHT_FOLDER = _layouts("t2i-adapter-light", LIGHT_DIFFUSERS)
LAYOUTS = (FULL, FULL_FOLDER, LIGHT, LIGHT_FOLDER)
