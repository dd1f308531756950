"""Runs that need words: the vocabulary and the text encoder's warm-up, and the U-Net with its latents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pinxit.models.common.clip import ClipText
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.vae import AutoencoderKL
from pinxit.prompts.bpe_training import train_bpe, vocabulary_files
from pinxit.prompts.tokenizer import ClipTokenizer
from pinxit.train.autoencoder import encode_inner, on_device
from pinxit.train.conditioning import TextTask, text_config
from pinxit.train.data.backgrounds import BackgroundShares
from pinxit.train.data.bank import Bank
from pinxit.train.data.captions import caption
from pinxit.train.data.composition import Composer, CompositionSettings, KindShares
from pinxit.train.data.facts import SceneFacts
from pinxit.train.diffusion import REFINER_SIZES, SIZES, DiffusionTask, LatentPool, unet_config
from pinxit.train.loop import Summary
from pinxit.train.recipe import Composing, DiffusionRecipe, RefinerRecipe, Selection, TextRecipe, TextShape
from pinxit.train.workshop import (
    Job,
    Report,
    begin_with,
    chosen_keys,
    load_component,
    load_vae,
    needed,
    read_shapes,
    save_component,
    train_averaged,
)

NO_BACKGROUND = BackgroundShares(white=0, colour=0, gradient=0, scene=0)
NO_KIND = KindShares(single=0, pair=0, size=0, count=0, colour=0)
ENCODE_BATCH = 32
REFINER = "refiner"
"""What the second U-Net is called in a workshop."""
ADDED = "label_emb.0.0.weight"
"""What reads the pooled text and the sizes."""


def composer(bank: Bank, selection: Selection, composing: Composing, *, size: int) -> Composer:
    """The composer that a recipe describes, for pictures of `size` pixels."""
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


def run_diffusion(job: Job, recipe: DiffusionRecipe | RefinerRecipe, bank: Bank, report: Report) -> Summary:
    """Train the U-Net, or a second one that refines, on the workshop's autoencoder and text encoder."""
    refines = isinstance(recipe, RefinerRecipe)
    name = REFINER if refines else "unet"
    vae = load_vae(job.workshop).to(job.device)
    text, tokenizer = load_text(job.workshop)
    config = unet_config(
        recipe.shape,
        z_channels=vae.config.z_channels,
        text_width=text.config.width,
        sizes=REFINER_SIZES if refines else SIZES,
    )
    torch.manual_seed(recipe.optimisation.seed)
    unet = UNet(config, dropout=recipe.dropout)
    if refines:
        first = load_file(needed(job.workshop, "unet"))
        first[ADDED] = first[ADDED][:, : -(SIZES - REFINER_SIZES + 1) * recipe.shape.size_embedding]  # no score there
        begin_as(unet, first)
    begin_with(job.workshop, name, unet, recipe.shape)
    half = composer(bank, recipe.data, recipe.composing, size=recipe.size // 2)
    pool = LatentPool(
        filler(job.seed, half, vae, size=recipe.size, report=report), count=recipe.pool, refresh=recipe.refresh
    )
    task = DiffusionTask(recipe, unet, text, tokenizer, pool, seed=job.seed)
    task.networks.to(job.device)
    summary = train_averaged(job, task, report)
    if job.workers.rank == 0:
        if not refines:
            save_component(job.workshop, "text", text, {"size": recipe.size})
        save_component(job.workshop, name, unet, {name: recipe.shape.model_dump(mode="json")})
    return summary


@torch.no_grad()
def begin_as(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Take over what fits of another network's weights; of one that differs in its inputs, those that both have.

    Inputs that the other network lacks begin as ignored.
    """
    for name, parameter in network.named_parameters():
        theirs = state.get(name)
        if theirs is None or theirs.shape[:1] != parameter.shape[:1] or theirs.shape[2:] != parameter.shape[2:]:
            continue
        if theirs.shape == parameter.shape:
            parameter.copy_(theirs)
        else:
            shared = min(theirs.shape[1], parameter.shape[1])
            parameter.zero_()
            parameter[:, :shared] = theirs[:, :shared]


def filler(
    seed: int, half: Composer, vae: AutoencoderKL, *, size: int, report: Report
) -> Callable[[int, int], tuple[Tensor, Tensor, Callable[[int, np.random.Generator], str]]]:
    """Composes pictures at half `size` and encodes them, for a LatentPool."""

    def fill(turn: int, count: int) -> tuple[Tensor, Tensor, Callable[[int, np.random.Generator], str]]:
        rng = np.random.Generator(np.random.Philox(key=[seed, 1_000_000 + turn]))
        latents: list[Tensor] = []
        facts: list[SceneFacts] = []
        for start in range(0, count, ENCODE_BATCH):
            batch = half.batch(min(ENCODE_BATCH, count - start), rng)
            facts.extend(batch.facts)
            latents.append(encode_pictures(vae, torch.from_numpy(batch.images)))
        report(f"composed {count} pictures")
        sizes = torch.tensor([[size, size, 0, 0, size, size]]).float().expand(count, -1)
        return torch.cat(latents), sizes, lambda item, draw: caption(facts[item], draw)

    return fill


@torch.no_grad()
def encode_pictures(vae: AutoencoderKL, half_size: Tensor) -> Tensor:
    """Latent means, float32, of uint8 pictures at half the model's size."""
    x = on_device(half_size, vae)
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        mean, _ = encode_inner(vae, x)
    return mean.float().cpu()
