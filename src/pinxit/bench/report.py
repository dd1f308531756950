"""One run of the benchmark as JSON and as Markdown."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinxit.bench.builtin import FEW_STEPS, Everyday
from pinxit.bench.cases import TIERS, Case
from pinxit.bench.score import Ratio, Row, Spread
from pinxit.engine.machine import Machine

FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "asimd", "bf16")
"""Processor features that decide how fast networks are."""
GIB = 2**30


@dataclass(slots=True, kw_only=True)
class Report:
    """Everything that one run found. `ceiling` is the fastest matrix product in GFLOP/s by number format."""

    tier: str
    date: str
    threads: int
    rounds: int
    machine: Mapping[str, object]
    versions: dict[str, str] = field(default_factory=dict[str, str])
    weights: dict[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    ceiling: dict[str, float] = field(default_factory=dict[str, float])
    cases: tuple[Case, ...] = ()
    rows: list[Row] = field(default_factory=list[Row])
    ratios: list[Ratio] = field(default_factory=list[Ratio])
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    builtin: list[Everyday] = field(default_factory=list[Everyday])

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; a number that was not measured is null."""
        everyday = {one.steps: one for one in self.builtin}
        usual, few = everyday.get(None), everyday.get(FEW_STEPS)
        return {
            "tier": self.tier,
            "date": self.date,
            "ratio_vs_diffusers_fp32": self._headline("float32"),
            "ratio_vs_diffusers_bf16": self._headline("bfloat16"),
            "builtin_cold_seconds": usual and round(usual.cold_seconds, 3),
            "builtin_warm_seconds": usual and round(usual.warm_seconds, 3),
            "builtin_peak_rss_mb": usual and usual.peak_mb,
            "builtin_cold_seconds_4_steps": few and round(few.cold_seconds, 3),
            "builtin_warm_seconds_4_steps": few and round(few.warm_seconds, 3),
            "headline_case": TIERS[self.tier].headline or None,
            "threads": self.threads,
            "rounds": self.rounds,
            "machine": dict(self.machine),
            "versions": self.versions,
            "ceiling_gflops": {name: round(value, 1) for name, value in self.ceiling.items()},
            "weights_sha256": {name: dict(files) for name, files in self.weights.items()},
            "rows": [_row_json(row) for row in self.rows],
            "ratios": [_ratio_json(ratio) for ratio in self.ratios],
            "skipped": self.skipped,
        }

    def _headline(self, dtype: str) -> float | None:
        wanted = (TIERS[self.tier].headline, dtype, "diffusers")
        found = [one.times.median for one in self.ratios if (one.case, one.dtype, one.peer) == wanted]
        return round(found[0], 3) if found else None


