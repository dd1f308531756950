"""Whose numbers to follow where the field's programs disagree.

A dialect is a bundle of finer choices, one field each; a request may set any of them by itself. What the programs do
differently, and why ours is ours, is written in docs/decisions/0006-dialects.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Dialect = Literal["pinxit", "a1111", "comfyui", "diffusers"]
"""`pinxit` is our own choice; the others reproduce the named program where it differs from that choice."""
Rounding = Literal["interpolated", "nearest"]
"""How a noise level becomes a trained timestep: a fraction between two (A1111), or the nearest integer (ComfyUI)."""
Amplitude = Literal["sigma", "root", "root_at_top"]
"""How strong the start noise is: sigma; sqrt(1 + sigma^2), the variance-preserving form; or that only at the top."""
ZeroEnd = Literal["a1111", "diffusers"]
"""Where a zero-terminal-SNR table ends: sigma 4518.76 (A1111, Forge, ComfyUI) or 4096."""
Automatic = Literal["sampler", "model"]
"""Which schedule stands for none: the one that the sampler is usually run with, or the model's own."""

EmptyNegative = Literal["zeros", "model", "encode"]
"""What SDXL is told for an empty negative prompt: zeros, what the model's folder says, or the encoded empty text."""
Handover = Literal["time", "step"]
"""How the share after which a refiner takes over is counted: in training timesteps, or in steps."""

KEEPS_ALL: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class DialectSpec:
    """One bundle. What `FINER` lists are request fields of the same name.

    `automatic` says which schedule stands for none, and a record keeps the schedule itself. `discards` are the samplers
    whose schedule leaves out its next-to-last level; None means those that their own specs name. `options` are the
    sampler options that a program sets differently.
    """

    name: str
    title: str
    aliases: tuple[str, ...]
    emphasis: str
    noise: str
    timestep_rounding: Rounding
    sampler_rules: Dialect
    schedule_rules: Dialect
    start_noise: Amplitude
    zero_snr_end: ZeroEnd
    automatic: Automatic
    empty_negative: EmptyNegative
    handover: Handover
    discards: frozenset[str] | None = None
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])

    def discards_of(self, sampler: str, *, usual: bool) -> bool:
        """Whether `sampler` runs without its next-to-last level; `usual` is what its spec says."""
        return usual if self.discards is None else sampler in self.discards


PINXIT = DialectSpec(
    name="pinxit",
    title="pinxit",
    aliases=("native", "own"),
    emphasis="a1111",
    noise="philox",
    timestep_rounding="interpolated",
    sampler_rules="pinxit",
    schedule_rules="pinxit",
    start_noise="sigma",
    zero_snr_end="a1111",
    automatic="sampler",
    empty_negative="zeros",
    handover="time",
)
A1111 = DialectSpec(
    name="a1111",
    title="AUTOMATIC1111, Forge",
    aliases=("automatic1111", "webui", "forge"),
    emphasis="a1111",
    noise="philox",
    timestep_rounding="interpolated",
    sampler_rules="a1111",
    schedule_rules="a1111",
    start_noise="sigma",
    zero_snr_end="a1111",
    automatic="sampler",
    empty_negative="zeros",
    handover="time",
    discards=frozenset({"dpm_2", "dpm_2_ancestral", "dpmpp_3m_sde"}),
    options={"dpm_fast": {"eta": 1.0}, "dpm_adaptive": {"eta": 1.0}},
)
COMFYUI = DialectSpec(
    name="comfyui",
    title="ComfyUI",
    aliases=("comfy", "swarmui"),
    emphasis="comfyui",
    noise="torch_batch",
    timestep_rounding="nearest",
    sampler_rules="comfyui",
    schedule_rules="comfyui",
    start_noise="root_at_top",
    zero_snr_end="a1111",
    automatic="model",
    empty_negative="encode",
    handover="step",
    discards=frozenset({"dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2"}),
)
FOOOCUS = DialectSpec(
    name="fooocus",
    title="Fooocus",
    aliases=(),
    emphasis="a1111",
    noise="torch_batch",
    timestep_rounding="nearest",
    sampler_rules="comfyui",
    schedule_rules="comfyui",
    start_noise="root_at_top",
    zero_snr_end="a1111",
    automatic="sampler",
    empty_negative="encode",
    handover="step",
    discards=COMFYUI.discards,
)
_DIFFUSERS_OPTIONS: Mapping[str, Mapping[str, object]] = {
    "uni_pc": {"order": 2},
    "uni_pc_bh2": {"order": 2},
    "deis": {"order": 2},
    "sa_solver": {"order": 2, "corrector_order": 2, "simple_order_2": True},
}
DIFFUSERS = DialectSpec(
    name="diffusers",
    title="diffusers",
    aliases=("sdnext", "vladmandic"),
    emphasis="plain",
    noise="torch_cpu",
    timestep_rounding="interpolated",
    sampler_rules="diffusers",
    schedule_rules="diffusers",
    start_noise="root",
    zero_snr_end="diffusers",
    automatic="model",
    empty_negative="model",
    handover="time",
    discards=KEEPS_ALL,
    options=_DIFFUSERS_OPTIONS,
)
INVOKEAI = DialectSpec(
    name="invokeai",
    title="InvokeAI",
    aliases=("invoke",),
    emphasis="plain",
    noise="torch_invoke",
    timestep_rounding="interpolated",
    sampler_rules="diffusers",
    schedule_rules="diffusers",
    start_noise="root",
    zero_snr_end="diffusers",
    automatic="model",
    empty_negative="zeros",
    handover="time",
    discards=KEEPS_ALL,
    options=_DIFFUSERS_OPTIONS,
)
SDCPP = DialectSpec(
    name="sdcpp",
    title="stable-diffusion.cpp",
    aliases=("sd.cpp", "stable-diffusion.cpp", "easydiffusion"),
    emphasis="a1111",
    noise="philox",
    timestep_rounding="interpolated",
    sampler_rules="comfyui",
    schedule_rules="comfyui",
    start_noise="sigma",
    zero_snr_end="a1111",
    automatic="model",
    empty_negative="zeros",
    handover="step",
    discards=KEEPS_ALL,
)

DIALECTS: tuple[DialectSpec, ...] = (PINXIT, A1111, COMFYUI, FOOOCUS, DIFFUSERS, INVOKEAI, SDCPP)
FINER = (
    "emphasis",
    "noise",
    "timestep_rounding",
    "sampler_rules",
    "schedule_rules",
    "start_noise",
    "zero_snr_end",
    "empty_negative",
    "handover",
)
"""The fields of a bundle that a request may set by themselves."""
