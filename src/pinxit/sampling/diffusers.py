"""What a diffusers scheduler's configuration means: our sampler, schedule and options, and the very levels it visits.

A configuration is the content of `scheduler_config.json`: the class name under `_class_name` and its settings, each
with a default of its class. One class stands for several samplers, told apart by `algorithm_type`, `solver_order` ...
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pinxit.sampling.beta import beta_quantile
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers import SamplerOptions
from pinxit.sampling.schedules import ScheduleOptions, Sigmas, exponential, karras, lcm, linspace
from pinxit.schema.errors import BadInput
from pinxit.schema.methods import FOREIGN_SAMPLERS, method_named, plain_key

Config = Mapping[str, object]

_MULTISTEP: Mapping[tuple[str, int], str] = {
    ("dpmsolver++", 1): "euler",
    ("dpmsolver++", 2): "dpmpp_2m",
    ("dpmsolver++", 3): "dpmpp_3m",
    ("dpmsolver", 1): "euler",
    ("dpmsolver", 2): "dpm_2m",
    ("sde-dpmsolver++", 1): "dpmpp_2m_sde",
    ("sde-dpmsolver++", 2): "dpmpp_2m_sde",
    ("sde-dpmsolver++", 3): "dpmpp_3m_sde",
}
_SPACED_TO_THE_END = frozenset(
    {"DPMSolverMultistep", "DPMSolverSinglestep", "UniPCMultistep", "DEISMultistep", "SASolver"}
)
"""Classes that space n + 1 timesteps and leave the last one out."""
_LEADING = frozenset({"DDIM", "DDIMParallel", "PNDM", "DDPM", "DDPMParallel"})
"""Classes whose timesteps are leading unless they say otherwise."""
_TABLE_END = frozenset({"DDIM", "DDIMParallel", "PNDM"})
"""Classes that end at the table's first level unless `set_alpha_to_one`: by default PNDM does and DDIM does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """A configuration in our words. `options` say in full what the class does, `schedule` is the nearest by name."""

    sampler: str
    schedule: str
    options: SamplerOptions


def scheduler(config: Config) -> Scheduler:
    """What a configuration means. Raises BadInput for a class, or for settings of one, that we do not offer."""
    name = _class_name(config)
    sampler = _sampler(name, config)
    options = SamplerOptions(dialect="diffusers")
    if sampler in ("ddim", "euler", "dpmpp_3m", "plms", "pndm_prk", "lms"):
        options = replace(options, eta=0.0, order=4)
    if name in ("UniPCMultistep", "DEISMultistep", "SASolver"):
        options = replace(options, order=_whole(config, "solver_order", 2), corrector_order=2, simple_order_2=True)
    if name == "SASolver":
        options = replace(
            options,
            order=_whole(config, "predictor_order", 2),
            corrector_order=_whole(config, "corrector_order", 2),
        )
    if name == "UniPCMultistep":
        solver = "bh1" if config.get("solver_type") == "bh1" else "bh2"
        options = replace(options, solver=solver, predict_noise=not config.get("predict_x0", True))
    if sampler == "dpm_2m":
        options = replace(options, predict_noise=True)
    if config.get("solver_type") == "heun":
        options = replace(options, solver="heun")
    if config.get("variance_type") == "fixed_large":
        options = replace(options, variance="large")
    if sampler == "tcd":
        options = replace(options, eta=0.3)
    return Scheduler(sampler=sampler, schedule=_schedule(name, config), options=options)


def _class_name(config: Config) -> str:
    name = config.get("_class_name")
    if not isinstance(name, str) or not name:
        raise BadInput("The scheduler's configuration names no class.", hint="Its _class_name says which one it is.")
    return name.removesuffix("Scheduler").removesuffix("Discrete")


def _sampler(name: str, config: Config) -> str:
    full = str(config["_class_name"])
    if name == "DPMSolverMultistep":
        algorithm, order = str(config.get("algorithm_type", "dpmsolver++")), _whole(config, "solver_order", 2)
        if (algorithm, order) not in _MULTISTEP:
            raise BadInput(
                f"pinxit does not offer {full} with algorithm_type {algorithm!r} and solver_order {order}.",
                hint="The nearest it has is dpmpp_2m_sde." if "sde" in algorithm else "The nearest it has is dpm_2m.",
            )
        return _MULTISTEP[algorithm, order]
    if name == "PNDM":
        return "plms" if config.get("skip_prk_steps", False) else "pndm_prk"
    found = method_named(full)
    if found is None:
        near = next((row.nearest for row in FOREIGN_SAMPLERS if row.explains(plain_key(full))), "euler")
        raise BadInput(f"pinxit does not offer the scheduler {full}.", hint=f"The nearest it has is {near}.")
    return found.sampler


