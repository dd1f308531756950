"""Make a bank of drawings: fetch the packages, render every drawing, drop what is no use, fix the held-out split."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pinxit.schema.errors import BadInput, Missing, PinxitError
from pinxit.train.data.bank import FORMAT, Bank, Drawing, write_index
from pinxit.train.data.drawings import Candidate, Package, iter_styles, read_package
from pinxit.train.data.fetch import fetch
from pinxit.train.data.names import Labels, Words, read_labels
from pinxit.train.data.raster import Raster, Rasteriser, Refused
from pinxit.train.data.sources import FIRST_SOURCES, LABELS, SOURCES, Source, source_named, style_named
from pinxit.train.data.split import held_out_cells
from pinxit.train.data.twins import Looks, smallest_twin, untwinned

Report = Callable[[str], None]

_SPARSE = 0.015
_GRAY = 12.0
_FULL_BLEED = 0.85
_HEADER = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What to build.

    `sources` names the sets to render (None: all of `table`); the split counts the styles of every set in `table`, so
    that a small bank never shows what a larger one holds out. `sizes` are edge lengths in pixels, each a divisor of
    the largest. `time_limit` is seconds per drawing, `limit` the number of drawings per source (None: all).
    `continues` names an earlier bank that a model has been trained on: what that one trained on is not held out here.
    `keep_going` goes on without a source that is gone or changed.
    """

    folder: Path
    cache: Path
    sources: tuple[str, ...] | None = FIRST_SOURCES
    sizes: tuple[int, ...] = (256, 128)
    time_limit: float = 10.0
    limit: int | None = None
    keep_going: bool = False
    continues: Path | None = None
    table: tuple[Source, ...] = SOURCES
    labels: Source = LABELS


@dataclass(slots=True)
class _Harvest:
    """What has been rendered so far; `refused` counts reasons per source."""

    drawings: list[Drawing] = field(default_factory=list[Drawing])
    looks: Looks = field(default_factory=Looks)
    refused: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])


def build(options: BuildOptions, report: Report) -> Bank:
    """Build a bank in `options.folder`, whole or not at all.

    Raises BadInput for sizes that do not divide, for a folder that is taken and for changed packages, and Missing for
    packages that cannot be fetched, unless `keep_going` is set.
    """
    largest = _checked_sizes(options.sizes)
    if options.folder.exists():
        raise BadInput(
            f"{options.folder} already exists.", hint="Choose another folder, or delete it if nothing uses it."
        )
    wanted = {source_named(name, options.table).name for name in options.sources or ()} or None
    labels = read_labels(fetch(options.labels, options.cache))
    packages = _packages(options, labels, report)
    held_out = _held_out(packages, options, labels)
    partial = options.folder.with_name(options.folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    harvest = _Harvest()
    with (
        Rasteriser(size=largest, time_limit=options.time_limit) as rasteriser,
        _PixelWriter(partial, options.sizes) as writer,
    ):
        for source in options.table:
            if source.name in packages and (wanted is None or source.name in wanted):
                _render(source, packages[source.name], options, rasteriser, writer, harvest, report)
    if not harvest.drawings:
        raise Missing(
            "None of the sources gave a single drawing.", hint="See the reports above: packages gone, or all refused."
        )
    drawings = _settled(harvest, held_out)
    write_index(partial, drawings)
    used = [source for source in options.table if source.name in {drawing.source for drawing in drawings}]
    _write_papers(partial, options, used, packages, harvest)
    partial.rename(options.folder)
    report(f"{len(drawings)} drawings, {sum(drawing.split == 'held_out' for drawing in drawings)} of them held out")
    return Bank.open(options.folder)


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


def _packages(options: BuildOptions, labels: Labels, report: Report) -> dict[str, Package]:
    """Everything the table names, fetched and listed; with `keep_going`, a source that fails is left out, and said."""
    packages: dict[str, Package] = {}
    for source in options.table:
        try:
            packages[source.name] = read_package(source, fetch(source, options.cache), labels)
        except PinxitError as error:
            if not options.keep_going:
                raise
            report(f"left out {source.name}: {error}")
        else:
            report(f"{source.name}: {len(packages[source.name].candidates)} drawings listed")
    return packages


def _held_out(packages: dict[str, Package], options: BuildOptions, labels: Labels) -> frozenset[tuple[str, str]]:
    styles: dict[str, set[str]] = {}
    for concept, style in iter_styles(packages, {source.name: source.style for source in options.table}):
        if labels.words[concept].group != "flags":
            styles.setdefault(concept, set()).add(style)
    return held_out_cells(styles) - _trained_on(options.continues)


def _trained_on(earlier: Path | None) -> set[tuple[str, str]]:
    if earlier is None:
        return set()
    return {(drawing.concept, drawing.style) for drawing in Bank.open(earlier).drawings if drawing.split == "train"}


def _render(
    source: Source,
    package: Package,
    options: BuildOptions,
    rasteriser: Rasteriser,
    writer: _PixelWriter,
    harvest: _Harvest,
    report: Report,
) -> None:
    refused = harvest.refused.setdefault(source.name, Counter())
    kept: Counter[str] = Counter()
    for candidate in package.candidates[: options.limit]:
        raster = rasteriser.render(candidate.kind, candidate.data)
        reason = raster.reason if isinstance(raster, Refused) else _no_use(source, candidate, raster, harvest)
        if isinstance(raster, Refused) or reason is not None:
            refused[str(reason)] += 1
            continue
        kept[candidate.concept] += 1
        harvest.looks.add(raster.hash_, raster.thumb, _rivals(source, candidate))
        harvest.drawings.append(_drawing(source, candidate, raster))
        writer.append(raster.pixels)
    report(f"{source.name}: {kept.total()} kept" + "".join(f", {n} {why}" for why, n in refused.most_common(5)))


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
    """Among which drawings a repetition is dropped: a concept's in emoji sets, where faces may differ by a smile."""
    return source.name if ":" in candidate.concept else f"{source.name} {candidate.concept}"


def _drawing(source: Source, candidate: Candidate, raster: Raster) -> Drawing:
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
        square=words.group in ("flags", "symbols") or raster.fill > _FULL_BLEED,
        plural=words.plural,
        countable=words.countable,
        monochrome=source.tintable,
        split="train",
        weight=round(style.weight * source.weight * _group_weight(words), 4),
        twin=-1,
        rim=raster.rim,
        fill=round(raster.fill, 4),
        licence=source.licence,
        author=candidate.author,
    )


