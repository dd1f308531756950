"""What we want of speed and memory, and how far the measured numbers are from it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinxit.bench.report import memory_ratio, ratio_of, row_in

Found = Mapping[str, Any]
NOTES = "notes.toml"
"""Beside the kept runs: a text for each goal that is not met, by the goal's name, on why and what was tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A number that `measure` finds in a run, and where it should be: at least, or with `most` at most, `bound`.

    `unit` follows the numbers. `tier` is the run that it is read from.
    """

    name: str
    title: str
    bound: float
    measure: Callable[[Found], float | None]
    most: bool = False
    unit: str = "x"
    tier: str = "full"

    def met(self, value: float) -> bool:
        return value <= self.bound if self.most else value >= self.bound


def _faster(name: str, case: str, peer: str, bound: float, ours: str = "") -> Goal:
    shown = f"{ours or 'ours'} on {case}, times as fast as {peer}"
    return Goal(
        name=name, title=shown, bound=bound, measure=lambda run: ratio_of(run, case, ours or run["default"], peer)
    )


def _smaller(name: str, case: str, peer: str, bound: float, ours: str = "") -> Goal:
    return Goal(
        name=name,
        title=f"{ours or 'ours'} on {case}, peak memory as a share of {peer}'s",
        bound=bound,
        measure=lambda run: memory_ratio(run, case, ours or run["default"], peer),
        most=True,
    )


def _number(
    name: str, title: str, case: str, key: str, bound: float, unit: str, ours: str = "", tier: str = "full"
) -> Goal:
    """At most `bound` of one column of a row."""

    def measure(run: Found) -> float | None:
        row = row_in(run, case, ours or run["default"])
        value = None if row is None else row[key]
        return value["median"] if isinstance(value, Mapping) else value

    return Goal(name=name, title=title, bound=bound, measure=measure, most=True, unit=unit, tier=tier)


def _sooner(run: Found) -> float | None:
    """How much later than ours a compiled U-Net's first guided step is done, from the start of the process."""
    mine, theirs = row_in(run, "cold-512", run["default"]), row_in(run, "cold-512", "compile-bf16")
    if mine is None or theirs is None or not mine["first_step_seconds"] or not theirs["first_step_seconds"]:
        return None
    return theirs["first_step_seconds"] / mine["first_step_seconds"]


def _of_sdcpp(case: str) -> Callable[[Found], float | None]:
    """Against its fastest weights."""

    def measure(run: Found) -> float | None:
        found = [ratio_of(run, case, run["default"], name) for name in ("sdcpp-f16", "sdcpp-q8_0")]
        return min((one for one in found if one is not None), default=None)

    return measure


