"""One run of the benchmark as JSON, and as text for a terminal."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinxit.bench.builtin import FEW_STEPS, Everyday
from pinxit.bench.score import Ratio, Row, Spread
from pinxit.bench.tiers import TIERS
from pinxit.engine.machine import Machine

FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "asimd", "bf16")
"""Processor features that decide how fast networks are."""
GIB = 2**30


@dataclass(slots=True, kw_only=True)
class Report:
    """Everything that one run found. `ceiling` is the fastest matrix product in GFLOP/s by number format, `default` the
    stack of ours that users get here.
    """

    tier: str
    date: str
    threads: int
    default: str
    machine: Mapping[str, object]
    versions: dict[str, str] = field(default_factory=dict[str, str])
    weights: dict[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    ceiling: dict[str, float] = field(default_factory=dict[str, float])
    rows: list[Row] = field(default_factory=list[Row])
    ratios: list[Ratio] = field(default_factory=list[Ratio])
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    builtin: list[Everyday] = field(default_factory=list[Everyday])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; a number that was not measured is null."""
        everyday = {one.steps: one for one in self.builtin}
        usual, few = everyday.get(None), everyday.get(FEW_STEPS)
        found: dict[str, Any] = {
            "tier": self.tier,
            "date": self.date,
            "default": self.default,
            "headline_case": TIERS[self.tier].headline or None,
            "builtin_cold_seconds": usual and round(usual.cold_seconds, 3),
            "builtin_warm_seconds": usual and round(usual.warm_seconds, 3),
            "builtin_peak_rss_mb": usual and usual.peak_mb,
            "builtin_cold_seconds_4_steps": few and round(few.cold_seconds, 3),
            "builtin_warm_seconds_4_steps": few and round(few.warm_seconds, 3),
            "threads": self.threads,
            "machine": dict(self.machine),
            "versions": self.versions,
            "ceiling_gflops": {name: round(value, 1) for name, value in self.ceiling.items()},
            "weights_sha256": {name: dict(files) for name, files in self.weights.items()},
            "rows": [{"date": self.date, **row.to_json()} for row in self.rows],
            "ratios": [{"date": self.date, **ratio.to_json()} for ratio in self.ratios],
            "skipped": self.skipped,
        }
        return found | headlines(found)


LIBRARY = {"fp32": "diffusers-fp32", "bf16": "diffusers-bf16"}


def headlines(found: Mapping[str, Any]) -> dict[str, float | None]:
    """The numbers that stand for a run, of its headline case: how many times as fast as diffusers, and how much of its
    memory; ours as users get it, and computing in float32.
    """
    case, default = found["headline_case"], found["default"]
    told: dict[str, float | None] = {}
    for end, peer in LIBRARY.items():
        told[f"ratio_vs_diffusers_{end}"] = ratio_of(found, case, default, peer)
        told[f"peak_rss_ratio_vs_diffusers_{end}"] = memory_ratio(found, case, default, peer)
    told["fp32_ratio_vs_diffusers_fp32"] = ratio_of(found, case, "pinxit-fp32", LIBRARY["fp32"])
    return {name: None if value is None else round(value, 3) for name, value in told.items()}


def ratio_of(found: Mapping[str, Any], case: str | None, ours: str, peer: str) -> float | None:
    """How many times as long the peer took, of a run's JSON object; None where that was not measured."""
    wanted = (case, ours, peer)
    return next((one["median"] for one in found["ratios"] if (one["case"], one["ours"], one["peer"]) == wanted), None)


def row_in(found: Mapping[str, Any], case: str | None, stack: str) -> Mapping[str, Any] | None:
    """A row of a run's JSON object that has a time."""
    rows = (row for row in found["rows"] if (row["case"], row["stack"]) == (case, stack) and row["seconds"])
    return next(rows, None)


