"""What this machine can do, read without torch where there is no GPU: cores, memory, and number formats."""

from __future__ import annotations

import os
import sys
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30
_GPU_NODES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""What the drivers of GPUs put there: without any, importing torch to ask it is spared."""
_CGROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Where version 2 and 1 of Linux' control groups tell a limit, what is used, and what of that can be let go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One accelerator. `device` is torch's name for it, such as cuda:0; `memory` and `free` are in bytes.

    `bfloat16` says whether it multiplies such numbers itself, `capability` is CUDA's version of what it can do; (0, 0)
    where it is no CUDA device.
    """

    name: str
    device: str
    memory: int
    free: int
    bfloat16: bool
    capability: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`cores` that this process may use, `memory` and `available` in bytes (None where unknown), processor `flags`.

    A container's limit counts as the machine's memory. `held` is what this process has already, which is its to use.
    """

    cores: int
    memory: int | None
    available: int | None
    flags: frozenset[str]
    held: int = 0
    gpus: tuple[Gpu, ...] = ()

    @property
    def fast_bfloat16(self) -> bool:
        """Whether the processor multiplies bfloat16 numbers itself (AVX-512 BF16 or AMX)."""
        return bool(self.flags & {"avx512_bf16", "amx_bf16"})

    @property
    def room(self) -> int | None:
        """Bytes that the whole process can have: what it holds, and what is free. None where unknown."""
        return None if self.available is None else self.available + self.held

    @property
    def gigaflops(self) -> float:
        """A cautious guess of what the networks reach on the processor, for estimates only."""
        if self.fast_bfloat16:
            return 110.0 * self.cores
        return (60.0 if "avx512f" in self.flags else 30.0) * self.cores


def this_machine() -> Machine:
    """Look at the machine. Reading fails nowhere: what cannot be read is None or empty."""
    memory = _meminfo()
    whole, available = memory.get("MemTotal"), memory.get("MemAvailable")
    limit = _container()
    if limit is not None and whole is not None and available is not None:
        whole, available = min(whole, limit[0]), min(available, limit[1])
    return Machine(
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1),
        memory=whole,
        available=available,
        flags=_flags(),
        held=_held(),
        gpus=this_machines_gpus(),
    )


def this_machines_gpus() -> tuple[Gpu, ...]:
    """Every accelerator that torch can use, the one it would take first. Imports torch only where there may be one."""
    if not _may_have_a_gpu():
        return ()
    try:
        import torch
    except (ImportError, OSError, RuntimeError):
        return ()
    found = [_cuda(index) for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if not found and torch.backends.mps.is_available():
        most = torch.mps.recommended_max_memory()
        taken = torch.mps.driver_allocated_memory()
        found = [Gpu(name="Apple GPU", device="mps", memory=most, free=max(0, most - taken), bfloat16=True)]
    return tuple(found)


def _cuda(index: int) -> Gpu:
    import torch

    free, whole = torch.cuda.mem_get_info(index)
    properties = torch.cuda.get_device_properties(index)
    return Gpu(
        name=properties.name,
        device=f"cuda:{index}",
        memory=whole,
        free=free,
        bfloat16=properties.major >= 8,
        capability=(properties.major, properties.minor),
    )


def _may_have_a_gpu() -> bool:
    if sys.platform == "win32":
        return find_library("nvcuda") is not None
    return sys.platform == "darwin" or any(Path(node).exists() for node in _GPU_NODES)


def _container(root: Path = Path("/")) -> tuple[int, int] | None:
    """The lowest limit of the control groups that this process is in, and what is left of it; None without one."""
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    inside = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    found: list[tuple[int, int]] = []
    for base, limit, usage, cache in _CGROUPS:
        mounted = root / base.lstrip("/")
        for _, controllers, path in inside:
            if bool(controllers) != base.endswith("memory") or (controllers and "memory" not in controllers.split(",")):
                continue
            # A container may see its own group as the root of the tree, whatever its path is outside.
            own = mounted / path.lstrip("/")
            groups = {mounted, *(one for one in (own, *own.parents) if one.is_relative_to(mounted))}
            found += [one for group in groups if (one := _limit(group, limit, usage, cache)) is not None]
    return None if not found else (min(limit for limit, _ in found), min(left for _, left in found))


def _limit(group: Path, limit: str, usage: str, cache: str) -> tuple[int, int] | None:
    most, used = _number(group / limit), _number(group / usage)
    if most is None or used is None or most >= 2**60:
        return None
    kept = _table(group / "memory.stat", separator=" ").get(cache, 0)
    return most, max(0, most - max(0, used - kept))


def _number(path: Path) -> int | None:
    try:
        word = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(word) if word.isdigit() else None


def _held() -> int:
    """Resident bytes of this process."""
    try:
        words = Path("/proc/self/statm").read_text("ascii").split()
        return int(words[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _meminfo() -> dict[str, int]:
    return {key: 1024 * value for key, value in _table(Path("/proc/meminfo"), separator=":").items()}


def _table(path: Path, *, separator: str) -> dict[str, int]:
    """The first number behind every word of a file with a line each."""
    try:
        lines = path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    found: dict[str, int] = {}
    for line in lines:
        key, _, rest = line.partition(separator)
        number = rest.split()[:1]
        if number and number[0].isdigit():
            found[key] = int(number[0])
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
