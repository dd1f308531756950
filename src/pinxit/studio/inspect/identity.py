"""What the tensors of a file are: a family's checkpoint, a kind of network file, or what they merely look like."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pinxit.engine.catalog import Catalog
from pinxit.models.contract import AnyFamily, Facts
from pinxit.models.kinds import About, find_kind
from pinxit.schema.errors import ModelError
from pinxit.studio.inspect.adapters import algorithm, base_family
from pinxit.studio.inspect.inspection import Component
from pinxit.studio.inspect.known import LANGUAGE_MODELS, LanguageModel
from pinxit.studio.inspect.words import TEXTS, Note, note, plain
from pinxit.weights.header import Header, TensorInfo
from pinxit.weights.identify import Match, Views, identify, match_layout
from pinxit.weights.looks import looks_like

PREDICTIONS: Mapping[str, str] = {"velocity": "v-prediction", "edm_velocity": "edm-v-prediction"}
"""The field's words where ours differ."""

KINDS: Mapping[str, str] = {"esrgan": "upscaler", "clip-text": "text-encoder", "t5": "text-encoder"}
"""What we call a kind where its name is that of one sort of such networks."""

LOOKS: tuple[tuple[str, str], ...] = (
    (r"LoRA|DoRA|LyCORIS|OFT|IA3", "lora"),
    (r"IP-Adapter", "ip-adapter"),
    (r"ControlNet|Control-", "controlnet"),
    (r"T2I-Adapter", "t2i-adapter"),
    (r"embedding|inversion", "embedding"),
    (r"hypernetwork", "hypernetwork"),
    (r"upscaler", "upscaler"),
    (r"tiny VAE|TAESD", "taesd"),
    (r"of a diffusers folder|without its text encoder", "diffusers-part"),
    (r"diffusers folder", "diffusers"),
    (r"Stable Diffusion .*(model|in one file)", "checkpoint"),
    (r"VAE", "vae"),
    (r"T5", "text-encoder"),
    (r"CLIP vision", "clip-vision"),
    (r"text encoder", "text-encoder"),
    (r"language model", "language-model"),
    (r"\bmodel\b", "other-model"),
    (r"without any tensors", "empty"),
)
"""Kinds by the nouns of `looks_like`, most particular first."""


SMALL = ("lora", "embedding", "hypernetwork")
"""Kinds of additions that change a model and hold no network of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the tensors are, in the terms of `Inspection`; `facts` and `match` where a family explains the file."""

    kind: str
    title: Note
    evidence: tuple[str, ...]
    components: tuple[Component, ...]
    family: AnyFamily | None = None
    goes_with: str | None = None
    candidates: tuple[str, ...] = ()
    variant: str | None = None
    prediction: str | None = None
    facts: Facts | None = None
    match: Match | None = None
    missing: tuple[str, ...] = ()
    layout: str | None = None
    hint: str = ""
    language_model: LanguageModel | None = None
    scheduler: Mapping[str, object] = field(default_factory=dict[str, object])


def identity(header: Header, catalog: Catalog) -> Identity:
    """What `header` is. Never raises for a file that nobody knows: then it says what it looks like."""
    reasons: list[str] = []
    layouts = [layout for family in catalog.families for layout in family.layouts]
    views = Views(header.shapes)
    try:
        return _family(identify(header, layouts, views=views), catalog)
    except ModelError as error:
        reasons.append(error.message)
    try:
        return _kind(header, catalog)
    except ModelError as error:
        reasons.append(error.message)
    return _part(header, catalog) or _looks(header, catalog, reasons[0], views)


def _part(header: Header, catalog: Catalog) -> Identity | None:
    """The U-Net or transformer of a diffusers folder, taken out of it: as if it lay there alone."""
    for name in sorted({family.denoiser for family in catalog.families}):
        layouts = [layout for family in catalog.families for layout in family.layouts if layout.folder]
        moved = replace(
            header,
            tensors={f"{name}/{tensor}": info for tensor, info in header.tensors.items()},
            configs={f"{name}/{file}": values for file, values in header.configs.items()},
        )
        try:
            found = _family(identify(moved, layouts), catalog)
        except ModelError:
            continue
        return replace(found, kind="diffusers-part", title=note("kind.diffusers-part"))
    return None


def _family(match: Match, catalog: Catalog) -> Identity:
    family = catalog.families.get(match.family)
    config: Any = None
    facts: Facts | None = None
    trouble: tuple[str, ...] = ()
    try:
        config = family.config_from(match)
        facts = family.facts(config)
    except ModelError as error:
        trouble = (f"its settings cannot be read: {error.message}",)
    prediction, because = _prediction(facts, config)
    kind = _kind_of(match, family)
    optional = [part.component for part in match.layout.parts if part.component not in match.parts and not part.like]
    return Identity(
        kind=kind,
        title=note(f"kind.{kind}"),
        family=family,
        evidence=(*because, *match.evidence, *trouble),
        components=_components(match),
        variant=_variant(config),
        prediction=prediction,
        facts=facts,
        match=match,
        layout="single" if kind == "checkpoint" else "diffusers",
        missing=facts.absent if facts else tuple(optional),
        scheduler=_scheduler(facts),
    )