def _group_weight(words: Words) -> float:
    """Flags and faces are many and alike; unweighted they would dominate."""
    if words.group == "flags":
        return 0.1
    if words.subgroup in ("time", "keycap", "alphanum"):
        return 0.2
    if words.subgroup == "heart" or words.subgroup in ("face-costume", "cat-face", "monkey-face"):
        return 1.0
    return 0.5 if words.group in ("smileys-emotion", "people-body", "symbols") else 1.0


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


def _write_papers(
    folder: Path, options: BuildOptions, used: list[Source], packages: dict[str, Package], harvest: _Harvest
) -> None:
    fetched = [
        {
            "source": source.name,
            "client": source.client,
            "package": source.package,
            "version": source.version,
            "sha256": source.sha256,
            "licence": source.licence,
        }
        for source in (options.labels, *used)
    ]
    about = {
        "format": FORMAT,
        "count": len(harvest.drawings),
        "sizes": sorted(options.sizes, reverse=True),
        "refused": {name: dict(reasons) for name, reasons in harvest.refused.items()},
    }
    (folder / "sources.json").write_text(json.dumps(fetched, indent=1), encoding="utf-8")
    (folder / "bank.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    (folder / "attribution.md").write_text(_attribution(options.labels, used, packages, harvest), encoding="utf-8")


def _attribution(labels: Source, used: list[Source], packages: dict[str, Package], harvest: _Harvest) -> str:
    counts = Counter(drawing.source for drawing in harvest.drawings)
    lines = [
        "# Attribution",
        "",
        "The drawings in this bank, cropped and scaled, come from these packages.",
        "",
        "| set | package | drawings | authors | licence | the package says |",
        "|---|---|---|---|---|---|",
    ]
    for source in used:
        said = packages[source.name].attribution.replace("|", "/")
        lines.append(
            f"| {source.name} | {source.package} {source.version} | {counts[source.name]} "
            f"| {source.author} | {source.licence} | {said} |"
        )
    lines += ["", f"Names and keywords: {labels.package} {labels.version}, {labels.author}, {labels.licence}.", ""]
    artists = sorted({drawing.author for drawing in harvest.drawings} - {source.author for source in used})
    if artists:
        lines += ["## Named artists", "", ", ".join(artists), ""]
    return "\n".join(lines)


class _PixelWriter:
    """Appends drawings to one .npy file per size; the headers are written on leaving, when the count is known."""

    def __init__(self, folder: Path, sizes: tuple[int, ...]) -> None:
        self._files: dict[int, BinaryIO] = {size: (folder / f"pixels_{size}.npy").open("wb") for size in sizes}
        self._count = 0
        for file in self._files.values():
            file.write(bytes(_HEADER))

    def __enter__(self) -> _PixelWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for size, file in self._files.items():
            shape = (self._count, size, size, 4)
            text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
            file.seek(0)
            file.write(np.lib.format.magic(1, 0) + (_HEADER - 10).to_bytes(2, "little"))
            file.write(text.ljust(_HEADER - 11) + b"\n")
            file.close()

    def append(self, pixels: NDArray[np.uint8]) -> None:
        """Add uint8 [S, S, 4] at the largest size, and its averages at the others."""
        for size, file in self._files.items():
            file.write(shrunk(pixels, pixels.shape[0] // size).tobytes())
        self._count += 1


def shrunk(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Premultiplied uint8 [S, S, 4] averaged over `factor` x `factor` pixels."""
    if factor == 1:
        return pixels
    side = pixels.shape[0] // factor
    blocks = pixels.reshape(side, factor, side, factor, 4).astype(np.uint32).sum((1, 3))
    return ((blocks + factor * factor // 2) // (factor * factor)).astype(np.uint8)