GOALS: Sequence[Goal] = (
    _faster("step-512-diffusers-fp32", "pair-64", "diffusers-fp32", 2.7),
    _faster("step-512-diffusers-bf16", "pair-64", "diffusers-bf16", 1.35),
    _faster("step-512-compile", "pair-64", "compile-bf16", 1.4),
    _faster("step-512-openvino-bf16", "pair-64", "openvino-bf16", 1.1),
    _faster("step-512-int8-openvino-int8", "pair-64", "openvino-int8", 1.05, "pinxit-int8"),
    _faster("step-512-int8-diffusers-fp32", "pair-64", "diffusers-fp32", 4.0, "pinxit-int8"),
    _faster("step-512-fp32-diffusers-fp32", "pair-64", "diffusers-fp32", 1.5, "pinxit-fp32"),
    Goal(
        name="step-512-sdcpp",
        title="ours on pair-64, times as fast as stable-diffusion.cpp's best",
        bound=9.0,
        measure=_of_sdcpp("pair-64"),
    ),
    _faster("step-256-diffusers-fp32", "pair-32", "diffusers-fp32", 3.5),
    _faster("step-256-diffusers-bf16", "pair-32", "diffusers-bf16", 1.7),
    _faster("step-256-openvino-bf16", "pair-32", "openvino-bf16", 1.1),
    _faster("step-256-int8-openvino-int8", "pair-32", "openvino-int8", 1.0, "pinxit-int8"),
    Goal(
        name="step-256-sdcpp",
        title="ours on pair-32, times as fast as stable-diffusion.cpp's best",
        bound=8.0,
        measure=_of_sdcpp("pair-32"),
    ),
    _faster("image-512-diffusers-fp32", "image-512-20", "diffusers-fp32", 2.6),
    _faster("image-512-diffusers-bf16", "image-512-20", "diffusers-bf16", 1.35),
    _faster("image-512-openvino-bf16", "image-512-20", "openvino-bf16", 1.1),
    _faster("image-512-int8-openvino-int8", "image-512-20", "openvino-int8", 1.05, "pinxit-int8"),
    _smaller("memory-diffusers-fp32", "cold-512", "diffusers-fp32", 0.5),
    _smaller("memory-diffusers-bf16", "cold-512", "diffusers-bf16", 0.9),
    _smaller("memory-compile", "cold-512", "compile-bf16", 0.6),
    _smaller("memory-openvino-bf16", "cold-512", "openvino-bf16", 0.5),
    _smaller("memory-int8-openvino-int8", "cold-512", "openvino-int8", 0.9, "pinxit-int8"),
    _smaller("memory-sdcpp", "cold-512", "sdcpp-f16", 1.3),
    _number("memory-512", "peak memory of a 512 px picture", "cold-512", "peak_mb", 2600, " MB"),
    _number("memory-512-low", "the same in low-memory mode", "cold-512", "peak_mb", 2100, " MB", "pinxit-low"),
    _number("memory-512-int8", "the same in int8", "cold-512", "peak_mb", 1500, " MB", "pinxit-int8"),
    _number("decode-512", "decoding 512 px", "decode-64", "seconds", 6.5, " s"),
    _number("decode-512-memory", "memory that decoding 512 px takes on top", "decode-64", "work_mb", 250, " MB"),
    _number("error-fp32", "float32 mode, distance to diffusers", "pair-64", "relative_l2", 1e-5, "", "pinxit-fp32"),
    _number("first-step", "process start to the first step's end, 256 px", "cold-256", "first_step_seconds", 4.0, " s"),
    Goal(
        name="first-step-compile",
        title="times as soon at the first step's end as torch.compile, from a cold process",
        bound=30.0,
        measure=_sooner,
    ),
    _number("memory-sdxl", "peak memory of SDXL at 1024 px", "cold-1024-sdxl", "peak_mb", 6656, " MB", tier="sdxl"),
    Goal(
        name="gpu-compile",
        title="on a GPU, ours compiled on image-512-20, times as fast as diffusers compiled",
        bound=1.4,
        measure=lambda run: ratio_of(run, "image-512-20", "pinxit-compiled", "compile-fp16"),
        tier="gpu",
    ),
    Goal(
        name="gpu-diffusers",
        title="on a GPU, ours compiled on image-512-20, times as fast as diffusers eager",
        bound=2.0,
        measure=lambda run: ratio_of(run, "image-512-20", "pinxit-compiled", "diffusers-fp16"),
        tier="gpu",
    ),
)


def notes_of(folder: Path) -> Mapping[str, str]:
    """The hand-written texts beside the kept runs, by the goals' names."""
    path = folder / NOTES
    return tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}


def goal_rows(runs: Mapping[str, Found], notes: Mapping[str, str]) -> list[tuple[str, str, str, str]]:
    """What is wanted, what was measured, whether that is enough, and why not."""
    rows: list[tuple[str, str, str, str]] = []
    for goal in GOALS:
        run = runs.get(goal.tier)
        value = None if run is None else goal.measure(run)
        wanted = f"{goal.title}: {'at most' if goal.most else 'at least'} {_shown(goal.bound, goal.unit)}"
        if value is None:
            rows.append((wanted, "", "not measured", notes.get(goal.name, "")))
            continue
        met = goal.met(value)
        rows.append((wanted, _shown(value, goal.unit), "yes" if met else "no", "" if met else notes.get(goal.name, "")))
    return rows


def _shown(value: float, unit: str) -> str:
    return f"{value:.0f}{unit}" if value >= 100 else f"{value:.3g}{unit}"
