"""The noise levels that a sampler visits: a number of steps and a process to falling sigmas, most ending in 0.

Legend: `n` the number of steps, `rho` the exponent of a spacing, `t` a training timestep. A schedule returns n + 1
levels unless its docstring says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from pinxit.sampling.beta import beta_quantile
from pinxit.sampling.dialect import Dialect
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.spacing_tables import ALIGN_YOUR_STEPS, ALIGN_YOUR_STEPS_32, GITS, Spacing
from pinxit.schema.errors import BadInput
from pinxit.schema.methods import schedule_aliases

Sigmas = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleOptions:
    """What a schedule may be told. None means the process's or the schedule's own value."""

    sigma_min: float | None = None
    sigma_max: float | None = None
    rho: float | None = None
    alpha: float | None = None
    beta: float | None = None
    """The two parameters of the beta schedule, 0.6 where they are not given."""
    model: str = "sd1"
    """Whose optimised table: sd1, sdxl or svd."""
    dialect: Dialect = "pinxit"

    def low(self, process: NoiseProcess) -> float:
        return process.sigma_min if self.sigma_min is None else self.sigma_min

    def high(self, process: NoiseProcess) -> float:
        return process.sigma_max if self.sigma_max is None else self.sigma_max


Schedule = Callable[[int, NoiseProcess, ScheduleOptions], Sigmas]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSpec:
    """One entry of the catalogue. `in_time`: it spaces its steps in the training timesteps, from the last of them."""

    name: str
    title: str
    aliases: tuple[str, ...]
    run: Schedule
    in_time: bool
    summary: str


F = TypeVar("F", bound=Schedule)


def schedule(name: str, *, title: str, aliases: tuple[str, ...] = (), in_time: bool = False) -> Callable[[F], F]:
    """Attach a ScheduleSpec to a function, as `spec`, for the catalogue to collect. Aliases are those of `sampler`."""

    def attach(function: F) -> F:
        summary = (function.__doc__ or "").partition("\n")[0]
        vars(function)["spec"] = ScheduleSpec(
            name=name,
            title=title,
            aliases=tuple(dict.fromkeys((title, *schedule_aliases(name), *aliases))),
            run=function,
            in_time=in_time,
            summary=summary,
        )
        return function

    return attach


def linspace(start: float, end: float, n: int) -> list[float]:
    """n evenly spaced numbers with both ends; the start alone for n = 1."""
    return [start + (end - start) * i / max(n - 1, 1) for i in range(n)]


def _steps(n: int) -> int:
    if n < 1:
        raise BadInput(f"A schedule needs at least 1 step, it got {n}.", hint="Ask for 1 step or more.", field="steps")
    return n


@schedule("karras", title="Karras")
def karras(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """Even steps in sigma^(1/rho), rho 7: more of them at low noise (Karras et al. 2022, eq. 5)."""
    power = 1 / (7.0 if options.rho is None else options.rho)
    ends = options.high(process) ** power, options.low(process) ** power
    return (*(root ** (1 / power) for root in linspace(*ends, _steps(n))), 0.0)


@schedule("exponential", title="Exponential")
def exponential(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """Even steps in log(sigma) (Lu et al. 2022)."""
    ends = math.log(options.high(process)), math.log(options.low(process))
    return (*(math.exp(level) for level in linspace(*ends, _steps(n))), 0.0)


@schedule("polyexponential", title="Polyexponential")
def polyexponential(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """Steps in log(sigma) along a power of an even ramp; rho 1 is the exponential schedule."""
    rho = 1.0 if options.rho is None else options.rho
    low, high = math.log(options.low(process)), math.log(options.high(process))
    return (*(math.exp(low + ramp**rho * (high - low)) for ramp in linspace(1.0, 0.0, _steps(n))), 0.0)


@schedule("normal", title="Normal", in_time=True)
def normal(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """Even steps in the training timesteps, first to last: the model's own spacing."""
    ends = process.timestep(options.high(process)), process.timestep(options.low(process))
    return (*(process.sigma(t) for t in linspace(*ends, _steps(n))), 0.0)


