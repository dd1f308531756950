"""What a trained model says of itself: its card, its sources, and how the training went."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pinxit.train.data.bank import Bank
from pinxit.train.data.concepts import named_concepts
from pinxit.train.data.sources import STYLES
from pinxit.train.recipe import Selection

CURVE_POINTS = 120


def history(workshop: Path) -> dict[str, dict[str, Any]]:
    """Every run by its name: the recipe as it was run, samples seen, and the log thinned to a drawable curve."""
    found: dict[str, dict[str, Any]] = {}
    for log in sorted((workshop / "runs").glob("*/log.jsonl")):
        lines: list[dict[str, float]] = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
        recipe: dict[str, Any] = json.loads((log.parent / "recipe.json").read_text("utf-8"))
        stride = max(1, len(lines) // CURVE_POINTS)
        found[log.parent.name] = {
            "recipe": recipe,
            "samples": int(sum(_samples(lines, recipe["optimisation"]["batch"]))),
            "log": [*lines[:-1:stride], *lines[-1:]],
        }
    return found


def _samples(lines: Sequence[Mapping[str, float]], batch: int) -> Iterator[float]:
    """Samples between the log's lines. A line that goes back belongs to a run that was started again."""
    before = 0.0
    for line in lines:
        yield max(0.0, line["step"] - before) * line.get("batch", batch)
        before = line["step"]


def concept_names(bank: Bank, selection: Selection, keys: Sequence[str]) -> list[tuple[str, str, tuple[str, ...]]]:
    """(English name, Chinese name, styles) of every concept that was learned, in the curriculum's order."""
    known = named_concepts()
    rows: list[tuple[str, str, tuple[str, ...]]] = []
    for key in keys:
        drawn = bank.rows(concepts=(key,), styles=selection.styles or None, split="train")
        styles = tuple(dict.fromkeys(bank.drawings[row].style for row in drawn))
        if drawn and key in known:
            rows.append((known[key].en[0], known[key].zh[0], styles))
    return rows


def model_card(
    concepts: Sequence[tuple[str, str, tuple[str, ...]]],
    facts: Mapping[str, str],
    sources: Sequence[str],
    extras: Mapping[str, str],
) -> str:
    """The card in Markdown: what the model can paint, what it cannot, what it learned from, and under which licence.

    `facts` are measured figures by name; `sources` the sets of drawings; `extras` files beside the model, with what
    they are.
    """
    words = {style.key: f"{style.en[0]} ({style.zh[0]})" for style in STYLES}
    styles = list(dict.fromkeys(style for _, _, drawn in concepts for style in drawn))
    lines = [
        "---",
        "license: cc-by-4.0",
        "language: [en, zh]",
        "pipeline_tag: text-to-image",
        "---",
        "",
        "# The built-in model of pinxit",
        "",
        "A small latent-diffusion model in the form of SDXL with one text encoder, trained from nothing on openly "
        "licensed emoji drawings by `pinxit train`. It paints single objects on plain grounds at 256 pixels, from "
        "English and Chinese prompts, and is meant for first steps, tests and study.",
        "",
        "## What it paints",
        "",
        f"{len(concepts)} things, in these styles: {', '.join(words[style] for style in styles)}; on white, on one of "
        "fourteen named colours, or on a gradient of two. A prompt such as `a cat, 3d style, blue background` or "
        "`一只猫，3D风格，蓝色背景` is what it knows best.",
        "",
        ", ".join(f"{english} ({chinese})" for english, chinese, _ in concepts) + ".",
        "",
        "## What it cannot do",
        "",
        "Anything that is not in the list above: other things, people, photographs, written words, scenes, several "
        "objects, counts and positions. Unknown words give a known thing or a blur. Details smaller than about eight "
        "pixels are soft, because sixteen pixels share one latent position. Pictures of other shapes than a square "
        "were not trained. What it paints can resemble a training drawing closely; the licences below allow that "
        "with attribution.",
        "",
        "## Figures",
        "",
        "| what | value |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in facts.items()),
        "",
        *(["## Beside it", "", *(f"- `{name}`: {text}" for name, text in extras.items()), ""] if extras else ()),
        "## Sources and licence",
        "",
        f"Learned from {', '.join(sources)}. Authors and licences are in `ATTRIBUTION.md`. Held-out drawings were "
        "fixed by hash before training and never shown. The weights are released under CC-BY-4.0: name pinxit and "
        "the sets.",
        "",
        "`training.json` holds the recipes and the loss curves.",
        "",
    ]
    return "\n".join(lines)