def memory_ratio(found: Mapping[str, Any], case: str | None, ours: str, peer: str) -> float | None:
    """Our highest memory as a share of the peer's."""
    mine, theirs = row_in(found, case, ours), row_in(found, case, peer)
    return None if mine is None or theirs is None or not theirs["peak_mb"] else mine["peak_mb"] / theirs["peak_mb"]


def machine_facts(machine: Machine) -> dict[str, object]:
    """What decides speed here. No names of hosts or users."""
    return {
        "processor": _processor() or platform.machine(),
        "cores": machine.cores,
        "memory_gib": None if machine.memory is None else round(machine.memory / GIB, 1),
        "flags": [flag for flag in FLAGS if flag in machine.flags],
        "gpus": [gpu.name for gpu in machine.gpus],
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def sections(found: Mapping[str, Any]) -> list[list[str]]:
    """The tables of a run, those that are not empty."""
    return [lines for lines in (ratio_table(found), row_table(found), builtin_table(found)) if lines]


def ratio_table(found: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            one["case"],
            one["ours"],
            one["peer"],
            f"**{one['median']:.2f}**",
            f"{one['min']:.2f}-{one['max']:.2f}",
            one["rounds"],
        )
        for one in found["ratios"]
    ]
    return table(("case", "ours", "against", "times as fast", "range", "rounds"), rows)


def row_table(found: Mapping[str, Any]) -> list[str]:
    """A line for each program on each case. Memory is the highest of the process, and how far one run rises."""
    rows: list[Sequence[object]] = []
    for row in found["rows"]:
        if row["seconds"] is None:
            rows.append((row["case"], row["stack"], row["status"].upper(), *[""] * 5, row["why"]))
            continue
        ceiling = found["ceiling_gflops"].get(row["numbers"])
        share = f" ({row['gflops'] / ceiling:.0%})" if ceiling and row["gflops"] else ""
        rows.append(
            (
                row["case"],
                row["stack"],
                f"{row['seconds']['median']:.2f}",
                "" if row["first_seconds"] is None else f"{row['first_seconds']:.1f}",
                f"{row['gflops']:.0f}{share}" if row["gflops"] else "",
                row["peak_mb"] or "",
                row["work_mb"] or "",
                "" if row["relative_l2"] is None else f"{row['relative_l2']:.1e}",
                "; ".join(filter(None, (_first_step(row), row["why"]))),
            )
        )
    head = ("case", "program", "seconds", "first run", "GFLOP/s (of the fastest)", "peak MB", "work MB", "relative L2")
    return table((*head, ""), rows)


def _first_step(row: Mapping[str, Any]) -> str:
    took = row["first_step_seconds"]
    return "" if took is None else f"first step done after {took:.1f} s"


def builtin_table(found: Mapping[str, Any]) -> list[str]:
    rows: list[Sequence[object]] = []
    for steps, end in (("its own", ""), (str(FEW_STEPS), "_4_steps")):
        cold, warm = found[f"builtin_cold_seconds{end}"], found[f"builtin_warm_seconds{end}"]
        if cold is not None:
            memory = "" if end else found["builtin_peak_rss_mb"]
            rows.append((steps, f"{cold:.2f}", f"{warm:.2f}", memory))
    return table(("steps of the built-in model", "shell to picture, s", "next picture, s", "peak MB"), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table; none where there are no rows."""
    body = [tuple(str(cell).replace("|", "/") for cell in row) for row in rows]
    lines = (tuple(head), tuple("---" for _ in head), *body) if body else ()
    return [f"| {' | '.join(cells)} |" for cells in lines]


def text(found: Mapping[str, Any]) -> str:
    """The run for a terminal."""
    lines = [line for section in sections(found) for line in (*section, "")]
    lines += [f"skipped {name}: {why}" for name, why in found["skipped"].items()]
    return "\n".join(lines).rstrip()


def spread_text(spread: Spread) -> str:
    """Such as `1.23 s (1.20-1.30)`."""
    return f"{spread.median:.2f} s ({spread.min:.2f}-{spread.max:.2f})"
