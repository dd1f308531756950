"""Gathering what a judge brings along, out of a workshop where two were trained and the bank they learned from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save_file

from pinxit.evaluate.asks import COUNTS, SHARES, Domain
from pinxit.evaluate.independent import LABEL, Graph, inception_features
from pinxit.evaluate.references import EXAM_COLUMNS, INDEPENDENT, JUDGE, SECOND, Marks, Source, marks
from pinxit.evaluate.run import SHARP
from pinxit.evaluate.statistics import kernel_distance
from pinxit.schema.errors import Missing
from pinxit.train.data.backgrounds import BackgroundShares
from pinxit.train.data.bank import Bank
from pinxit.train.data.composition import Composer, CompositionSettings, KindShares
from pinxit.train.data.facts import SceneFacts
from pinxit.train.data.sources import SOURCES
from pinxit.train.judge import SIDE, Judge, judged, load_judge

EXAM = 64
MARKED = 600
"""Real pictures from which the ceilings are counted."""

REAL = 512
INDEPENDENT_REAL = 384
COPY_QUANTILE = 0.99
_BATCH = 64
_WHITE_OR_COLOUR = BackgroundShares(white=0.15, colour=0.85, gradient=0, scene=0)
REALITY = CompositionSettings(
    kinds=KindShares(**{"colour": 0.0, **SHARES}),
    backgrounds=_WHITE_OR_COLOUR,
    scale=(0.6, 0.96),
    even_concepts=True,
    held_out_rules=False,
)
ALONE = CompositionSettings(
    kinds=KindShares(single=1, pair=0, size=0, count=0, colour=0),
    backgrounds=_WHITE_OR_COLOUR,
    scale=(0.78, 0.92),
    jitter=0.2,
    even_concepts=True,
)
"""Single things on plain grounds."""

Composed = tuple[torch.Tensor, tuple[SceneFacts, ...]]


def measure_reality(graph: Graph, bank: Bank, domain: Domain, destination: Path) -> Path:
    """Store what the independent network sees in real pictures of the domain, in the folder of a judge."""
    pictures = domain_pictures(bank, domain, INDEPENDENT_REAL, size=SHARP)[0]
    features = inception_features(graph, pictures)
    noise = torch.randint(0, 256, (32, 3, SHARP, SHARP), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    told = {
        "network": LABEL,
        "real": f"{kernel_distance(features[::2], features[1::2])[0]:.6g}",
        "noise": f"{kernel_distance(inception_features(graph, noise), features)[0]:.6g}",
    }
    path = destination / INDEPENDENT
    save_file({"features": features.astype(np.float16)}, path, metadata=told)
    return path


def prepare(workshop: Path, bank: Bank, destination: Path, domain: Domain) -> Path:
    """Gather two trained judges with their marks and references into `destination`.

    `domain` is that of the model which the stored real pictures stand for. Raises Missing where no judge was trained.
    """
    destination.mkdir(parents=True, exist_ok=True)
    for name in (JUDGE, SECOND):
        if not (source := workshop / f"{name}.safetensors").is_file():
            raise Missing(f"The workshop {workshop} has no {name} yet.", hint=f"Run `pinxit train {name}` first.")
        (destination / source.name).write_bytes(source.read_bytes())
    judge = load_judge(destination / f"{JUDGE}.safetensors")
    rows, hidden = bank.rows(split="train"), bank.rows(split="held_out")
    traces = drawing_traces(judge, bank, rows)
    nearest = (drawing_traces(judge, bank, hidden) @ traces.T).max(axis=1) if hidden else np.ones(1)
    features = judged(judge, domain_pictures(bank, domain, REAL)[0]).features
    arrays = {"traces": np.round(traces * 127).astype(np.int8), "features": features.numpy().astype(np.float16)}
    save_file(arrays, destination / "references.safetensors")
    pictures, facts = real_pictures(bank, domain, EXAM, seed=3)
    _save_sheet(pictures, destination / "exam.png")
    ceilings = {"train": _marks(judge, real_pictures(bank, domain, MARKED, seed=2))}
    if (unseen := held_out_pictures(bank, judge, MARKED)) is not None:
        ceilings["held_out"] = _marks(judge, unseen)
    told: dict[str, Any] = {
        "domain": asdict(domain),
        "ceilings": ceilings,
        "copy_similarity": round(float(np.quantile(nearest, COPY_QUANTILE)), 4),
        "exam": [_row(shown) for shown in facts],
        **_drawings(bank, rows),
    }
    (destination / "references.json").write_text(_compact(told), "utf-8")
    return destination


def _marks(judge: Judge, composed: Composed) -> Marks:
    """The marks on those of the pictures that a prompt could ask for."""
    pictures, facts = composed
    kept = [at for at, shown in enumerate(facts) if len(shown.objects) <= COUNTS[1]]
    return marks(judge, pictures[kept], [facts[at] for at in kept])


def held_out_pictures(bank: Bank, judge: Judge, count: int) -> Composed | None:
    """Composed pictures of drawings that no training saw but whose concept and style the judge can name, if any."""
    names = judge.config
    if not bank.rows(concepts=names.concepts, styles=names.styles, split="held_out"):
        return None
    made = Composer(bank, REALITY, size=SIDE, concepts=names.concepts, styles=names.styles, split="held_out")
    return _composed(made, count, seed=4)


def real_pictures(bank: Bank, domain: Domain, count: int, *, seed: int) -> Composed:
    """Composed pictures of real drawings of a domain, of the kinds that asks have, on plain grounds."""
    made = Composer(bank, REALITY, size=SIDE, concepts=domain.concepts, styles=domain.styles)
    return _composed(made, count, seed)


def domain_pictures(bank: Bank, domain: Domain, count: int, *, seed: int = 1, size: int = SIDE) -> Composed:
    """Real pictures such as a model of this domain should paint: single things on plain grounds."""
    return _composed(Composer(bank, ALONE, size=size, concepts=domain.concepts, styles=domain.styles), count, seed)


def _composed(composer: Composer, count: int, seed: int) -> Composed:
    batch = composer.batch(count, np.random.default_rng(seed))
    return torch.from_numpy(batch.images), batch.facts


def drawing_traces(judge: Judge, bank: Bank, rows: Sequence[int]) -> NDArray[np.float32]:
    """The judge's embeddings of drawings on white, filling most of the picture: float32 [N, E] of length one."""
    pixels = bank.pixels(next((size for size in sorted(bank.sizes) if size >= SIDE), max(bank.sizes)))
    found: list[NDArray[np.float32]] = []
    for at in range(0, len(rows), _BATCH):
        drawings = torch.from_numpy(np.ascontiguousarray(pixels[np.asarray(rows[at : at + _BATCH])])).permute(
            0, 3, 1, 2
        )
        white = (drawings[:, :3].float() + 255 - drawings[:, 3:].float()).clamp(0, 255).to(torch.uint8)
        found.append(judged(judge, white).embedding.numpy())
    return np.concatenate(found)