@schedule("sgm_uniform", title="SGM Uniform", in_time=True)
def sgm_uniform(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """Even steps in the training timesteps that leave out the lowest: what Lightning and Turbo models expect."""
    ends = process.timestep(options.high(process)), process.timestep(options.low(process))
    return (*(process.sigma(t) for t in linspace(*ends, _steps(n) + 1)[:-1]), 0.0)


@schedule("simple", title="Simple", in_time=True)
def simple(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """Every (size / n)-th entry of the model's table, from its noisy end."""
    del options
    stride = len(process.levels) / _steps(n)
    return (*(process.levels[-1 - int(i * stride)] for i in range(n)), 0.0)


@schedule("trailing", title="Trailing", in_time=True)
def trailing(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """Rounded timesteps counted down from the last one (Lin et al. 2023, table 2)."""
    del options
    size = len(process.levels)
    stride = size / _steps(n)
    return (*(process.levels[round(size - i * stride) - 1] for i in range(n)), 0.0)


@schedule("leading", title="Leading")
def leading(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """Timesteps counted up from the second one in whole strides, so that the noisiest levels are left out."""
    del options
    stride = len(process.levels) // min(_steps(n), len(process.levels))
    return (*(process.levels[min(i * stride + 1, len(process.levels) - 1)] for i in reversed(range(n))), 0.0)


@schedule("ddim_uniform", title="DDIM")
def ddim_uniform(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """Every stride-th entry of the table from its quiet end; may return more than n steps and starts below the top."""
    del options
    stride = max(len(process.levels) // _steps(n), 1)
    return (*reversed(process.levels[1::stride]), 0.0)


@schedule("beta", title="Beta")
def beta(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """Timesteps at the quantiles of a beta distribution: more steps at both ends (Lee et al. 2024).

    Repeated table entries are dropped, so many steps may return fewer. In the a1111 and diffusers dialects the
    quantiles run between sigma_min and sigma_max themselves instead of over the table.
    """
    a = 0.6 if options.alpha is None else options.alpha
    b = 0.6 if options.beta is None else options.beta
    if options.dialect in ("a1111", "diffusers"):
        low, high = options.low(process), options.high(process)
        shares = (beta_quantile(share, a, b) for share in linspace(1.0, 0.0, _steps(n)))
        return (*(low + share * (high - low) for share in shares), 0.0)
    places = (beta_quantile(1 - i / n, a, b) for i in range(_steps(n)))
    entries = dict.fromkeys(round(place * (len(process.levels) - 1)) for place in places)
    return (*(process.levels[entry] for entry in entries), 0.0)


@schedule("beta57", title="Beta 57")
def beta57(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """The beta schedule with parameters 0.5 and 0.7: more of its steps at high noise."""
    a = 0.5 if options.alpha is None else options.alpha
    return beta(n, process, replace(options, alpha=a, beta=0.7 if options.beta is None else options.beta))


@schedule("smoothstep", title="Smoothstep", in_time=True)
def smoothstep(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """Table entries along u^2 (3 - 2 u) of an even ramp u: like beta, more steps at both ends."""
    del options
    top = len(process.levels) - 1
    ramp = (1 - i / n for i in range(_steps(n)))
    return (*(process.levels[math.floor(u**2 * (3 - 2 * u) * top + 0.5)] for u in ramp), 0.0)


@schedule("lcm", title="LCM", in_time=True)
def lcm(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """The fifty timesteps that consistency models are distilled on, n of them (Luo et al. 2023, section 4.3)."""
    del options
    if _steps(n) > LCM_STEPS:
        raise BadInput(
            f"The lcm schedule has {LCM_STEPS} steps, {n} were asked for.",
            hint=f"Ask for 1 to {LCM_STEPS}.",
            field="steps",
        )
    stride = len(process.levels) // LCM_STEPS
    places = (LCM_STEPS - i * LCM_STEPS // n for i in range(n))
    return (*(process.levels[place * stride - 1] for place in places), 0.0)


LCM_STEPS = 50


@schedule("bong_tangent", title="Bong Tangent")
def bong_tangent(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """Two arctangent slopes that meet halfway between the ends, the first over three fifths of the steps."""
    low, high = options.low(process), options.high(process)
    points = _steps(n) + 2
    bend = int(points * 0.6)
    slope = 0.2 * 40 / points
    middle = low + (high - low) / 2
    falling = _slope(bend, slope, bend, high, middle)[:-1] + _slope(points - bend, slope, 0, middle, low)
    return (*falling[:n], 0.0)


def _slope(count: int, slope: float, pivot: int, start: float, end: float) -> list[float]:
    """`count` points of an arctangent that is steepest at `pivot`, scaled to run from `start` to `end`."""
    heights = [-math.atan(slope * (x - pivot)) for x in range(count)]
    if count < 2:
        return [start] * count
    return [end + (start - end) * (height - heights[-1]) / (heights[0] - heights[-1]) for height in heights]


@schedule("linear_quadratic", title="Linear Quadratic")
def linear_quadratic(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """Small even steps over the first half, then quadratic ones (Polyak et al. 2024, Movie Gen)."""
    start = 0.025
    first = _steps(n) // 2
    if first == 0:
        return options.high(process), 0.0
    rest = n - first
    excess = first - start * n
    square = excess / (first * rest**2)
    slope = start / first - 2 * excess / rest**2
    offset = square * first**2
    done = [i * start / first for i in range(first)]
    done += [square * i**2 + slope * i + offset for i in range(first, n)]
    return (*((1 - share) * options.high(process) for share in done), 0.0)


@schedule("kl_optimal", title="KL Optimal")
def kl_optimal(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """Even steps in atan(sigma) (Sabour et al. 2024, section 3.1). The a1111 dialect ends at sigma_min instead of 0."""
    ends = math.atan(options.high(process)), math.atan(options.low(process))
    if options.dialect == "a1111":
        return tuple(math.tan(angle) for angle in linspace(*ends, _steps(n) + 1))
    return (*(math.tan(angle) for angle in linspace(*ends, _steps(n))), 0.0)


@schedule("laplace", title="Laplace")
def laplace(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """Quantiles of a Laplace distribution of log(sigma), scale 0.5 (Hang et al. 2024).

    In the a1111 and comfyui dialects n levels without the 0 at the end.
    """
    low, high = options.low(process), options.high(process)

    def level(x: float) -> float:
        side = (x < 0.5) - (x > 0.5)
        return math.exp(-0.5 * side * math.log(1 - 2 * abs(0.5 - x) + 1e-5))

    levels = tuple(min(max(level(x), low), high) for x in linspace(0.0, 1.0, _steps(n)))
    return levels if options.dialect in ("a1111", "comfyui") else (*dict.fromkeys(levels), 0.0)


@schedule("vp", title="VP")
def vp(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """The continuous variance-preserving spacing, beta from 0.1 to 20 (Song et al. 2021); its levels are its own."""
    del options
    _refuse_flow(process, "vp")
    return (*(math.sqrt(math.expm1(19.9 * t**2 / 2 + 0.1 * t)) for t in linspace(1.0, 1e-3, _steps(n))), 0.0)


@schedule("turbo", title="Turbo", in_time=True)
def turbo(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """The ten timesteps that SD Turbo was distilled on, the first n of them. In Forge (a1111) it is trailing."""
    if options.dialect == "a1111":
        return trailing(n, process, options)
    if _steps(n) > 10:
        raise BadInput(f"The turbo schedule has 10 steps, {n} were asked for.", hint="Ask for 1 to 10.", field="steps")
    stride = len(process.levels) // 10
    return (*(process.levels[-1 - stride * i] for i in range(n)), 0.0)


@schedule("align_your_steps", title="Align Your Steps")
def align_your_steps(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """Levels optimised for each model at ten steps, spread log-linearly for other counts (Sabour et al. 2024)."""
    _refuse_flow(process, "align_your_steps")
    return _from_table(_steps(n), ALIGN_YOUR_STEPS, options)


@schedule("align_your_steps_32", title="Align Your Steps 32")
def align_your_steps_32(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """The levels optimised at 32 steps (Sabour et al. 2024)."""
    _refuse_flow(process, "align_your_steps_32")
    return _from_table(_steps(n), ALIGN_YOUR_STEPS_32, options)


@schedule("gits", title="Align Your Steps GITS")
def gits(n: int, process: NoiseProcess, options: ScheduleOptions) -> Sigmas:
    """Levels found from the shape of the trajectories (Chen et al. 2024)."""
    _refuse_flow(process, "gits")
    return _from_table(_steps(n), GITS, options)


def _refuse_flow(process: NoiseProcess, name: str) -> None:
    """Raise BadInput where a schedule's own levels lie above the 1 at which a flow's noise ends."""
    if process.alpha(process.sigma_max) == 0:
        raise BadInput(
            f"The schedule {name} is made of noise levels that a flow model does not have: its noise ends at 1.",
            hint="Choose the simple schedule.",
            field="schedule",
        )


def _from_table(n: int, tables: dict[str, Spacing], options: ScheduleOptions) -> Sigmas:
    """A published table stretched to n steps: n levels and 0, or n + 1 levels with the last made 0 (ComfyUI)."""
    table = tables.get(options.model)
    if table is None:
        raise BadInput(
            f"No optimised levels are known for the model {options.model!r}.",
            hint=f"Known: {', '.join(sorted(tables))}. Or choose the karras schedule.",
            field="schedule",
        )
    if options.dialect == "comfyui":
        return (*spread(table.exact, n + 1)[:-1], 0.0)
    return (*spread(table.rounded, n), 0.0)


def spread(levels: Sequence[float], n: int) -> list[float]:
    """n levels along a falling table, linear in log(sigma); the table itself when n is its length."""
    if n == len(levels):
        return list(levels)
    logs = [math.log(level) for level in levels]
    result: list[float] = []
    for place in linspace(0.0, len(levels) - 1.0, n):
        low = min(int(place), len(levels) - 2)
        result.append(math.exp(logs[low] + (place - low) * (logs[low + 1] - logs[low])))
    return result


_BUILT_IN: tuple[Schedule, ...] = (
    karras,
    exponential,
    polyexponential,
    normal,
    sgm_uniform,
    simple,
    trailing,
    leading,
    ddim_uniform,
    beta,
    beta57,
    smoothstep,
    lcm,
    bong_tangent,
    linear_quadratic,
    kl_optimal,
    laplace,
    vp,
    turbo,
    align_your_steps,
    align_your_steps_32,
    gits,
)
SCHEDULES: tuple[ScheduleSpec, ...] = tuple(cast(ScheduleSpec, vars(function)["spec"]) for function in _BUILT_IN)
