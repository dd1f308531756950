"""What this machine can do, read without torch: cores, memory, and number formats."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`cores` that this process may use, `memory` and `available` in bytes (None where unknown), processor `flags`."""

    cores: int
    memory: int | None
    available: int | None
    flags: frozenset[str]

    @property
    def fast_bfloat16(self) -> bool:
        """Whether the processor multiplies bfloat16 numbers itself (AVX-512 BF16 or AMX)."""
        return bool(self.flags & {"avx512_bf16", "amx_bf16"})

    @property
    def gigaflops(self) -> float:
        """A cautious guess of what the networks reach here, for estimates only."""
        if self.fast_bfloat16:
            return 110.0 * self.cores
        return (60.0 if "avx512f" in self.flags else 30.0) * self.cores


def this_machine() -> Machine:
    """Look at the machine. Reading fails nowhere: what cannot be read is None or empty."""
    memory = _meminfo()
    return Machine(
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1),
        memory=memory.get("MemTotal"),
        available=memory.get("MemAvailable"),
        flags=_flags(),
    )


def _meminfo() -> dict[str, int]:
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    found: dict[str, int] = {}
    for line in lines:
        key, _, rest = line.partition(":")
        number = rest.split()[:1]
        if number and number[0].isdigit():
            found[key] = int(number[0]) * 1024
    return found


def _flags() -> frozenset[str]:
    try:
        with Path("/proc/cpuinfo").open(encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(("flags", "Features")):
                    return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()
