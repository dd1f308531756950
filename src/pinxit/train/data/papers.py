"""The papers of a bank: what was fetched, what was refused, and whose the drawings are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pinxit.train.data.bank import FORMAT, Drawing
from pinxit.train.data.listing import Listing
from pinxit.train.data.sources import Source


def write_papers(
    folder: Path,
    listing: Listing,
    drawings: Sequence[Drawing],
    sizes: Sequence[int],
    refused: Mapping[str, Mapping[str, int]],
) -> None:
    """Write `sources.json`, `bank.json` and `attribution.md`, each about the sources that gave a drawing."""
    counts = Counter(drawing.source for drawing in drawings)
    used = [source for source in listing.sources if counts[source.name]]
    fetched = [
        {
            "source": source.name,
            "client": source.client,
            "package": source.package,
            "version": source.version,
            "sha256": source.sha256,
            "licence": source.licence,
        }
        for source in (listing.labels, *used)
    ]
    about = {
        "format": FORMAT,
        "count": len(drawings),
        "sizes": sorted(sizes, reverse=True),
        "listed": {source.name: len(listing.packages[source.name].candidates) for source in used},
        "refused": {name: dict(reasons) for name, reasons in refused.items()},
    }
    (folder / "sources.json").write_text(json.dumps(fetched, indent=1), encoding="utf-8")
    (folder / "bank.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    (folder / "attribution.md").write_text(_attribution(listing, used, drawings, counts), encoding="utf-8")


def _attribution(
    listing: Listing, used: Sequence[Source], drawings: Sequence[Drawing], counts: Mapping[str, int]
) -> str:
    lines = [
        "# Attribution",
        "",
        "The drawings in this bank, cropped and scaled, come from these packages.",
        "",
        "| set | package | drawings | authors | licence | the package says |",
        "|---|---|---|---|---|---|",
    ]
    for source in used:
        said = listing.packages[source.name].attribution.replace("|", "/")
        lines.append(
            f"| {source.name} | {source.package} {source.version} | {counts[source.name]} "
            f"| {source.author} | {source.licence} | {said} |"
        )
    labels = listing.labels
    lines += ["", f"Names and keywords: {labels.package} {labels.version}, {labels.author}, {labels.licence}.", ""]
    artists = sorted({drawing.author for drawing in drawings} - {source.author for source in used})
    if artists:
        lines += ["## Named artists", "", ", ".join(artists), ""]
    return "\n".join(lines)
