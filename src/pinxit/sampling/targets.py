"""What networks are trained to predict, by name, and the noise process that belongs to each."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from pinxit.sampling.process import EDM, Discrete, Epsilon, Flow, NoiseProcess, Velocity
from pinxit.sampling.tables import levels, standard_levels, zero_terminal
from pinxit.schema.errors import BadInput

Target: TypeAlias = Literal["epsilon", "velocity", "edm", "edm_velocity", "flow"]
"""Noise; velocity; the preconditioned picture of Karras et al. 2022; the same with velocity's sign; a flow."""
TARGETS: tuple[Target, ...] = get_args(Target)
TITLES: dict[Target, str] = {
    "epsilon": "noise prediction",
    "velocity": "v-prediction",
    "edm": "EDM",
    "edm_velocity": "EDM with velocity",
    "flow": "rectified flow",
}

EDM_SIGMAS = (0.002, 80.0)
EDM_VELOCITY_SIGMAS = (0.002, 120.0)
"""The noise levels of the two continuous targets where nothing gives others."""


def process_for(
    target: Target,
    *,
    table: tuple[float, ...] | None = None,
    sigmas: tuple[float, float] | None = None,
    sigma_data: float | None = None,
    shift: float | None = None,
) -> NoiseProcess:
    """The process of a target; None is its usual value. Each target takes what it has a use for."""
    if target == "flow":
        return Flow(shift=1.0 if shift is None else shift)
    if target in ("edm", "edm_velocity"):
        velocity = target == "edm_velocity"
        low, high = sigmas or (EDM_VELOCITY_SIGMAS if velocity else EDM_SIGMAS)
        spread = (1.0 if velocity else 0.5) if sigma_data is None else sigma_data
        return EDM(low=low, high=high, sigma_data=spread, velocity=velocity)
    return (Velocity if target == "velocity" else Epsilon)(table=standard_levels() if table is None else table)


def with_target(process: NoiseProcess, target: Target) -> NoiseProcess:
    """A process of another target, which keeps the table where both have one."""
    return process_for(target, table=process.table if isinstance(process, Discrete) else None)


def with_zero_terminal(process: NoiseProcess, ends_in_noise: bool) -> NoiseProcess:
    """The process with its table rescaled to end in pure noise, or not. Raises BadInput where there is no table."""
    if not isinstance(process, Discrete):
        raise BadInput(
            "Only models that predict noise or velocity have a noise table that could end in pure noise.",
            hint="Leave zero_terminal_snr out.",
            field="zero_terminal_snr",
        )
    if process.zero_terminal == ends_in_noise:
        return process
    if not ends_in_noise:
        return replace(process, table=standard_levels())
    abar = 1 / (1 + np.array(process.table) ** 2)
    return replace(process, table=levels(zero_terminal(abar)))


def with_shift(process: NoiseProcess, shift: float) -> NoiseProcess:
    """A flow with another time shift. Raises BadInput for what is none."""
    if not isinstance(process, Flow):
        raise BadInput(
            "Only flow models have a time shift, and this model is none.", hint="Leave shift out.", field="shift"
        )
    return replace(process, shift=shift)


def with_sigma_data(process: NoiseProcess, sigma_data: float) -> NoiseProcess:
    """A continuous process for pictures of another spread. Raises BadInput for what is none."""
    if not isinstance(process, EDM):
        raise BadInput(
            "Only EDM models are told the spread of their pictures, and this model is none.",
            hint="Leave sigma_data out.",
            field="sigma_data",
        )
    return replace(process, sigma_data=sigma_data)
