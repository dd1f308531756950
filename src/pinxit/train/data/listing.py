"""What is to be rendered, before anything is: every package's drawings with their words, and which are held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pinxit.schema.errors import PinxitError
from pinxit.train.data.drawings import Package, iter_styles, read_package
from pinxit.train.data.fetch import fetch
from pinxit.train.data.names import Labels, read_labels
from pinxit.train.data.sources import PORTRAIT_CORE, Pinned, Source, source_named
from pinxit.train.data.split import held_out_cells

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """`sources` in the order in which they are rendered, what each one's package holds, and the cells to hold out."""

    labels: Pinned
    sources: tuple[Source, ...]
    packages: Mapping[str, Package]
    held_out: frozenset[tuple[str, str]]


def list_drawings(
    table: Sequence[Source],
    labels_source: Pinned,
    cache: Path,
    report: Report,
    *,
    wanted: Sequence[str] | None = None,
    keep_going: bool = False,
) -> Listing:
    """List the `wanted` sources of `table` (None: all), fetching what `cache` has not got.

    The split counts every style of the table, wanted or not, so that a small bank never shows what a larger one holds
    out. Raises UnknownName, Missing and BadInput; with `keep_going` a package that fails is left out, and said.
    """
    names = {source_named(name, tuple(table)).name for name in wanted or ()} or {source.name for source in table}
    labels = read_labels(fetch(labels_source, cache))
    packages: dict[str, Package] = {}
    for source in table:
        if source.name not in names and not source.emoji:
            continue
        try:
            core = fetch(PORTRAIT_CORE, cache) if source.reader == "portraits" else None
            packages[source.name] = read_package(source, fetch(source, cache), labels, core)
        except PinxitError as error:
            if not keep_going:
                raise
            report(f"left out {source.name}: {error}")
        else:
            report(f"{source.name}: {len(packages[source.name].candidates)} drawings listed")
    chosen = tuple(source for source in table if source.name in names and source.name in packages)
    return Listing(
        labels=labels_source,
        sources=chosen,
        packages={source.name: packages[source.name] for source in chosen},
        held_out=_held_out(packages, table, labels),
    )


def _held_out(packages: Mapping[str, Package], table: Sequence[Source], labels: Labels) -> frozenset[tuple[str, str]]:
    styles: dict[str, set[str]] = {}
    for concept, style in iter_styles(packages, {source.name: source.style for source in table}):
        if labels.words[concept].group != "flags":
            styles.setdefault(concept, set()).add(style)
    return held_out_cells(styles)
