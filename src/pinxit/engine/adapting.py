"""Adapters of a request: found, understood, bound to the model, and what follows for the rest of the plan. No torch."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from pinxit.adapters.contract import DEFAULT_FIELDS, DEFAULTS, Adapter, AdapterKind, Base, Source, Strength, TensorPatch
from pinxit.engine.catalog import Catalog
from pinxit.engine.library import ModelEntry, ModelLibrary
from pinxit.models.contract import Defaults
from pinxit.models.kinds import find_kind
from pinxit.prompts.grammar import AdapterTag, Dialect, read_tags
from pinxit.schema.errors import BadInput, ModelError, PinxitError, UnknownModelFormat
from pinxit.schema.parts import AdapterUse
from pinxit.schema.record import AdapterFacts
from pinxit.schema.request import GenerationRequest, validated
from pinxit.weights.folder import read_model
from pinxit.weights.looks import looks_like

if TYPE_CHECKING:
    from torch import Tensor

FIELD = "adapters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One adapter of a request on one model. `fields` are request fields that its file is best used with."""

    use: AdapterUse
    source: Source
    facts: AdapterFacts
    kind: AdapterKind
    adapter: Adapter
    fields: Mapping[str, object]
    notes: tuple[str, ...]


def without_tags(request: GenerationRequest, words: Dialect, catalog: Catalog) -> GenerationRequest:
    """The request with the prompt's tags `<lora:name:0.8>` among its adapters, after those that it names itself.

    Raises BadInput for tags that cannot be used: of a kind that is not applied, or in the negative prompt.
    """
    prompt, tags = read_tags(request.prompt, words.adapter_kinds, "prompt")
    _, misplaced = read_tags(request.negative, words.adapter_kinds, "negative")
    if misplaced:
        kind = misplaced[0].kind
        raise BadInput(
            f"The negative prompt asks for the {kind} {misplaced[0].name!r}; adapters act on the whole picture.",
            hint=f"Move <{kind}:...> to the prompt, or take it out.",
            field="negative",
        )
    if not tags:
        return request
    if read_tags(prompt, words.adapter_kinds, "prompt")[1]:
        # Such a tag would be taken out the next time, so that the recipe would not be the request again.
        raise BadInput("The prompt holds tags within tags.", hint="Write them one after the other.", field="prompt")
    return request.replace(prompt=prompt.strip(), adapters=(*request.adapters, *(_use(tag, catalog) for tag in tags)))


def _use(tag: AdapterTag, catalog: Catalog) -> AdapterUse:
    if tag.kind not in catalog.adapters:
        raise BadInput(
            f"The prompt asks for the {tag.kind} {tag.name!r}, and this version applies none.",
            hint=f"Take <{tag.kind}:...> out of the prompt.",
            field="prompt",
        )
    try:
        checked = validated(
            {
                FIELD: [
                    {
                        "kind": catalog.adapters.get(tag.kind).name,
                        "name": tag.name,
                        "weight": tag.image_weight,
                        **({} if tag.text_weight == tag.image_weight else {"text_weight": tag.text_weight}),
                    }
                ]
            }
        )
    except BadInput as error:
        error.field = "prompt"
        raise
    return checked.adapters[0]


def applied(request: GenerationRequest, catalog: Catalog, library: ModelLibrary, base: Base) -> tuple[Applied, ...]:
    """Every adapter of the request on the model `base`, in order.

    Raises UnknownName, Missing, BadInput and ModelError, naming the field.
    """
    found: list[Applied] = []
    for use in request.adapters:
        kind = catalog.adapters.get(use.kind, field=FIELD)
        try:
            found.append(_applied(use, kind, catalog, library, base))
        except PinxitError as error:
            error.field = FIELD
            raise
    return tuple(found)


