"""The performance page: what runs have measured, kept beside it, and written anew from all of that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinxit.bench.goals import goal_rows, notes_of
from pinxit.bench.report import headlines, sections, table
from pinxit.bench.stacks import PEERS, STACKS
from pinxit.bench.tiers import TIERS, known_cases

Found = Mapping[str, Any]
GATE = 0.9
"""The share of the recorded ratio under which the gate says no."""
GATED = ("ratio_vs_diffusers_fp32", "ratio_vs_diffusers_bf16", "fp32_ratio_vs_diffusers_fp32")
HEAD = f"""\
<!-- Written by `pinxit bench TIER --write-docs` from the files in docs/performance; measure again, do not edit. -->

# Performance

Every program computes in a process of its own, all of them in turn, round after round, on the same random weights of
the real size of Stable Diffusion 1.5. A time counts only when the output is as near to diffusers' in float32 as the
number format allows; stable-diffusion.cpp draws noise of its own, so its output is not compared. Random weights cannot
show what 8 bits do to pictures: those rows are checked for nonsense only. *Times as fast* is the median over rounds of
the other program's time divided by ours. Rounds in which the rest of the machine was busy are left out (a lower
priority does not keep other sessions away where the kernel groups them). Operations are counted by hand, attention
included. stable-diffusion.cpp tells its own time of a step and runs once. OpenVINO is fed through torch, which its
`cold` cases import as well.

*Peak* is the most memory that the process had, as the kernel counts it, mapped files included, since the case began;
what only other cases need is dropped before. *Work* is how far a run of its own, which is not timed, rose above what
was held before it. *First run* is the time of the first one, with everything that is packed or compiled then. Whole
pictures of 20 steps run once. A `cold` case is a new process up to its picture of one step on the disk: `pinxit paint`
for ours; its peak is that of the whole process.

On a GPU, `pinxit bench gpu` measures Stable Diffusion 1.5 against diffusers eager and compiled, all in float16, and
`gpu-sdxl` SDXL: each in one call that is meant to end within nine minutes, most of them spent on compiling; `--skip`
and `--resume` cut it in parts. There the GPU's own events take the time, and memory is what tensors take of it.

The other programs, for whoever wants to measure:

```sh
pip install {" ".join(PEERS)}
```

`pinxit bench quick --json` prints one object whose `ratio_vs_diffusers_fp32` and `ratio_vs_diffusers_bf16` say how many
times as fast as diffusers in these formats we are, as users get us; `peak_rss_ratio_vs_diffusers_fp32` and `_bf16` what
share of its memory we take; `fp32_ratio_vs_diffusers_fp32` how we do in float32. `--check` fails where a ratio is under
{GATE} of the recorded one.
"""


def record(found: Found, page: Path) -> Found:
    """Keep a run beside the page, in place of what it measured again, and write the page anew. Returns what is kept."""
    kept = page.with_suffix("")
    kept.mkdir(parents=True, exist_ok=True)
    path = kept / f"{found['tier']}.json"
    merged = merge(recorded(path), found)
    path.write_text(json.dumps(merged, indent=1) + "\n", "utf-8")
    runs = {tier: run for tier in TIERS if (run := recorded(kept / f"{tier}.json")) is not None}
    goals = table(("goal", "measured", "met", "why not, and what was tried"), goal_rows(runs, notes_of(kept)))
    parts = [HEAD, "## Goals\n", "\n".join(goals) + "\n", *(markdown(run) for run in runs.values())]
    page.write_text("\n".join(parts), "utf-8")
    return merged


def recorded(path: Path) -> Found | None:
    """The run in a file, or None without one."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def merge(before: Found | None, found: Found) -> Found:
    """The earlier run with all that the new one measured in its place. What another machine measured, or with another
    number of threads, is forgotten.
    """
    if before is None or any(before[key] != found[key] for key in ("machine", "threads", "default")):
        return found
    merged = dict(found)
    for key in ("versions", "weights_sha256", "ceiling_gflops"):
        merged[key] = {**before[key], **found[key]}
    merged["rows"] = _replaced(before["rows"], found["rows"], ("case", "stack"))
    merged["ratios"] = _replaced(before["ratios"], found["ratios"], ("case", "ours", "peer"))
    measured = {row["stack"] for row in merged["rows"]}
    skipped = {**before["skipped"], **found["skipped"]}
    merged["skipped"] = {name: why for name, why in skipped.items() if name not in measured}
    for key in before:
        if key.startswith("builtin") and found[key] is None:
            merged[key] = before[key]
    return merged | headlines(merged)


def _replaced(before: list[Found], found: list[Found], keys: tuple[str, ...]) -> list[Found]:
    """Entries in the order of the cases and of the stacks."""
    entries = {tuple(one[key] for key in keys): one for one in (*before, *found)}
    order = {name: place for place, name in enumerate((*known_cases(), *STACKS))}
    return sorted(entries.values(), key=lambda one: [order.get(one[key], len(order)) for key in keys])


def markdown(found: Found) -> str:
    """One run, from its JSON object, as a section of the page."""
    machine = found["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in sorted(found["versions"].items()))
    memory = f", {machine['memory_gib']} GiB" if machine["memory_gib"] else ""
    gpus = "".join(f", {name}" for name in machine["gpus"])
    facts = f"{machine['processor']}, {machine['cores']} cores ({', '.join(machine['flags'])}){memory}{gpus}"
    dates = sorted({one["date"] for one in (*found["rows"], *found["ratios"])} or {found["date"]})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    lines = [
        f"## `pinxit bench {found['tier']}`",
        "",
        f"{when}; {facts}; {found['threads']} threads; {versions}.",
    ]
    if found["ceiling_gflops"]:
        peaks = ", ".join(f"{value:.0f} GFLOP/s in {name}" for name, value in found["ceiling_gflops"].items())
        lines.append(f"The fastest matrix product of the same run: {peaks}.")
    for section in sections(found):
        lines += ["", *section]
    lines += [f"\nSkipped: {name} ({why})." for name, why in found["skipped"].items()]
    return "\n".join(lines) + "\n"


def gate(found: Found, before: Found) -> list[str]:
    """What is slower than it was recorded, beyond what measuring varies by."""
    told: list[str] = []
    for name in GATED:
        now, then = found[name], before.get(name)
        if now is not None and then is not None and now < GATE * then:
            told.append(f"{name} is {now:.2f}, under {GATE} of the recorded {then:.2f}")
    return told
