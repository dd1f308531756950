"""From a request to a plan: every choice made, every cost estimated, and not a network touched."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pinxit.engine.catalog import Catalog
from pinxit.engine.library import ModelEntry, ModelLibrary
from pinxit.engine.machine import GIB, Machine, this_machine
from pinxit.engine.method import choose
from pinxit.engine.refine import WITHOUT, Refiner, check_same_latents
from pinxit.engine.training import as_told
from pinxit.models.contract import AnyFamily, Facts
from pinxit.models.kinds import identify_model
from pinxit.prompts.grammar import Dialect, dialect, read_prompt
from pinxit.sampling.compat import NoiseSpec
from pinxit.sampling.dialect import Amplitude
from pinxit.sampling.process import told
from pinxit.sampling.samplers import SamplerOptions, SamplerSpec
from pinxit.sampling.schedules import ScheduleSpec
from pinxit.schema.errors import BadInput, Missing, ModelError, OutOfMemory
from pinxit.schema.parts import Interval, Size
from pinxit.schema.record import ModelFile
from pinxit.schema.request import GenerationRequest
from pinxit.weights.folder import read_model
from pinxit.weights.identify import Match

SEEDS = 2**53
"""Seeds that are drawn for a user lie below this, so that every JSON reader keeps them exact."""
RUNTIME_BYTES = 0.35 * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A request with nothing left open: its model found and understood, its names looked up, its seed drawn."""

    request: GenerationRequest
    entry: ModelEntry
    files: tuple[ModelFile, ...]
    match: Match
    family: AnyFamily
    config: Any
    facts: Facts
    sampler: SamplerSpec
    options: SamplerOptions
    schedule: ScheduleSpec
    noise: NoiseSpec
    amplitude: Amplitude
    sigmas: tuple[float, ...]
    words: Dialect
    inputs: Mapping[str, bytes]
    notes: tuple[str, ...]
    refiner: Refiner | None = None

    @property
    def models(self) -> tuple[Resolved, ...]:
        """This model and those of the request's passes, in order."""
        return (self,) if self.refiner is None else (self, self.refiner.resolved)

    @property
    def size(self) -> Size:
        size = self.request.size
        if size is None:
            raise ValueError("a resolved request has a size")
        return size

    @property
    def interval(self) -> tuple[float, float]:
        bounds = self.request.guidance_interval
        return (0.0, float("inf")) if bounds is None else (bounds.lo, bounds.hi)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """One stage: the components it needs, its peak memory in bytes and its estimated time in seconds."""

    name: str
    needs: tuple[str, ...]
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the engine will do. Pure and printable; nothing has been loaded."""

    resolved: Resolved
    machine: Machine
    stages: tuple[StagePlan, ...]
    notes: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Estimated peak memory of the process."""
        return max(stage.bytes for stage in self.stages)

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)

    def to_json(self) -> dict[str, object]:
        """The plan as plain JSON values."""
        resolved = self.resolved
        return {
            "request": resolved.request.to_dict(),
            "model": {
                "name": resolved.entry.name,
                "family": resolved.family.name,
                "prediction": resolved.facts.prediction,
                "evidence": resolved.facts.evidence,
            },
            "passes": [
                {
                    "name": one.entry.name,
                    "family": one.family.name,
                    "prediction": one.facts.prediction,
                    "evidence": one.facts.evidence,
                }
                for one in resolved.models[1:]
            ],
            "sigmas": list(resolved.sigmas),
            "stages": [
                {"name": s.name, "needs": list(s.needs), "bytes": s.bytes, "seconds": round(s.seconds, 2)}
                for s in self.stages
            ],
            "bytes": self.bytes,
            "seconds": round(self.seconds, 2),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """The plan for people, a line each."""
        resolved, request = self.resolved, self.resolved.request
        told = f"{resolved.family.title}, {resolved.facts.prediction}: {resolved.facts.evidence}"
        lines = [
            f"model     {resolved.entry.name} ({told})",
            f"picture   {request.size}, {request.count} from seed {request.seed}",
            f"sampling  {resolved.sampler.title}, {resolved.schedule.title}, {len(resolved.sigmas) - 1} steps, "
            f"guidance {request.guidance}",
            "sigmas    " + " ".join(f"{sigma:.4g}" for sigma in resolved.sigmas),
        ]
        if resolved.refiner is not None:
            lines.insert(1, _refiner_line(resolved, resolved.refiner))
        lines += [
            f"{stage.name:<9} {', '.join(stage.needs) or '-'}: about {stage.bytes / GIB:.2f} GiB, {stage.seconds:.1f} s"
            for stage in self.stages
        ]
        return lines + [f"note      {note}" for note in self.notes]


def resolve(
    request: GenerationRequest, catalog: Catalog, library: ModelLibrary, inputs: Mapping[str, bytes] | None = None
) -> Resolved:
    """Make every choice that the request leaves open.

    `inputs` holds the bytes of input pictures by SHA-256. Raises UnknownName, BadInput, Missing and ModelError.
    """
    entry, match, family, config, facts = _understood(request.model, catalog, library)
    _check_can_paint(family, facts, entry)
    facts = as_told(facts, request)
    given = _check_inputs(request, inputs or {})
    method = choose(request, catalog, facts)
    words = dialect(str(method.fields["emphasis"]), field="emphasis")
    notes = list((match.dropped and [f"{len(match.dropped)} tensors of the file are not needed"]) or [])
    notes += [f"{part.component}: {part.place.note}" for part in match.parts.values() if part.place.note]
    notes += [*facts.notes, *method.notes]
    filled = _filled(request, facts, entry).replace(**{**method.fields, "emphasis": words.name})
    _check_prompts(filled, words)
    resolved = Resolved(
        request=filled,
        entry=entry,
        files=library.files(entry),
        match=match,
        family=family,
        config=config,
        facts=replace(facts, process=method.process),
        sampler=method.sampler,
        options=method.options,
        schedule=method.schedule,
        noise=method.noise,
        amplitude=method.amplitude,
        sigmas=method.sigmas,
        words=words,
        inputs=given,
        notes=tuple(notes),
    )
    return resolved if not filled.passes else _with_refiner(resolved, catalog, library)


def _understood(
    name: str | None, catalog: Catalog, library: ModelLibrary
) -> tuple[ModelEntry, Match, AnyFamily, Any, Facts]:
    """The model called `name`, and what its files say."""
    entry = library.find(name)
    layouts = [layout for family in catalog.families for layout in family.layouts]
    match = identify_model(read_model(entry.path), layouts, catalog.kinds)
    family = catalog.families.get(match.family)
    config = family.config_from(match)
    return entry, match, family, config, family.facts(config)


def _with_refiner(resolved: Resolved, catalog: Catalog, library: ModelLibrary) -> Resolved:
    """The same with the model that takes the last steps. Raises BadInput for more than one, ModelError for a misfit."""
    request = resolved.request
    asked, *others = list(request.passes)
    if others:
        raise BadInput("Only one refiner can take over.", hint="Keep one of them.", field="passes")
    entry, match, family, config, facts = _understood(asked.model, catalog, library)
    _check_can_paint(family, facts, entry, without=WITHOUT)
    process = told(facts.process, request.timestep_rounding or "interpolated", request.zero_snr_end or "a1111")
    second = replace(
        resolved,
        entry=entry,
        files=library.files(entry),
        match=match,
        family=family,
        config=config,
        facts=replace(facts, process=process),
    )
    check_same_latents(resolved, second)
    refiner = Refiner(
        resolved=second,
        switch=asked.switch,
        by=request.handover or "time",
        process=resolved.facts.process,
        steps=len(resolved.sigmas) - 1,
    )
    named = asked.model_copy(update={"model": entry.name})
    notes = (*resolved.notes, *(f"{entry.name}: {note}" for note in facts.notes))
    return replace(resolved, request=request.replace(passes=(named,)), refiner=refiner, notes=notes)


def _refiner_line(resolved: Resolved, refiner: Refiner) -> str:
    second, steps = refiner.resolved, len(resolved.sigmas) - 1
    told_by = f"{second.family.title}, {second.facts.prediction}: {second.facts.evidence}"
    first = refiner.first(resolved.sigmas)
    when = f"from step {first + 1} of {steps}" if first < steps else "in no step"
    return f"refiner   {second.entry.name} {when} ({told_by})"


def _check_can_paint(family: AnyFamily, facts: Facts, entry: ModelEntry, *, without: tuple[str, ...] = ()) -> None:
    if facts.can_paint:
        raise ModelError(
            f"{entry.name} cannot paint from a prompt alone: {facts.can_paint}.", hint="Choose another model."
        )
    needed = [name for name in facts.absent if name not in (*family.optional, *without)]
    if needed:
        parts = " and no ".join(name.replace("_", " ") for name in needed)
        raise ModelError(
            f"{entry.name} brings no {parts}.", hint="Use a complete checkpoint, or a diffusers folder with every part."
        )


def _check_inputs(request: GenerationRequest, inputs: Mapping[str, bytes]) -> Mapping[str, bytes]:
    for image in request.inputs():
        if image.sha256 not in inputs:
            raise Missing(
                f"The input picture {image.name or image.sha256[:10]} is not here.",
                hint=f"Give the file whose SHA-256 begins with {image.sha256[:10]} with --image.",
                field="source",
            )
    return inputs


def _filled(request: GenerationRequest, facts: Facts, entry: ModelEntry) -> GenerationRequest:
    """The request with the model's defaults."""
    usual = facts.defaults
    interval = request.guidance_interval
    if interval is None and usual.interval is not None:
        interval = Interval(lo=usual.interval[0], hi=usual.interval[1])
    return request.replace(
        model=entry.name,
        size=request.size or Size(width=usual.width, height=usual.height),
        seed=secrets.randbelow(SEEDS) if request.seed is None else request.seed,
        guidance=usual.guidance if request.guidance is None else request.guidance,
        guidance_rescale=usual.rescale if request.guidance_rescale is None else request.guidance_rescale,
        guidance_interval=interval,
    )


def _check_prompts(request: GenerationRequest, words: Dialect) -> None:
    """Read both prompts once, so that what is wrong with them is said before anything is loaded."""
    for text, field in ((request.prompt, "prompt"), (request.negative, "negative")):
        prompt = read_prompt(text, words, field=field, has_parts=field == "prompt")
        if prompt.adapters:
            tag = prompt.adapters[0]
            raise BadInput(
                f"The {field} asks for the {tag.kind} {tag.name!r}, and this version applies no adapters.",
                hint=f"Take <{tag.kind}:...> out of the {field}.",
                field=field,
            )


def plan(resolved: Resolved, machine: Machine | None = None) -> Plan:
    """What the engine will do with a resolved request, stage by stage. Raises OutOfMemory when it cannot fit."""
    machine = machine or this_machine()
    wide, high, facts = resolved.size.width, resolved.size.height, resolved.facts
    decode = facts.decode(wide, high)
    rate = machine.gigaflops * 1e9
    text = tuple(name for one in resolved.models for name in one.facts.components if name in one.family.encoders)
    denoising = [
        (stage, one, one.facts.denoise(wide, high), _calls(resolved, one))
        for stage, one in zip(("denoise", "refine"), resolved.models, strict=False)
    ]
    rows = [
        ("encode", text, 0.0, 0.1 * len(resolved.models)),
        ("prepare", ("vae",) if resolved.request.inputs() else (), decode.activation_bytes, 0.05),
        *(
            (
                stage,
                (one.family.denoiser,),
                step.activation_bytes,
                resolved.request.count * calls * step.flops / rate,
            )
            for stage, one, step, calls in denoising
        ),
        ("decode", ("vae",), decode.activation_bytes, resolved.request.count * decode.flops / rate),
        ("finish", (), 0.0, 0.02 * resolved.request.count),
    ]
    total, notes = _held_bytes(resolved, machine, max(extra for _, _, extra, _ in rows))
    stages = tuple(
        StagePlan(name=name, needs=needs, bytes=int(RUNTIME_BYTES + total + extra), seconds=seconds)
        for name, needs, extra, seconds in rows
    )
    result = Plan(resolved=resolved, machine=machine, stages=stages, notes=(*resolved.notes, *notes))
    if machine.available is not None and result.bytes > machine.available:
        raise OutOfMemory(
            f"A picture of {resolved.size} needs about {result.bytes / GIB:.1f} GiB, "
            f"and {machine.available / GIB:.1f} GiB are free.",
            hint="Ask for a smaller size, or close other programs.",
            field="size",
        )
    return result


def exact_components(family: AnyFamily) -> frozenset[str]:
    """The components that compute in float32 on every machine."""
    return frozenset(family.encoders) - frozenset(family.wide)


def _component_bytes(resolved: Resolved, component: str, machine: Machine) -> int:
    """Memory that a component's weights will take in the type the engine computes in."""
    short = machine.fast_bfloat16 and component not in exact_components(resolved.family)
    return component_bytes(resolved, component, 2 if short else 4)


def component_bytes(resolved: Resolved, component: str, each: int) -> int:
    """Memory of a component's weights at `each` bytes a number."""
    match = resolved.match
    names = {name for entry in match.part(component).entries for name in entry.theirs}
    return each * sum(math.prod(info.shape) for name, info in match.header.tensors.items() if name in names)


def _held_bytes(resolved: Resolved, machine: Machine, extra: float) -> tuple[int, tuple[str, ...]]:
    """Memory that the weights take at once, and what to say about it: models stay side by side where they fit."""
    totals = [sum(_component_bytes(one, name, machine) for name in one.facts.components) for one in resolved.models]
    if machine.available is None or RUNTIME_BYTES + sum(totals) + extra <= machine.available:
        return sum(totals), ()
    if len(totals) == 1:
        return totals[0], ()
    return max(totals), ("the models take each other's place in memory, which is read again for each picture",)


def _calls(resolved: Resolved, model: Resolved) -> float:
    """Expected calls of one model's network: twice a step where guidance acts, as often as the sampler asks."""
    low, high = resolved.interval
    guided = resolved.request.guidance not in (None, 1.0) and not model.facts.tells_guidance
    calls = 0.0
    for index, sigma in enumerate(resolved.sigmas[:-1]):
        refines = resolved.refiner is not None and resolved.refiner.takes(sigma, index)
        if refines != (model is not resolved):
            continue
        calls += resolved.sampler.calls * (2 if guided and low < sigma <= high else 1)
    return calls
