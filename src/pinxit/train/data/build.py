"""Make a bank of drawings: fetch the packages, render every drawing, drop what is no use, fix the held-out split."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pinxit.schema.errors import BadInput, Missing
from pinxit.train.data.bank import Bank, Drawing, write_index
from pinxit.train.data.drawings import Candidate
from pinxit.train.data.journal import FILE, Journal, Line
from pinxit.train.data.listing import Listing, Report, list_drawings
from pinxit.train.data.names import Words
from pinxit.train.data.pack import read_pack
from pinxit.train.data.papers import write_papers
from pinxit.train.data.raster import Raster, Rasteriser, Refused
from pinxit.train.data.sources import LABELS, SOURCES, Pinned, Source, source_named, style_named
from pinxit.train.data.twins import Looks, smallest_twin, untwinned

_SPARSE = 0.015
_GRAY = 12.0
_FULL_BLEED = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What to build.

    `sources` names the sets to render (None: all of `table`); the split counts the styles of every set in `table`, so
    that a small bank never shows what a larger one holds out. With `pack`, a file that `write_pack` made, nothing is
    fetched. `sizes` are edge lengths in pixels, each a divisor of the largest. `time_limit` is seconds per drawing,
    `limit` the number of drawings per source (None: all). `continues` names an earlier bank that a model has been
    trained on: what that one trained on is not held out here. `keep_going` goes on without a source that is gone or
    changed.
    """

    folder: Path
    cache: Path
    sources: tuple[str, ...] | None = None
    pack: Path | None = None
    sizes: tuple[int, ...] = (256, 128)
    time_limit: float = 10.0
    limit: int | None = None
    keep_going: bool = False
    continues: Path | None = None
    table: tuple[Source, ...] = SOURCES
    labels: Pinned = LABELS


@dataclass(slots=True)
class _Harvest:
    """What has been rendered so far; `refused` counts reasons per source."""

    drawings: list[Drawing] = field(default_factory=list[Drawing])
    looks: Looks = field(default_factory=Looks)
    refused: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])


def build(options: BuildOptions, report: Report) -> Bank:
    """Build a bank in `options.folder`. A build that is cut off goes on where it was when it is called again.

    Raises BadInput for sizes that do not divide, for a folder that is taken and for changed packages, Missing for
    packages that cannot be fetched, unless `keep_going` is set, and OutOfSpace when the disk is full.
    """
    largest = _checked_sizes(options.sizes)
    if options.folder.exists():
        raise BadInput(
            f"{options.folder} already exists.", hint="Choose another folder, or delete it if nothing uses it."
        )
    listing = _listing(options, report)
    partial = options.folder.with_name(options.folder.name + ".partial")
    harvest = _Harvest()
    steps = _plan(listing, options)
    with (
        Journal(partial, options.sizes, [key for key, _, _ in steps]) as journal,
        Rasteriser(size=largest, time_limit=options.time_limit) as rasteriser,
    ):
        if journal.count:
            report(f"going on after {journal.count} drawings that were rendered before")
        for at, (key, source, candidate) in enumerate(steps):
            if candidate is None:
                _tell(harvest, report)
                harvest.refused[source.name] = Counter()
                if at >= len(journal.lines):
                    journal.note(key, {})
            else:
                done = journal.lines[at] if at < len(journal.lines) else None
                _add(source, candidate, done or _rendered(source, candidate, rasteriser, journal, harvest), harvest)
        _tell(harvest, report)
        if not harvest.drawings:
            raise Missing(
                "None of the sources gave a single drawing.",
                hint="See the reports above: packages gone, or all refused.",
            )
        journal.finish()
    drawings = _settled(harvest, listing.held_out - _trained_on(options.continues))
    write_index(partial, drawings)
    write_papers(partial, listing, drawings, options.sizes, harvest.refused)
    (partial / FILE).unlink()
    partial.rename(options.folder)
    report(f"{len(drawings)} drawings, {sum(drawing.split == 'held_out' for drawing in drawings)} of them held out")
    return Bank.open(options.folder)


def _listing(options: BuildOptions, report: Report) -> Listing:
    if options.pack is None:
        return list_drawings(
            options.table,
            options.labels,
            options.cache,
            report,
            wanted=options.sources,
            keep_going=options.keep_going,
        )
    listing = read_pack(options.pack)
    if options.sources is None:
        return listing
    names = {source_named(name, listing.sources).name for name in options.sources}
    return replace(listing, sources=tuple(source for source in listing.sources if source.name in names))


_Step = tuple[str, Source, Candidate | None]
"""A key of the journal, and the drawing to render; None where a source begins."""


def _plan(listing: Listing, options: BuildOptions) -> list[_Step]:
    steps: list[_Step] = []
    for source in listing.sources:
        sizes = ",".join(map(str, options.sizes))
        steps.append((f"{source.name} {source.version} {source.sha256} at {sizes}", source, None))
        for candidate in listing.packages[source.name].candidates[: options.limit]:
            steps.append((candidate.id, source, candidate))
    return steps