def _schedule(name: str, config: Config) -> str:
    if config.get("use_karras_sigmas") or name in ("EDMEuler", "EDMDPMSolverMultistep"):
        return "exponential" if config.get("sigma_schedule") == "exponential" else "karras"
    if config.get("use_exponential_sigmas") or config.get("use_lu_lambdas"):
        return "exponential"
    if config.get("use_beta_sigmas"):
        return "beta"
    if name in ("LCM", "TCD"):
        return "lcm"
    if name.startswith("FlowMatch"):
        return "normal"
    spacing = _spacing(name, config)
    return {"linspace": "sgm_uniform" if name in _SPACED_TO_THE_END else "normal"}.get(spacing, spacing)


def _spacing(name: str, config: Config) -> str:
    return str(config.get("timestep_spacing", "leading" if name in _LEADING else "linspace"))


def levels(config: Config, n: int, process: NoiseProcess) -> Sigmas:
    """The noise levels that the class visits in n steps with a model of this process, the last one included.

    The process brings the table, zero terminal SNR and a flow's shift; the configuration says the rest.
    """
    name = _class_name(config)
    if name in ("LCM", "TCD"):
        return lcm(n, process, ScheduleOptions())
    if name.startswith("FlowMatch"):
        ends = process.timestep(process.sigma_max), process.timestep(process.sigma_min)
        return (*(process.sigma(t) for t in linspace(*ends, n)), 0.0)
    if name.startswith("EDM"):
        return karras(n, process, ScheduleOptions())
    table = process.levels
    spaced = [_interpolated(table, t) for t in _timesteps(name, config, n, len(table))]
    ends = (table[-1], table[0]) if name in _SPACED_TO_THE_END else (spaced[0], spaced[-1])
    return (*_respaced(config, spaced, ends, n, process), _last(name, config, table))


def _respaced(
    config: Config, spaced: Sequence[float], ends: tuple[float, float], n: int, process: NoiseProcess
) -> Sequence[float]:
    options = ScheduleOptions(sigma_max=ends[0], sigma_min=ends[1])
    if config.get("use_karras_sigmas"):
        return karras(n, process, options)[:-1]
    if config.get("use_exponential_sigmas") or config.get("use_lu_lambdas"):
        return exponential(n, process, options)[:-1]
    if config.get("use_beta_sigmas"):
        return [ends[1] + beta_quantile(share, 0.6, 0.6) * (ends[0] - ends[1]) for share in linspace(1.0, 0.0, n)]
    return spaced


def _timesteps(name: str, config: Config, n: int, size: int) -> list[float]:
    """The places in the table, falling, by the class's own arithmetic."""
    spacing, offset = _spacing(name, config), _whole(config, "steps_offset", 0)
    to_the_end = name in _SPACED_TO_THE_END
    if spacing == "leading":
        stride = size // (n + 1) if to_the_end else size // n
        return [float(i * stride + offset) for i in reversed(range(1, n + 1) if to_the_end else range(n))]
    if spacing == "trailing":
        return [float(round(size - i * size / n) - 1) for i in range(n)]
    if spacing != "linspace":
        raise BadInput(f"There is no timestep spacing named {spacing!r}.", hint="Known: leading, linspace, trailing.")
    if to_the_end:
        return [float(round(i * ((size - 1) / n))) for i in range(n, 0, -1)]
    stride = (size - 1) / max(n - 1, 1)
    places = [i * stride for i in reversed(range(n))]
    return [float(round(t)) for t in places] if name in _LEADING else places


def _interpolated(table: Sequence[float], t: float) -> float:
    """The level at a place of the table: linear in sigma, not in its logarithm."""
    low = min(math.floor(t), len(table) - 1)
    high = min(low + 1, len(table) - 1)
    return table[low] + (t - low) * (table[high] - table[low])


def _last(name: str, config: Config, table: Sequence[float]) -> float:
    if name in _TABLE_END:
        return 0.0 if config.get("set_alpha_to_one", name != "PNDM") else table[0]
    return table[0] if config.get("final_sigmas_type") == "sigma_min" else 0.0


def _whole(config: Config, key: str, default: int) -> int:
    value = config.get(key, default)
    return value if isinstance(value, int) else default