def _applied(use: AdapterUse, kind: AdapterKind, catalog: Catalog, library: ModelLibrary, base: Base) -> Applied:
    entry = library.find(use.name, kind.name)
    source = _source(entry, kind, catalog)
    adapter = kind.bind(source, base, Strength(image=use.weight, text=use.text))
    fields, notes = _fields(source) if use.weight > 0 else ({}, ())
    return Applied(
        use=use.model_copy(update={"kind": kind.name, "name": entry.name}),
        source=source,
        facts=AdapterFacts(name=entry.name, files=library.files(entry), short=library.short_hash(entry)),
        kind=kind,
        adapter=adapter,
        fields=fields,
        notes=(*adapter.notes, *notes),
    )


def _source(entry: ModelEntry, kind: AdapterKind, catalog: Catalog) -> Source:
    """What the file says. Raises ModelError for one of another kind."""
    header = read_model(entry.path)
    try:
        found = find_kind(header, catalog.kinds)
    except UnknownModelFormat as error:
        noun, hint = looks_like(header)
        raise ModelError(f"{entry.name} is no {kind.title}: it looks like {noun}.", hint=hint) from error
    if found.kind.name != kind.name:
        raise ModelError(f"{entry.name} is no {kind.title}; its kind: {found.kind.title}.", hint=found.kind.hint)
    about = found.about
    titles = {family.name: family.title for family in catalog.families}
    made_for = titles.get(about.bases[0], about.bases[0]) if about.bases else ""
    return Source(name=entry.name, header=found.match.header, about=about, made_for=made_for)


def _fields(source: Source) -> tuple[Mapping[str, object], tuple[str, ...]]:
    """The request fields that the file is best used with, and what to say of those that it cannot give."""
    text = source.header.metadata.get(DEFAULTS)
    if text is None:
        return {}, ()
    try:
        read = cast(object, json.loads(text))
        told = cast("Mapping[str, object]", read) if isinstance(read, dict) else {}
        known = {name: value for name, value in told.items() if name in DEFAULT_FIELDS}
        checked = validated(known)
    except (ValueError, RecursionError, PinxitError):
        return {}, (f"what {source.name} says of its best settings cannot be read",)
    strange = sorted(told.keys() - known.keys())
    notes = (f"{source.name} names settings that adapters do not have: {', '.join(strange)[:100]}",) if strange else ()
    return {name: getattr(checked, name) for name in known}, notes


def best_used(defaults: Defaults, adapters: Iterable[Applied]) -> Defaults:
    """The model's defaults with those of adapters that have their own; a later one's count more.

    An adapter that says how strong guidance is means guidance everywhere, and not rescaled unless it says so.
    """
    for one in adapters:
        if "guidance" in one.fields:
            defaults = replace(defaults, rescale=0.0, interval=None)
        told = {DEFAULT_FIELDS[name]: value for name, value in one.fields.items() if value is not None}
        # The names are those of Defaults' fields, which a test walks; a mapping cannot say so.
        defaults = replace(defaults, **told)  # pyright: ignore[reportArgumentType]
    return defaults


def also_on(first: Iterable[Applied], base: Base) -> tuple[tuple[Applied, ...], tuple[str, ...]]:
    """The same adapters on a further model; those that do not fit it are left out there, which the notes say."""
    fitting: list[Applied] = []
    notes: list[str] = []
    for one in first:
        try:
            adapter = one.kind.bind(one.source, base, Strength(image=one.use.weight, text=one.use.text))
        except ModelError:
            notes.append(f"{one.use.name} does not fit {base.name} and is left out there")
            continue
        fitting.append(replace(one, adapter=adapter))
    return tuple(fitting), tuple(notes)


def identity(adapters: Iterable[Applied], component: str) -> Hashable:
    """What decides how a component's weights are changed: equal ones mean the same weights."""
    return tuple(
        (tuple(file.sha256 for file in one.facts.files), strength)
        for one in adapters
        if (strength := one.adapter.strength(component))
    )


def patch_for(adapters: Iterable[Applied], component: str) -> TensorPatch | None:
    """The change of a component's tensors by all adapters in their order; None where none touches it."""
    patches = [one.adapter.patch(component) for one in adapters if one.adapter.strength(component)]

    def patched(name: str, tensor: Tensor) -> Tensor:
        for patch in patches:
            tensor = patch(name, tensor)
        return tensor

    return patched if patches else None