def _rendered(
    source: Source, candidate: Candidate, rasteriser: Rasteriser, journal: Journal, harvest: _Harvest
) -> Line:
    """Render a drawing, judge whether it is kept, and note both."""
    raster = rasteriser.render(candidate.kind, candidate.data)
    reason = raster.reason if isinstance(raster, Refused) else _no_use(source, candidate, raster, harvest)
    if isinstance(raster, Refused) or reason is not None:
        line: Line = {"refused": reason}
        journal.note(candidate.id, line)
        return line
    line = {"rim": raster.rim, "fill": round(raster.fill, 4), "hash": f"{raster.hash_:032x}", "thumb": raster.thumb}
    journal.note(candidate.id, line, raster.pixels)
    return line


def _add(source: Source, candidate: Candidate, line: Line, harvest: _Harvest) -> None:
    if "refused" in line:
        harvest.refused[source.name][line["refused"]] += 1
        return
    harvest.looks.add(
        int(line["hash"], 16), line["thumb"], _rivals(source, candidate), lone=source.reader == "portraits"
    )
    harvest.drawings.append(_drawing(source, candidate, line))


def _tell(harvest: _Harvest, report: Report) -> None:
    """Report the source that was last begun, if any."""
    if harvest.refused:
        name, refused = next(reversed(harvest.refused.items()))
        kept = sum(drawing.source == name for drawing in harvest.drawings)
        report(f"{name}: {kept} kept" + "".join(f", {n} {why}" for why, n in refused.most_common(5)))


def _checked_sizes(sizes: tuple[int, ...]) -> int:
    if not sizes or min(sizes) < 8:
        raise BadInput("A bank needs at least one size of 8 pixels or more.", field="sizes")
    largest = max(sizes)
    for size in sizes:
        if largest % size:
            raise BadInput(
                f"Size {size} does not divide {largest}: smaller sizes are averages of whole pixels.",
                hint="Choose sizes such as 256 and 128.",
                field="sizes",
            )
    return largest


def _trained_on(earlier: Path | None) -> set[tuple[str, str]]:
    if earlier is None:
        return set()
    return {(drawing.concept, drawing.style) for drawing in Bank.open(earlier).drawings if drawing.split == "train"}


def _no_use(source: Source, candidate: Candidate, raster: Raster, harvest: _Harvest) -> str | None:
    """Why this drawing is not kept; in emoji sets only a repetition of the same concept is one."""
    if raster.coverage < _SPARSE:
        return "sparse"
    if source.reader == "openclipart" and raster.chroma < _GRAY:
        return "gray"
    if harvest.looks.repeats(raster.hash_, raster.thumb, _rivals(source, candidate)):
        return "repeated"
    return None


def _rivals(source: Source, candidate: Candidate) -> str:
    """Among which drawings a repetition is dropped: a concept's where faces may differ by a smile, else the set's."""
    together = ":" in candidate.concept and candidate.words.group != "portraits"
    return source.name if together else f"{source.name} {candidate.concept}"


def _drawing(source: Source, candidate: Candidate, line: Line) -> Drawing:
    words = candidate.words
    style = style_named(source.style)
    return Drawing(
        id=candidate.id,
        source=source.name,
        style=style.key,
        family=style.family,
        concept=candidate.concept,
        en=words.en,
        zh=words.zh,
        en_keywords=words.en_keywords,
        zh_keywords=words.zh_keywords,
        measure=words.measure,
        group=words.group,
        subgroup=words.subgroup,
        square=words.group in ("flags", "symbols", "portraits") or line["fill"] > _FULL_BLEED,
        plural=words.plural,
        countable=words.countable,
        monochrome=source.tintable,
        split="train",
        weight=round(style.weight * source.weight * _group_weight(words), 4),
        twin=-1,
        rim=_rgb(line["rim"]),
        fill=line["fill"],
        licence=source.licence,
        author=candidate.author,
    )


def _rgb(values: Any) -> tuple[int, int, int]:
    red, green, blue = values
    return red, green, blue


def _group_weight(words: Words) -> float:
    """Flags and faces are many and alike; unweighted they would dominate."""
    if words.group == "flags":
        return 0.1
    if words.subgroup in ("time", "keycap", "alphanum"):
        return 0.2
    if words.subgroup == "heart" or words.subgroup in ("face-costume", "cat-face", "monkey-face"):
        return 1.0
    return 0.5 if words.group in ("smileys-emotion", "people-body", "symbols", "portraits") else 1.0


def _settled(harvest: _Harvest, held_out: frozenset[tuple[str, str]]) -> list[Drawing]:
    """The drawings with twins, split and weights: a held-out cell with a look-alike in training is given up."""
    pairs = harvest.looks.pairs()
    twins = smallest_twin(len(harvest.drawings), pairs)
    out = untwinned(
        {row for row, drawing in enumerate(harvest.drawings) if (drawing.concept, drawing.style) in held_out}, pairs
    )
    variants = Counter((drawing.source, drawing.concept) for drawing in harvest.drawings)
    return [
        replace(
            drawing,
            twin=twins[row],
            split="held_out" if row in out else "train",
            weight=round(drawing.weight / variants[drawing.source, drawing.concept], 4),
        )
        for row, drawing in enumerate(harvest.drawings)
    ]
