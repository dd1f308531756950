"""From samples to what is reported: which rounds count, times, ratios. Arithmetic only."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, TypeAlias

from pinxit.bench.cases import PROCESS, Case, Numbers
from pinxit.bench.driver import Series

Status: TypeAlias = Literal["ok", "failed", "unchecked", "noisy"]
NOISE_LIMIT = 0.10
"""Cores that others may use during a round that counts."""
PROGRAM = "pinxit"
PEER_SLACK = 6.0
"""How much less exact than ours another program may be in 16 bits: OpenVINO is, and its times count all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median, smallest and largest."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median=statistics.median(values), min=min(values), max=max(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One stack on one case. `seconds` is None unless the output was right (`ok`) or nothing could judge it
    (`unchecked`); `why` says what is wrong. `relative_l2` is the largest distance to the reference, `dropped_rounds`
    counts rounds that others disturbed. Memory in MB: the highest of all with mapped files, what is held in the end
    without them, and how far one run rose. `first_seconds` is the time of the very first run, with whatever that
    compiles or packs; `first_step_seconds` that from the start of a process to its first step's end.
    """

    case: str
    stack: str
    numbers: Numbers
    status: Status
    why: str = ""
    seconds: Spread | None = None
    gflops: float | None = None
    relative_l2: float | None = None
    rounds: int = 0
    dropped_rounds: int = 0
    peak_mb: int = 0
    held_mb: int = 0
    work_mb: int = 0
    first_seconds: float | None = None
    first_step_seconds: float | None = None

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times as long as `ours` the `peer` took: the spread over the rounds in which both count."""

    case: str
    ours: str
    peer: str
    times: Spread
    rounds: int

    def to_json(self) -> dict[str, object]:
        facts: dict[str, object] = {"case": self.case, "ours": self.ours, "peer": self.peer, "rounds": self.rounds}
        return facts | asdict(self.times)


def quiet(foreign: float | None, limit: float = NOISE_LIMIT) -> bool:
    """Whether a sample counts: little else ran, or the system does not tell."""
    return foreign is None or foreign <= limit


def row_of(case: Case, series: Series, *, limit: float = NOISE_LIMIT) -> Row:
    """What one series says, without its rounds that warmed up. A wrong output in any round fails the row."""
    row = Row(case=case.name, stack=series.stack, numbers=series.numbers, status="ok")
    if series.error:
        return replace(row, status="failed", why=series.error)
    offs = [sample.off for sample in series.samples if sample.off is not None]
    lax = _program(series) != PROGRAM and series.numbers != "float32"
    allowed = case.tolerance(series.numbers) * (PEER_SLACK if lax else 1.0)
    row = replace(
        row,
        relative_l2=max(offs) if offs else None,
        peak_mb=series.peak_bytes >> 20,
        held_mb=series.held_bytes >> 20,
        work_mb=series.work_bytes >> 20,
        first_seconds=series.samples[0].seconds if series.warming else None,
    )
    if not all(off <= allowed for off in offs):
        why = f"the output is {row.relative_l2:.1e} off the reference, {allowed:.0e} is allowed"
        return replace(row, status="failed", why=why)
    counted = series.samples[series.warming :]
    kept = [sample for sample in counted if quiet(sample.foreign, limit)]
    row = replace(row, rounds=len(kept), dropped_rounds=len(counted) - len(kept))
    if not kept:
        return replace(row, status="noisy", why="other programs ran in every round")
    seconds = Spread.of([sample.seconds for sample in kept])
    steps = [sample.first_step for sample in kept if sample.first_step is not None]
    row = replace(
        row,
        seconds=seconds,
        gflops=None if case.flops is None else case.flops / seconds.median / 1e9,
        first_step_seconds=statistics.median(steps) if steps else None,
    )
    if offs or case.kind == "import":
        return row
    return replace(row, status="unchecked", why="not compared" if _apart(case, series) else "nothing to compare with")


def _apart(case: Case, series: Series) -> bool:
    """Whether outputs are not meant to be compared: whole programs draw noise of their own."""
    return case.kind in PROCESS or not series.compared


def ratios_of(case: Case, group: Iterable[Series], default: str, *, limit: float = NOISE_LIMIT) -> list[Ratio]:
    """Every other program's time over ours, paired round by round. A stack of ours is held against those that compute
    in the same format; `default`, which is what users get, against all; and what fails against none.
    """
    right = [series for series in group if _counts(case, series, limit)]
    found: list[Ratio] = []
    for ours in right:
        for peer in right:
            if _program(ours) != PROGRAM or _program(peer) == PROGRAM:
                continue
            if ours.stack != default and ours.numbers not in (peer.numbers, "int8"):
                continue
            values = _paired(peer, ours, limit)
            if values:
                times = Spread.of(values)
                found.append(Ratio(case=case.name, ours=ours.stack, peer=peer.stack, times=times, rounds=len(values)))
    return found


def _counts(case: Case, series: Series, limit: float) -> bool:
    status = row_of(case, series, limit=limit).status
    return status == "ok" or (status == "unchecked" and _apart(case, series))


def _program(series: Series) -> str:
    return series.stack.partition("-")[0]


def _paired(peer: Series, ours: Series, limit: float) -> list[float]:
    """Ratios round by round; where one ran another number of rounds, the rounds that both have."""
    pairs = zip(peer.samples[peer.warming :], ours.samples[ours.warming :], strict=False)
    return [a.seconds / b.seconds for a, b in pairs if quiet(a.foreign, limit) and quiet(b.foreign, limit)]
