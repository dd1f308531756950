"""How busy the machine is with other things while something is timed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

STAT = Path("/proc/stat")
IDLE = (3, 4)
"""Columns of the first line that count idle time: idle, and waiting for the disk."""
COUNTED = 8
"""Columns after these (guest time) are contained in the ones before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Seconds of the wall, and busy seconds of all cores together (None where the system does not tell)."""

    wall: float
    busy: float | None


def read_clock(stat: Path = STAT) -> Clock:
    """The time now."""
    try:
        line = stat.read_text("ascii").split("\n", 1)[0]
        columns = [int(word) for word in line.split()[1 : COUNTED + 1]]
    except (OSError, ValueError):
        return Clock(wall=time.perf_counter(), busy=None)
    ticks = sum(count for column, count in enumerate(columns) if column not in IDLE)
    return Clock(wall=time.perf_counter(), busy=ticks / os.sysconf("SC_CLK_TCK"))


def foreign_cores(before: Clock, after: Clock, own: float) -> float | None:
    """Cores that others kept busy between two clocks, when we ourselves used `own` seconds of processor time."""
    wall = after.wall - before.wall
    if before.busy is None or after.busy is None or wall <= 0:
        return None
    return max(0.0, after.busy - before.busy - own) / wall