def machine_facts(machine: Machine) -> dict[str, object]:
    """What decides speed here. No names of hosts or users."""
    return {
        "processor": _processor() or platform.machine(),
        "cores": machine.cores,
        "memory_gib": None if machine.memory is None else round(machine.memory / GIB, 1),
        "flags": [flag for flag in FLAGS if flag in machine.flags],
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _row_json(row: Row) -> dict[str, object]:
    return {
        "case": row.case,
        "stack": row.stack,
        "dtype": row.dtype,
        "status": row.status,
        "why": row.why,
        "seconds": row.seconds and row.seconds.to_json(),
        "gflops": row.gflops and round(row.gflops, 1),
        "relative_l2": row.off,
        "rounds": row.rounds,
        "dropped_rounds": row.dropped,
        "peak_rss_mb": row.peak_mb,
    }


def _ratio_json(ratio: Ratio) -> dict[str, object]:
    times = ratio.times.to_json()
    return {"case": ratio.case, "dtype": ratio.dtype, "peer": ratio.peer, "rounds": ratio.rounds, **times}


def markdown(found: Mapping[str, Any]) -> str:
    """One run, from its JSON object, as a section of the performance page."""
    machine = found["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in sorted(found["versions"].items()))
    memory = f", {machine['memory_gib']} GiB" if machine["memory_gib"] else ""
    facts = f"{machine['processor']}, {machine['cores']} cores ({', '.join(machine['flags'])}){memory}"
    lines = [
        f"## `pinxit bench {found['tier']}`",
        "",
        f"{found['date']}; {facts}; {found['threads']} threads; {versions}.",
    ]
    if found["ceiling_gflops"]:
        peaks = ", ".join(f"{value:.0f} GFLOP/s in {name}" for name, value in found["ceiling_gflops"].items())
        lines.append(f"The fastest matrix product of the same run: {peaks}.")
    sections = (_ratio_table(found), _row_table(found), _builtin_table(found))
    for section in filter(None, sections):
        lines += ["", *section]
    lines += [f"\nSkipped: {name} ({why})." for name, why in found["skipped"].items()]
    return "\n".join(lines) + "\n"


def _ratio_table(found: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            one["case"],
            one["dtype"],
            one["peer"],
            f"**{one['median']:.2f}**",
            f"{one['min']:.2f}-{one['max']:.2f}",
            one["rounds"],
        )
        for one in found["ratios"]
    ]
    return table(("case", "numbers", "against", "times as fast", "range", "rounds"), rows)


def _row_table(found: Mapping[str, Any]) -> list[str]:
    rows: list[Sequence[object]] = []
    for row in found["rows"]:
        shown = (row["case"], row["dtype"], row["stack"])
        if row["seconds"] is None:
            rows.append((*shown, row["status"].upper(), "", "", "", row["why"]))
            continue
        ceiling = found["ceiling_gflops"].get(row["dtype"])
        share = f" ({row['gflops'] / ceiling:.0%})" if ceiling else ""
        off = "" if row["relative_l2"] is None else f"{row['relative_l2']:.1e}"
        took = f"{row['seconds']['median']:.2f}"
        rows.append((*shown, took, f"{row['gflops']:.0f}{share}", row["peak_rss_mb"], off, row["why"]))
    head = ("case", "numbers", "program", "seconds", "GFLOP/s (of the fastest)", "peak MB", "relative L2", "")
    return table(head, rows)


def _builtin_table(found: Mapping[str, Any]) -> list[str]:
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


HEAD = """\
<!-- Written by `pinxit bench TIER --write-docs` from the files in docs/performance; measure again, do not edit. -->

# Performance

Every program computes in a process of its own, all of them in turn, round after round, on the same random weights of
the real size of Stable Diffusion 1.5. A time counts only when the output is as near to diffusers' in float32 as the
number format allows. *Times as fast* is the median over rounds of the other program's time divided by ours. Rounds in
which the rest of the machine was busy are left out. Operations are counted by hand, attention included.
"""


def write_page(found: Mapping[str, object], page: Path) -> None:
    """Keep a run beside the page, in place of its tier's last one, and write the page anew from all that are kept."""
    kept = page.with_suffix("")
    kept.mkdir(parents=True, exist_ok=True)
    (kept / f"{found['tier']}.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    files = [kept / f"{tier}.json" for tier in TIERS]
    sections = [markdown(json.loads(file.read_text("utf-8"))) for file in files if file.is_file()]
    page.write_text("\n".join([HEAD, *sections]), "utf-8")


def text(found: Mapping[str, Any]) -> str:
    """The run for a terminal."""
    lines: list[str] = []
    for section in (_ratio_table(found), _row_table(found), _builtin_table(found)):
        lines += [*section, ""] if section else []
    lines += [f"skipped {name}: {why}" for name, why in found["skipped"].items()]
    return "\n".join(lines).rstrip()


def spread_text(spread: Spread) -> str:
    """Such as `1.23 s (1.20-1.30)`."""
    return f"{spread.median:.2f} s ({spread.least:.2f}-{spread.most:.2f})"
