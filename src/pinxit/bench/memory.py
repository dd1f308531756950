"""How much memory a process takes, as the kernel counts it."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from pinxit.engine.allocator import release

FORGET_PEAK = "5"
"""What makes the kernel's highest mark start again from now (proc(5), clear_refs)."""


class Meter:
    """The highest memory of a case, and how far one run rises above what was held before it."""

    def __init__(self) -> None:
        self.peak = 0
        self._before = 0

    def begin_case(self) -> None:
        """Start anew: what earlier cases took does not count, what is still held does."""
        release()
        reset_peak()
        self.peak = 0

    def begin_run(self) -> None:
        """Give back what is free inside the process, so that a run's own need shows. Not timed, the same for all."""
        self.peak = max(self.peak, peak_bytes())
        release()
        self._before = status_bytes("VmRSS")
        reset_peak()

    def end_run(self) -> int:
        """How far memory rose in the run."""
        top = peak_bytes()
        self.peak = max(self.peak, top)
        return max(0, top - self._before)


def reset_peak() -> None:
    """Forget the highest memory use so far, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text(FORGET_PEAK, "ascii")
    except OSError:
        return


def peak_bytes() -> int:
    """The highest resident memory of this process since `reset_peak`, files that are mapped included."""
    return status_bytes("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def held_bytes() -> int:
    """What is resident now and no mapped file's, whose pages the system may drop at any time."""
    return status_bytes("RssAnon") or status_bytes("VmRSS")


def status_bytes(key: str) -> int:
    """One line of the kernel's account of this process; 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text("ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), 0)