def _kind_of(match: Match, family: AnyFamily) -> str:
    """A checkpoint, a diffusers folder, or the denoiser of one under the names that it has there."""
    if match.layout.folder:
        return "diffusers"
    alone = [name for name, part in match.parts.items() if part.place.table.name.startswith("diffusers")]
    return "diffusers-part" if alone == [family.denoiser] == list(match.parts) else "checkpoint"


def _prediction(facts: Facts | None, config: Any) -> tuple[str | None, tuple[str, ...]]:
    """The prediction type, and the sentence that says how it is known. Where nothing says it, that is the answer."""
    if facts is None:
        return "unknown", ()
    name = PREDICTIONS.get(facts.prediction, facts.prediction)
    told = getattr(config, "prediction", None)
    if bool(getattr(told, "assumed", False)) or facts.evidence.startswith("unknown"):
        return f"unknown, assuming {name}", (f"prediction: {facts.evidence}",)
    named = facts.evidence.lower().startswith((name, "edm"))
    return name, (facts.evidence if named else f"{name}: {facts.evidence}",)


def _variant(config: Any) -> str | None:
    variant = getattr(config, "variant", None)
    return str(variant) if variant else None


def _scheduler(facts: Facts | None) -> dict[str, object]:
    """What travels with the model: how it mixes noise, and what it paints with where nobody asks for anything else."""
    if facts is None:
        return {}
    process, usual = facts.process, facts.defaults
    told: dict[str, object] = {
        "process": type(process).__name__,
        "zero_terminal_snr": process.zero_terminal,
        "sigma_min": process.sigma_min,
        "sigma_max": process.sigma_max,
    }
    for name in ("shift", "sigma_data"):
        if isinstance(value := getattr(process, name, None), int | float):
            told[name] = value
    return told | {
        "latent_channels": facts.latent.channels,
        "latent_scale": facts.latent.scale,
        "latent_shift": facts.latent.shift,
        "width": usual.width,
        "height": usual.height,
        "steps": usual.steps,
        "sampler": usual.sampler,
        "schedule": usual.schedule,
        "guidance": usual.guidance,
    }


def _kind(header: Header, catalog: Catalog) -> Identity:
    found = find_kind(header, catalog.kinds)
    name = KINDS.get(found.kind.name, found.kind.name.replace("_", "-"))
    trouble: tuple[str, ...] = ()
    try:
        about = found.about
    except ModelError as error:
        about, trouble = About(), (f"its settings cannot be read: {error.message}",)
    return Identity(
        kind=name,
        title=kind_title(name, found.kind.title),
        evidence=(*about.evidence, *found.match.evidence, *trouble),
        components=_components(found.match) or (component_of(name, header.tensors.values()),),
        goes_with=about.bases[0] if about.bases else None,
        candidates=about.bases[1:],
        variant=about.variant or (algorithm(header) if name == "lora" else None),
        match=found.match,
        layout=("diffusers" if found.match.layout.folder else "single") if found.match.parts else None,
        hint=found.kind.hint,
    )


def kind_title(name: str, title: str) -> Note:
    """The title of a kind: ours where we have words for it, else the one that it brings."""
    return note(f"kind.{name}") if f"kind.{name}" in TEXTS else plain(title)


def _looks(header: Header, catalog: Catalog, reason: str, views: Views) -> Identity:
    noun, hint = looks_like(header)
    kind = next((name for pattern, name in LOOKS if re.search(pattern, noun)), "unknown")
    layouts = [layout for family in catalog.families for layout in family.layouts]
    near = [layout.family for layout in layouts if match_layout(header, layout, views=views)] if kind != "empty" else []
    model = _language_model(views.shapes)
    base, source = base_family(header, kind) if kind in SMALL else (None, "")
    evidence = [f"it looks like {noun}"]
    evidence += [f"its table of words has the size of {model.title}"] if model else []
    evidence += [source] if source else []
    return Identity(
        kind=kind,
        title=kind_title(kind, noun),
        evidence=(*evidence, *([reason] if near else [])),
        components=(component_of("tensors", header.tensors.values()),) if header.tensors else (),
        goes_with=base if base in catalog.families.names() else None,
        candidates=tuple(dict.fromkeys(near)),
        variant=model.title if model else algorithm(header) if kind == "lora" else None,
        hint=hint,
        language_model=model,
    )


def _language_model(shapes: Mapping[str, Sequence[int]]) -> LanguageModel | None:
    return next((known for known in LANGUAGE_MODELS if tuple(shapes.get(known.table, ())) == known.shape), None)


def _components(match: Match) -> tuple[Component, ...]:
    tensors = match.header.tensors
    found: list[Component] = []
    for name, part in match.parts.items():
        names = dict.fromkeys(theirs for entry in part.entries for theirs in entry.theirs if theirs in tensors)
        found.append(component_of(name, [tensors[theirs] for theirs in names]))
    return tuple(found)


def component_of(name: str, infos: Iterable[TensorInfo]) -> Component:
    """The sums over some tensors."""
    count, numbers, sizes = 0, 0, Counter[str]()
    for info in infos:
        count += 1
        numbers += math.prod(info.shape)
        sizes[info.dtype] += info.end - info.start
    return Component(name=name, tensors=count, parameters=numbers, dtypes=dict(sizes))
