"""With what to compute: device, number format and how sparing with memory. No part of the recipe; no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Literal, TypeVar, cast, get_args

from pinxit.engine.machine import Gpu, Machine
from pinxit.schema.errors import BadInput, Missing, UnknownName

Precision = Literal["auto", "float32", "bfloat16", "float16", "int8", "float8"]
Memory = Literal["auto", "low"]
Compile = Literal["auto", "on", "off"]
Quantized = Literal["int8", "float8"]
ABLE: dict[Quantized, tuple[int, int]] = {"int8": (8, 0), "float8": (8, 9)}
"""The CUDA capability from which on a GPU multiplies numbers of 8 bits itself."""
DEVICES = ("auto", "cpu", "cuda", "cuda:1", "mps")
"""Words that name a device; any other number after the colon names another one of several."""
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
Word = TypeVar("Word", bound=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a user says of how to compute. `auto` leaves it to the machine.

    `device` is cpu, mps, cuda, or cuda:N for one of several; `precision` the number format of the networks; `memory`
    low holds as little at once as can be without changing the picture; `compile` says whether networks are compiled
    first (see `pinxit.engine.compiling`). Raises UnknownName.
    """

    device: str = "auto"
    precision: Precision = "auto"
    memory: Memory = "auto"
    compile: Compile = "auto"

    def __post_init__(self) -> None:
        if not _DEVICE.fullmatch(self.device):
            raise UnknownName("device", self.device, DEVICES)
        _check("precision", self.precision, get_args(Precision))
        _check("way with memory", self.memory, get_args(Memory))
        _check("way of compiling", self.compile, get_args(Compile))

    @classmethod
    def of(
        cls,
        *,
        device: str | None = None,
        precision: str | None = None,
        memory: str | None = None,
        compile: str | None = None,  # noqa: A002  the flag's name
    ) -> Means:
        """The means that words name; None leaves one to the machine. Raises UnknownName."""
        return cls(
            device=device or "auto",
            precision=cast(Precision, precision or "auto"),
            memory=cast(Memory, memory or "auto"),
            compile=cast(Compile, compile or "auto"),
        )


def _check(kind: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise UnknownName(kind, word, known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a machine computes: torch's name of the `device` and of the number format `dtype`, and whether in `int8`.

    `gpu` is None on the processor. On a GPU `quantized` is what its wide linear layers compute in. Follows from the
    machine and the means alone, never from how busy it is: pictures differ in their last bits between ways.
    """

    device: str
    dtype: str
    int8: bool
    gpu: Gpu | None
    quantized: Quantized | None = None

    @property
    def streams(self) -> bool:
        """Whether weights can be read again in every step; rounding them takes longer than computing with them."""
        return not self.int8 and self.quantized is None

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return 4 if self.dtype == "float32" else 2

    def gigaflops(self, machine: Machine) -> float:
        """A cautious guess of what the networks reach, for estimates only."""
        if self.gpu is None:
            return machine.gigaflops
        return 5e3 if self.gpu.device == "mps" else 6e4 if self.gpu.bfloat16 else 1e4


def way_of(machine: Machine, means: Means) -> Way:
    """What `means` come to on `machine`. Raises Missing for a device that is not here, BadInput for a wrong pair."""
    gpu = _gpu(machine, means.device)
    fast = machine.fast_bfloat16 if gpu is None else gpu.bfloat16
    usual = "bfloat16" if fast else "float32" if gpu is None else "float16"
    if means.precision == "int8" or means.precision == "float8":
        if gpu is not None:
            _check_quantized(means.precision, gpu)
            return Way(device=gpu.device, dtype=usual, int8=False, gpu=gpu, quantized=means.precision)
        if means.precision == "float8":
            raise BadInput("float8 is computed on a GPU only.", hint="Ask for int8, or leave out --precision.")
        return Way(device="cpu", dtype=usual, int8=True, gpu=None)
    dtype = usual if means.precision == "auto" else means.precision
    return Way(device="cpu" if gpu is None else gpu.device, dtype=dtype, int8=False, gpu=gpu)


def workers_of(machine: Machine, means: Means) -> tuple[Means, ...]:
    """The means of one worker each, for everything on `machine` that can compute as `means` say at the same time: every
    accelerator of the kind that is asked for, or the one that is named, or else the processor.

    A worker is a process with a `Residency` of its own means. Raises what `way_of` raises where there is none.
    """
    first = _gpu(machine, means.device)
    if first is None or ":" in means.device:
        return (replace(means, device=way_of(machine, means).device),)
    kind = first.device.partition(":")[0]
    every = [replace(means, device=gpu.device) for gpu in machine.gpus if gpu.device.partition(":")[0] == kind]
    able = tuple(one for one in every if _can(machine, one))
    return able or (replace(means, device=way_of(machine, every[0]).device),)


def _can(machine: Machine, means: Means) -> bool:
    try:
        way_of(machine, means)
    except Missing:
        return False
    return True


def _check_quantized(kind: Quantized, gpu: Gpu) -> None:
    """Raise Missing where this GPU, or what is installed, does not compute in 8 bits."""
    if gpu.capability < ABLE[kind]:
        needed = ".".join(map(str, ABLE[kind]))
        raise Missing(
            f"{gpu.name} does not compute in {kind}: that takes an NVIDIA GPU of capability {needed}.",
            hint="Add --device cpu for int8, or leave out --precision.",
        )
    if find_spec("torchao") is None:
        raise Missing(f"Computing in {kind} on a GPU takes torchao.", hint="Install it: pip install 'pinxit[torchao]'.")


def _gpu(machine: Machine, device: str) -> Gpu | None:
    """The accelerator that the word `device` names; None is the processor."""
    if device == "cpu":
        return None
    kind, _, number = device.partition(":")
    fitting = [gpu for gpu in machine.gpus if device == "auto" or gpu.device.partition(":")[0] == kind]
    if number:
        fitting = [gpu for gpu in fitting if gpu.device == f"{kind}:{int(number)}"]
    if fitting:
        return fitting[0]
    if device == "auto":
        return None
    here = ", ".join(("cpu", *(gpu.device for gpu in machine.gpus)))
    raise Missing(f"There is no device {device} here.", hint=f"Devices here: {here}.")
