"""From samples to what is reported: which rounds count, times, ratios. Arithmetic only."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from pinxit.bench.cases import Case, Dtype
from pinxit.bench.driver import Sample, Series

Status: TypeAlias = Literal["ok", "failed", "unchecked", "noisy"]
OURS = "pinxit"
NOISE_LIMIT = 0.10
"""Cores that others may use during a round that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median, smallest and largest."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median=statistics.median(values), least=min(values), most=max(values))

    def to_json(self) -> dict[str, float]:
        return {"median": self.median, "min": self.least, "max": self.most}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One stack on one case. `seconds` is None unless the output was right (`ok`) or nothing could judge it
    (`unchecked`); `why` says what is wrong. `off` is the largest distance to the reference, `dropped` counts rounds
    that others disturbed.
    """

    case: str
    stack: str
    dtype: Dtype
    status: Status
    why: str = ""
    seconds: Spread | None = None
    gflops: float | None = None
    off: float | None = None
    rounds: int = 0
    dropped: int = 0
    peak_mb: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times as long as ours `peer` took: the spread over the rounds in which both count."""

    case: str
    dtype: Dtype
    peer: str
    times: Spread
    rounds: int


def quiet(sample: Sample, limit: float = NOISE_LIMIT) -> bool:
    """Whether a sample counts: little else ran, or the system does not tell."""
    return sample.foreign is None or sample.foreign <= limit


def row_of(case: Case, series: Series, *, limit: float = NOISE_LIMIT) -> Row:
    """What one series says, with its first round left out. A wrong output in any round fails the row."""
    row = Row(case=case.name, stack=series.stack, dtype=series.dtype, status="ok")
    if series.error:
        return replace(row, status="failed", why=series.error)
    offs = [sample.off for sample in series.samples if sample.off is not None]
    allowed = case.tolerance(series.dtype)
    row = replace(row, off=max(offs) if offs else None, peak_mb=series.peak_bytes >> 20)
    if not all(off <= allowed for off in offs):
        why = f"the output is {row.off:.1e} off the reference, {allowed:.0e} is allowed"
        return replace(row, status="failed", why=why)
    counted = series.samples[1:]
    kept = [sample.seconds for sample in counted if quiet(sample, limit)]
    row = replace(row, rounds=len(kept), dropped=len(counted) - len(kept))
    if not kept:
        return replace(row, status="noisy", why="other programs ran in every round")
    seconds = Spread.of(kept)
    row = replace(row, seconds=seconds, gflops=case.flops / seconds.median / 1e9)
    return row if offs else replace(row, status="unchecked", why="no reference to compare with")


def ratios_of(case: Case, group: Iterable[Series], *, limit: float = NOISE_LIMIT) -> list[Ratio]:
    """Every peer's time over ours, paired round by round; only rows that are `ok` take part."""
    right = [series for series in group if row_of(case, series, limit=limit).status == "ok"]
    ours = next((series for series in right if series.stack == OURS), None)
    if ours is None:
        return []
    found: list[Ratio] = []
    for peer in right:
        if peer is ours:
            continue
        pairs = zip(peer.samples[1:], ours.samples[1:], strict=True)
        values = [a.seconds / b.seconds for a, b in pairs if quiet(a, limit) and quiet(b, limit)]
        if values:
            times = Spread.of(values)
            found.append(Ratio(case=case.name, dtype=ours.dtype, peer=peer.stack, times=times, rounds=len(values)))
    return found
