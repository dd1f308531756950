"""How a request is sampled: dialect, sampler, schedule, options and noise levels, every choice made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from pinxit.engine.catalog import Catalog
from pinxit.models.contract import Facts
from pinxit.sampling.choice import dialect_named, sampler_named, schedule_named
from pinxit.sampling.compat import NoiseSpec
from pinxit.sampling.dialect import FINER, Amplitude, DialectSpec
from pinxit.sampling.process import NoiseProcess, told
from pinxit.sampling.samplers import SamplerOptions, SamplerSpec
from pinxit.sampling.schedules import ScheduleOptions, ScheduleSpec
from pinxit.sampling.visits import automatic, exactly, for_strength, within, without_next_to_last
from pinxit.schema.errors import BadInput
from pinxit.schema.parts import FromImage
from pinxit.schema.request import GenerationRequest

OPTIONS = ("eta", "s_churn", "s_tmin", "s_tmax", "s_noise")
"""Request fields that are sampler options of the same name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """The numeric side of a run. `process` is the model's under the dialect; `fields` are the request's, filled."""

    sampler: SamplerSpec
    options: SamplerOptions
    schedule: ScheduleSpec
    process: NoiseProcess
    noise: NoiseSpec
    amplitude: Amplitude
    sigmas: tuple[float, ...]
    fields: Mapping[str, object]
    notes: tuple[str, ...]


def choose(request: GenerationRequest, catalog: Catalog, facts: Facts) -> Method:
    """Make every numeric choice that the request leaves open. Raises UnknownName and BadInput."""
    dialect = dialect_named(request.dialect)
    finer = {name: getattr(request, name) or getattr(dialect, name) for name in FINER}
    rules = replace(dialect, **finer)
    process = told(facts.process, rules.timestep_rounding, rules.zero_snr_end)
    sampler, implied = sampler_named(request.sampler or facts.defaults.sampler, catalog.samplers, catalog.schedules)
    schedule = _schedule(request, catalog, sampler, implied, facts, rules)
    discards = _discards(request, sampler, rules)
    steps = request.steps or (len(request.sigmas) - 1 if request.sigmas else facts.defaults.steps)
    noise = catalog.noises.get(rules.noise, field="noise")
    options = ScheduleOptions(
        sigma_min=request.sigma_min,
        sigma_max=request.sigma_max,
        rho=request.rho,
        model=facts.defaults.spacing,
        dialect=rules.schedule_rules,
    )
    sigmas = _sigmas(request, steps, process, schedule, options, discards=discards)
    return Method(
        sampler=sampler,
        options=_options(request, sampler, rules),
        schedule=schedule,
        process=process,
        noise=noise,
        amplitude=rules.start_noise,
        sigmas=sigmas,
        fields={
            **finer,
            "noise": noise.name,
            "dialect": dialect.name,
            "sampler": sampler.name,
            "schedule": schedule.name,
            "steps": steps,
            "discard_next_to_last": "yes" if discards else "no",
            "eta_noise_seed_delta": request.eta_noise_seed_delta or 0,
        },
        notes=tuple(_notes(request, schedule, process, options, steps)),
    )


def _schedule(
    request: GenerationRequest,
    catalog: Catalog,
    sampler: SamplerSpec,
    implied: ScheduleSpec | None,
    facts: Facts,
    rules: DialectSpec,
) -> ScheduleSpec:
    """The named one, or what the sampler's name implies; else the model's for its own sampler; else the rule's."""
    asked = schedule_named(request.schedule, catalog.schedules)
    if asked or implied:
        return cast(ScheduleSpec, asked or implied)
    own = facts.defaults.schedule if sampler.name == facts.defaults.sampler else None
    if own and facts.process.zero_terminal and not catalog.schedules.get(own).in_time:
        own = None
    return catalog.schedules.get(own or automatic(sampler.schedule, facts.process, rules.automatic), field="schedule")


def _discards(request: GenerationRequest, sampler: SamplerSpec, rules: DialectSpec) -> bool:
    if request.sigmas:
        if request.discard_next_to_last == "yes":
            raise BadInput(
                "The given noise levels are visited as they are, so none can be discarded.",
                hint="Leave out the level that is not wanted.",
                field="discard_next_to_last",
            )
        return False
    if request.discard_next_to_last is not None:
        return request.discard_next_to_last == "yes"
    return rules.discards_of(sampler.name, usual=sampler.discard_next_to_last)


def _options(request: GenerationRequest, sampler: SamplerSpec, rules: DialectSpec) -> SamplerOptions:
    asked = {name: getattr(request, name) for name in OPTIONS if getattr(request, name) is not None}
    usual = rules.options.get(sampler.name, {})
    given: dict[str, object] = {**usual, **asked, "dialect": rules.sampler_rules}
    # The names are those of SamplerOptions' fields, which a test walks; a mapping cannot say so.
    return replace(sampler.options, **given)  # pyright: ignore[reportArgumentType]


def _sigmas(
    request: GenerationRequest,
    steps: int,
    process: NoiseProcess,
    schedule: ScheduleSpec,
    options: ScheduleOptions,
    *,
    discards: bool,
) -> tuple[float, ...]:
    run = schedule.run
    if request.sigmas:
        # The levels are whole as they are: there is no longer schedule of which a program could take the end.
        run, options = exactly(request.sigmas), replace(options, dialect="pinxit")
    elif (request.sigma_min, request.sigma_max) != (None, None):
        within(process, options)
    if discards:
        run = without_next_to_last(run)
    if isinstance(request.source, FromImage):
        return for_strength(run, steps, process, options, request.source.strength)
    return run(steps, process, options)


def _notes(
    request: GenerationRequest, schedule: ScheduleSpec, process: NoiseProcess, options: ScheduleOptions, steps: int
) -> list[str]:
    """What people should know about the levels, in words for the plan."""
    if request.sigmas:
        return []
    notes: list[str] = []
    if process.zero_terminal and not schedule.in_time:
        notes.append(f"the schedule {schedule.name} spends most of its steps near pure noise with this model")
    plain = replace(options, sigma_min=None, sigma_max=None, rho=None)
    if options != plain and schedule.run(steps, process, options) == schedule.run(steps, process, plain):
        notes.append(f"sigma_min, sigma_max and rho change nothing in the schedule {schedule.name}")
    return notes
