"""Runs that need words alone: the vocabulary and the text encoder's warm-up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pinxit.models.common.clip import ClipText
from pinxit.prompts.bpe_training import train_bpe, vocabulary_files
from pinxit.prompts.tokenizer import ClipTokenizer
from pinxit.train.conditioning import TextTask, text_config
from pinxit.train.data.backgrounds import BackgroundShares
from pinxit.train.data.bank import Bank
from pinxit.train.data.captions import caption
from pinxit.train.data.composition import Composer, CompositionSettings, KindShares
from pinxit.train.data.facts import SceneFacts
from pinxit.train.loop import Summary
from pinxit.train.recipe import Composing, Selection, TextRecipe, TextShape
from pinxit.train.workshop import (
    Job,
    Report,
    begin_with,
    chosen_keys,
    load_component,
    read_shapes,
    save_component,
    train_averaged,
)

NO_BACKGROUND = BackgroundShares(white=0, colour=0, gradient=0, scene=0)
NO_KIND = KindShares(single=0, pair=0, size=0, count=0, colour=0)


def composer(bank: Bank, selection: Selection, composing: Composing, *, size: int | tuple[int, int]) -> Composer:
    """The composer that a recipe describes, for pictures of `size` pixels (or width and height)."""
    from dataclasses import replace

    settings = CompositionSettings(
        kinds=replace(NO_KIND, **composing.kinds),
        backgrounds=replace(NO_BACKGROUND, **composing.backgrounds),
        scale=composing.scale,
        jitter=composing.jitter,
    )
    return Composer(bank, settings, size=size, concepts=chosen_keys(selection), styles=selection.styles or None)


def stated_facts(facts: SceneFacts) -> frozenset[str]:
    """What a picture shows, as names of classes."""
    found = {f"concept:{thing.drawing.concept}" for thing in facts.objects}
    found |= {f"style:{thing.drawing.style}" for thing in facts.objects}
    found |= {f"tint:{thing.colour}" for thing in facts.objects if thing.colour}
    found |= {f"ground:{colour}" for colour in facts.background.colours}
    found.add(f"ground:{facts.background.kind}")
    found.add(f"kind:{facts.kind}:{len(facts.objects)}")
    if facts.background.place:
        found.add(f"place:{facts.background.place}:{facts.background.time}")
    if facts.relation:
        found.add(f"relation:{facts.relation}")
    return frozenset(found)


def learn_vocabulary(bank: Bank, recipe: TextRecipe, folder: Path) -> ClipTokenizer:
    """Learn the vocabulary from captions of every drawing in the bank, and write `vocab.json` and `merges.txt`."""
    everything = composer(bank, Selection(), recipe.composing.model_copy(update={"jitter": 0.0}), size=16)
    rng = np.random.default_rng(recipe.optimisation.seed)
    captions = (caption(everything.compose(rng)[1], rng) for _ in range(recipe.vocabulary_captions))
    vocabulary, merges = train_bpe(captions, recipe.shape.vocabulary)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(("vocab.json", "merges.txt"), vocabulary_files(vocabulary, merges), strict=True):
        (folder / name).write_text(text, "utf-8")
    return ClipTokenizer.from_folder(folder)


def run_text(job: Job, recipe: TextRecipe, bank: Bank, report: Report) -> Summary:
    """Learn the vocabulary, then warm the text encoder up on the facts of captions."""
    folder = job.workshop / "tokenizer"
    if job.workers.rank == 0 and not (folder / "vocab.json").is_file():
        learn_vocabulary(bank, recipe, folder)
        report("learned the vocabulary")
    job.workers.wait()
    tokenizer = ClipTokenizer.from_folder(folder)
    torch.manual_seed(recipe.optimisation.seed)
    text = ClipText(text_config(recipe.shape, tokenizer)).to(job.device)
    begin_with(job.workshop, "text", text, recipe.shape)
    scenes = composer(bank, recipe.data, recipe.composing, size=16)

    def captions(step: int, count: int) -> tuple[list[str], list[frozenset[str]]]:
        rng = np.random.Generator(np.random.Philox(key=[job.seed, step]))
        facts = [scenes.compose(rng)[1] for _ in range(count)]
        return [caption(shown, rng) for shown in facts], [stated_facts(shown) for shown in facts]

    rng = np.random.default_rng(0)
    known = frozenset[str]().union(*(stated_facts(scenes.compose(rng)[1]) for _ in range(8000)))
    task = TextTask(recipe, text, tokenizer, captions, sorted(known))
    task.networks.to(job.device)
    summary = train_averaged(job, task, report)
    if job.workers.rank == 0:
        save_component(job.workshop, "text", text, {"text": recipe.shape.model_dump(mode="json")})
    return summary


def load_text(workshop: Path) -> tuple[ClipText, ClipTokenizer]:
    tokenizer = ClipTokenizer.from_folder(workshop / "tokenizer")
    text = ClipText(text_config(TextShape.model_validate(read_shapes(workshop).get("text", {})), tokenizer))
    load_component(workshop, "text", text)
    return text, tokenizer
