"""From a request to a plan: every choice made, every cost estimated, and not a network touched."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pinxit.adapters.contract import Base
from pinxit.engine.adapting import Applied, also_on, applied, best_used, without_tags
from pinxit.engine.catalog import Catalog
from pinxit.engine.compiling import choose_compiling
from pinxit.engine.library import ModelEntry, ModelLibrary
from pinxit.engine.machine import GIB, Machine, this_machine
from pinxit.engine.means import Means, Way, way_of
from pinxit.engine.memory import Rungs, budget
from pinxit.engine.method import choose
from pinxit.engine.refine import WITHOUT, Refiner, check_same_latents
from pinxit.engine.shortcuts import check_second, shortcut_notes, with_shortcuts, work_of
from pinxit.engine.training import as_told
from pinxit.models.contract import AnyFamily, Facts
from pinxit.models.kinds import identify_model
from pinxit.prompts.grammar import Dialect, dialect, read_prompt
from pinxit.prompts.known import notes_on, read_known
from pinxit.sampling.choice import dialect_named
from pinxit.sampling.compat import NoiseSpec
from pinxit.sampling.dialect import Amplitude
from pinxit.sampling.process import told
from pinxit.sampling.samplers import SamplerOptions, SamplerSpec
from pinxit.sampling.schedules import ScheduleSpec
from pinxit.schema.errors import BadInput, Missing, ModelError
from pinxit.schema.parts import Interval, Size
from pinxit.schema.record import ModelFile
from pinxit.schema.request import GenerationRequest
from pinxit.weights.folder import read_model
from pinxit.weights.identify import Match

SEEDS = 2**53
"""Seeds that are drawn for a user lie below this, so that every JSON reader keeps them exact."""
DENOISING = ("denoise", "refine")
"""The stages in which the models of a request take their steps, in their order."""


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
    adapters: tuple[Applied, ...] = ()

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
    """What the engine will do. Pure and printable; nothing has been loaded.

    `way` is how the machine computes, `rungs` what is done to take less memory (see `pinxit.engine.memory`), `compiles`
    whether networks are compiled.
    """

    resolved: Resolved
    machine: Machine
    way: Way
    rungs: Rungs
    stages: tuple[StagePlan, ...]
    notes: tuple[str, ...]
    compiles: bool = False

    @property
    def bytes(self) -> int:
        """Estimated peak memory of the process, or of the GPU that it computes on."""
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
            "device": self.way.device,
            "dtype": self.way.dtype,
            "saving": list(self.rungs),
            "compiles": self.compiles,
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
    words = dialect(request.emphasis or dialect_named(request.dialect).emphasis, field="emphasis")
    request = without_tags(request, words, catalog)
    adapters = applied(request, catalog, library, Base(name=entry.name, family=family, match=match))
    facts = replace(facts, defaults=best_used(facts.defaults, adapters))
    method = choose(request, catalog, facts)
    notes = list((match.dropped and [f"{len(match.dropped)} tensors of the file are not needed"]) or [])
    notes += [f"{part.component}: {part.place.note}" for part in match.parts.values() if part.place.note]
    notes += [*facts.notes, *(note for one in adapters for note in one.notes), *method.notes]
    known = read_known(entry.path)
    notes += notes_on(request.prompt, known) if known else []
    filled = _filled(request, facts, entry).replace(
        **{**method.fields, "emphasis": words.name, "adapters": tuple(one.use for one in adapters)}
    )
    filled = with_shortcuts(filled, family, facts)
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
        adapters=adapters,
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
    adapters, left_out = also_on(resolved.adapters, Base(name=entry.name, family=family, match=match))
    second = replace(
        resolved,
        entry=entry,
        adapters=adapters,
        files=library.files(entry),
        match=match,
        family=family,
        config=config,
        facts=replace(facts, process=process),
    )
    check_same_latents(resolved, second)
    check_second(request, family, facts)
    refiner = Refiner(
        resolved=second,
        switch=asked.switch,
        by=request.handover or "time",
        process=resolved.facts.process,
        steps=len(resolved.sigmas) - 1,
    )
    named = asked.model_copy(update={"model": entry.name})
    notes = (*resolved.notes, *(f"{entry.name}: {note}" for note in facts.notes), *left_out)
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
        read_prompt(text, words, field=field, has_parts=field == "prompt")


def plan(resolved: Resolved, machine: Machine | None = None, *, means: Means | None = None) -> Plan:
    """What the engine will do with a resolved request, stage by stage. Raises OutOfMemory when it cannot fit, and what
    `way_of` raises.
    """
    machine, means = machine or this_machine(), means or Means()
    way, needs, seconds = way_of(machine, means), _needs(resolved), _seconds(resolved, machine, means)
    whole = sum(seconds.values())
    held = budget(resolved, machine, way, low=means.memory == "low", seconds=whole)
    compiling = choose_compiling(resolved, way, means, held.rungs, seconds=whole)
    return Plan(
        resolved=resolved,
        machine=machine,
        way=way,
        rungs=held.rungs,
        stages=tuple(
            StagePlan(name=name, needs=needs[name], bytes=size, seconds=seconds[name])
            for name, size in held.stages.items()
        ),
        notes=(*resolved.notes, *shortcut_notes(resolved), *held.notes, *compiling.notes),
        compiles=compiling.on,
    )


def _needs(resolved: Resolved) -> Mapping[str, tuple[str, ...]]:
    """The components of each stage."""
    denoisers = {stage: (one.family.denoiser,) for stage, one in zip(DENOISING, resolved.models, strict=False)}
    return {
        "encode": tuple(
            name for one in resolved.models for name in one.facts.components if name in one.family.encoders
        ),
        "prepare": ("vae",) if resolved.request.inputs() else (),
        **denoisers,
        "decode": ("vae",),
        "finish": (),
    }


def _seconds(resolved: Resolved, machine: Machine, means: Means) -> Mapping[str, float]:
    """A guess of each stage's time."""
    wide, high, count = resolved.size.width, resolved.size.height, resolved.request.count
    rate = way_of(machine, means).gigaflops(machine) * 1e9
    steps = {
        stage: count * _calls(resolved, one) * one.facts.denoise(wide, high).flops / rate
        for stage, one in zip(DENOISING, resolved.models, strict=False)
    }
    return {
        "encode": 0.1 * len(resolved.models),
        "prepare": 0.05,
        **steps,
        "decode": count * resolved.facts.decode(wide, high).flops / rate,
        "finish": 0.02 * count,
    }


def _calls(resolved: Resolved, model: Resolved) -> float:
    """Expected work of one model's network, in exact calls: twice a step where guidance acts, as often as the sampler
    asks, and less where the request leaves something out.
    """
    low, high = resolved.interval
    guided = resolved.request.guidance not in (None, 1.0) and not model.facts.tells_guidance
    calls, work = 0.0, work_of(resolved, model)
    for index, sigma in enumerate(resolved.sigmas[:-1]):
        refines = resolved.refiner is not None and resolved.refiner.takes(sigma, index)
        if refines != (model is not resolved):
            continue
        calls += work(index) * resolved.sampler.calls * (2 if guided and low < sigma <= high else 1)
    return calls