def _save_sheet(pictures: torch.Tensor, path: Path) -> None:
    rows = pictures.reshape(-1, EXAM_COLUMNS, 3, SIDE, SIDE).permute(0, 3, 1, 4, 2)
    Image.fromarray(rows.reshape(-1, EXAM_COLUMNS * SIDE, 3).numpy()).save(path, optimize=True)


def _row(shown: SceneFacts) -> dict[str, Any]:
    return {
        "kind": shown.kind,
        "things": [(thing.drawing.concept, thing.drawing.style, thing.size) for thing in shown.objects],
        "ground": shown.background.kind,
        "colours": shown.background.colours,
        "relation": shown.relation,
    }


def _drawings(bank: Bank, rows: Sequence[int]) -> dict[str, Any]:
    drawings = [bank.drawings[row] for row in rows]
    names = list(dict.fromkeys(drawing.source for drawing in drawings))
    packages = {source.name: source for source in SOURCES}
    sources = [
        Source(name=name, package=f"{known.package} {known.version}", licence=known.licence, author=known.author)
        if (known := packages.get(name))
        else Source(name=name, package=name, licence="not known", author="not known")
        for name in names
    ]
    return {
        "sources": [asdict(source) for source in sources],
        "drawings": [
            (drawing.id, names.index(drawing.source), drawing.en[0], drawing.concept, drawing.style)
            for drawing in drawings
        ],
    }


def _compact(told: dict[str, Any]) -> str:
    """JSON with a line for every entry, and for every drawing in the long list."""
    entries = [
        f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"
        for name, value in told.items()
        if name != "drawings"
    ]
    rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in told["drawings"])
    return "{\n" + ",\n".join(entries) + ',\n"drawings": [\n' + rows + "\n]}\n"
