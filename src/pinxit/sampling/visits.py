"""The rules around schedules: which one stands for none, which part of it a run visits, and what it may not ask."""

from __future__ import annotations

from collections.abc import Sequence

from pinxit.sampling.dialect import Automatic
from pinxit.sampling.noise import TOP
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.schedules import Schedule, ScheduleOptions, Sigmas
from pinxit.schema.errors import BadInput


def automatic(preferred: str | None, process: NoiseProcess, rule: Automatic = "sampler") -> str:
    """The schedule's name when none was chosen: the sampler's preferred one where the model can use it.

    A zero-terminal-SNR model must visit its last timestep, and a flow's levels are already shifted: both space their
    steps in time. Continuous models keep the spacing of Karras et al., with which they were made. By the rule `model`
    the sampler has no say.
    """
    preferred = preferred if rule == "sampler" else None
    if process.zero_terminal:
        return "sgm_uniform"
    if process.alpha(process.sigma_max) == 0:
        return "simple"
    if preferred is None and process.timestep(process.sigma_max) < 10:
        return "karras"
    return preferred or "normal"


def exactly(sigmas: Sequence[float]) -> Schedule:
    """The schedule that visits just these levels; raises BadInput for another number of steps, or for impossible ones.

    A flow's noise ends at 1, and no model starts above the top of the Brownian path.
    """

    def chosen(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
        del options
        if n != len(sigmas) - 1:
            raise BadInput(
                f"{len(sigmas) - 1} steps lead over the given noise levels, and {n} steps were asked for.",
                hint="Leave one of the two out.",
                field="sigmas",
            )
        top = process.sigma_max if process.alpha(process.sigma_max) == 0 else TOP
        if sigmas[0] > top:
            raise BadInput(
                f"The noise of this model ends at {top:g}, and the given levels begin at {sigmas[0]:g}.",
                hint="Begin lower.",
                field="sigmas",
            )
        return tuple(sigmas)

    return chosen


def within(process: NoiseProcess, options: ScheduleOptions) -> ScheduleOptions:
    """The options themselves. Raises BadInput when their ends are out of order or beyond what the model knows."""
    low, high = options.low(process), options.high(process)
    if not 0 < low < high:
        field = "sigma_max" if options.sigma_min is None else "sigma_min"
        raise BadInput(
            f"A schedule falls from sigma_max to sigma_min, and {high:g} to {low:g} does not.",
            hint=f"This model's own are {process.sigma_max:g} and {process.sigma_min:g}.",
            field=field,
        )
    if high > (process.sigma_max if process.alpha(process.sigma_max) == 0 else TOP):
        raise BadInput(
            f"The noise of this model ends at {process.sigma_max:g}, and sigma_max is {high:g}.",
            hint="Begin lower.",
            field="sigma_max",
        )
    return options


def without_next_to_last(function: Schedule) -> Schedule:
    """The same schedule less its lowest level above 0, for samplers that reach past it with their inner steps."""

    def shortened(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
        sigmas = function(n + 1, process, options)
        return (*sigmas[:-2], *sigmas[-1:])

    return shortened


def for_strength(
    function: Schedule, n: int, process: NoiseProcess, options: ScheduleOptions, strength: float
) -> Sigmas:
    """The levels of an image-to-image run: `strength` 1 starts from noise, towards 0 leaves the picture as it is.

    Native: the last int(n * strength) steps of the full schedule, at least one. A1111 runs one step more. ComfyUI keeps
    n steps and takes them from the end of a schedule of int(n / strength).
    """
    if not 0 < strength <= 1:
        raise BadInput(
            f"strength must be above 0 and at most 1, it is {strength}.",
            hint="0.75 is a usual value.",
            field="strength",
        )
    if strength > 0.9999:
        return function(n, process, options)
    if options.dialect == "comfyui":
        return function(int(n / strength), process, options)[-(n + 1) :]
    kept = max(int(n * strength + 1e-9), 1)
    if options.dialect == "a1111":
        kept = int(min(strength, 0.999) * n) + 1
    return function(n, process, options)[-(kept + 1) :]
