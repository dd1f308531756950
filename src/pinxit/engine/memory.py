"""What a run takes of memory, stage by stage, and what is done where that is too much. Counted, not tried; no torch.

Every rung of the ladder leaves the picture as it is, to the last bit: how busy a machine is may decide how long a
picture takes, never how it looks. What rounds otherwise follows from the machine and the means alone (`Way`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pinxit.engine.machine import GIB, Machine
from pinxit.engine.means import Way
from pinxit.models.contract import AnyFamily
from pinxit.schema.errors import OutOfMemory
from pinxit.schema.parts import Size

if TYPE_CHECKING:
    from pinxit.engine.plan import Resolved

MIB = 2**20
RUNTIME_BYTES = 295 * MIB
"""The process without weights: Python, torch and the libraries that it maps."""
DEVICE_BYTES = 500 * MIB
"""What a GPU's driver and libraries take of its own memory."""
READ_RATE = 1e9
"""Bytes of a file that a second brings into a network, carefully guessed."""
LITTLE = 0.05
"""The share of a picture's time for which text encoders are let go and read again for the next prompt."""
NARROW_TABLE = "token_embedding.weight"
"""How names of tables end that stay in 16 bits in networks that compute in float32, where the file has them so."""
BLOCK_TENSORS = 3
"""The size of a network's largest block, in its largest tensors, about."""
INT8_SCALES = 1.13
"""Bytes of a weight in 8 bits with its share of the scales, of the layers that stay as they are and of folded ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One way to take less memory at the cost of time, and what to say of it."""

    name: str
    note: str


LADDER = (
    Rung(name="encoders", note="text encoders are let go once the prompt is read"),
    Rung(name="apart", note="networks take each other's place in memory and are read again for each picture"),
    Rung(name="part", note="the largest blocks of the network are read again in every step"),
    Rung(name="stream", note="all blocks of the network are read again in every step, which takes long"),
)
"""Each is taken with those before it; `--memory low` takes the first three at once."""
LOW = 3
SHARES = {"part": 0.25, "stream": 1.0}
"""The shares of the denoising network's weights that are read again in every step."""
Rungs = tuple[str, ...]


def streamed_share(rungs: Rungs) -> float:
    """The share of the denoising network's weights that is not kept in memory."""
    return max((SHARES.get(name, 0.0) for name in rungs), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What is held back of memory, and the bytes of each stage with that. `notes` say what was done for want of it."""

    rungs: Rungs
    stages: Mapping[str, int]
    notes: tuple[str, ...] = ()


def budget(resolved: Resolved, machine: Machine, way: Way, *, low: bool, seconds: float) -> Budget:
    """The first rung of the ladder on which the run fits. Raises OutOfMemory when none does.

    `seconds` is the time that the whole run is thought to take.
    """
    room, size = room_of(machine, way), resolved.size
    ladder = tuple(rung for rung in LADDER if way.streams or rung.name not in SHARES)
    least = min(LOW, len(ladder)) if low else int(_reads_soon(resolved, way, seconds))
    for count in range(least, len(ladder) + 1):
        rungs = tuple(rung.name for rung in ladder[:count])
        stages = stage_bytes(resolved, way, rungs, size)
        if room is None or max(stages.values()) <= room:
            why = "to save memory" if low else "for want of memory"
            said = ladder[0 if low else least : count]
            return Budget(rungs=rungs, stages=stages, notes=tuple(f"{why}, {rung.note}" for rung in said))
    raise out_of_memory(resolved, way, room or 0)


def room_of(machine: Machine, way: Way) -> int | None:
    """Bytes that a run may fill where it computes; None where unknown."""
    return machine.room if way.gpu is None else way.gpu.free


def out_of_memory(resolved: Resolved, way: Way, room: int) -> OutOfMemory:
    """The error that says what is needed, and the largest picture of this shape that would fit."""
    every = tuple(rung.name for rung in LADDER)
    needed, size = max(stage_bytes(resolved, way, every, resolved.size).values()), resolved.size
    fitting = next(
        (one for one in _smaller(size) if max(stage_bytes(resolved, way, every, one).values()) <= room), None
    )
    where = "" if way.gpu is None else f" on {way.gpu.name}"
    return OutOfMemory(
        f"A picture of {size} needs about {needed / GIB:.1f} GiB, and {room / GIB:.1f} GiB are free{where}.",
        hint="Close other programs, or choose a smaller model."
        if fitting is None
        else f"The largest of this shape that fits is {fitting}; or close other programs.",
        field="size",
    )


def _smaller(size: Size) -> Iterable[Size]:
    """Sizes of the same shape in multiples of 8, the largest first."""
    for part in range(63, 0, -1):
        width, height = (max(8, round(side * part / 64 / 8) * 8) for side in (size.width, size.height))
        if min(width, height) >= 64:
            yield Size(width=width, height=height)


def _reads_soon(resolved: Resolved, way: Way, seconds: float) -> bool:
    """Whether reading the text encoders again costs next to nothing beside a picture."""
    text = sum(component_bytes(one, name, way) for one in resolved.models for name in _texts(one))
    return text / READ_RATE <= LITTLE * seconds


def stage_bytes(resolved: Resolved, way: Way, rungs: Rungs, size: Size) -> dict[str, int]:
    """Peak memory of a process that paints `size` and nothing else, by stage: on the GPU its own memory."""
    first, count = resolved.models[0], resolved.request.count
    apart, has_inputs = "apart" in rungs, bool(resolved.request.inputs())
    texts = [(one, name) for one in resolved.models for name in _texts(one)]
    reads = sum(component_bytes(one, name, way) for one, name in texts)
    text = 0 if "encoders" in rungs else reads
    vae = component_bytes(first, "vae", way)
    nets = [_denoiser(one, way, share=streamed_share(rungs)) for one in resolved.models]
    steps = [
        _at_once(one, way) * one.facts.denoise(size.width, size.height).activation_bytes * way.itemsize / 4
        for one in resolved.models
    ]
    codec = first.facts.decode(size.width, size.height).activation_bytes * way.itemsize / 4
    known = 0 if apart else vae if has_inputs or count > 1 else 0
    found: dict[str, float] = {"encode": reads + max((largest_tensor(*one, way) for one in texts), default=0)}
    found["prepare"] = text + (vae + codec if has_inputs else 0)
    for place, (stage, net, step) in enumerate(zip(("denoise", "refine"), nets, steps, strict=False)):
        beside = 0 if apart else sum(nets[:place]) if count == 1 else sum(nets) - net
        found[stage] = text + known + beside + net + max(step, largest_tensor(resolved.models[place], _net(first), way))
    found["decode"] = text + vae + (0 if apart else sum(nets)) + codec
    found["finish"] = text + (0 if apart else sum(nets)) + vae
    base = RUNTIME_BYTES if way.gpu is None else DEVICE_BYTES
    return {stage: int(base + extra) for stage, extra in found.items()}


def _net(resolved: Resolved) -> str:
    return resolved.family.denoiser


def _texts(resolved: Resolved) -> tuple[str, ...]:
    return tuple(name for name in resolved.facts.components if name in resolved.family.encoders)


def _denoiser(resolved: Resolved, way: Way, *, share: float) -> int:
    """Bytes of a denoising network of which `share` is not kept; a block of it is there at a time."""
    name = _net(resolved)
    whole = component_bytes(resolved, name, way)
    return (
        whole
        if not share or not way.streams
        else int((1 - share) * whole) + BLOCK_TENSORS * largest_tensor(resolved, name, way)
    )


def _at_once(resolved: Resolved, way: Way) -> int:
    """Predictions that one call of the network makes: on a GPU those without and with the prompt together."""
    guided = resolved.request.guidance not in (None, 1.0) and not resolved.facts.tells_guidance
    return 2 if way.gpu is not None and guided else 1


def int8_components(family: AnyFamily) -> frozenset[str]:
    """The components whose weights are held in 8 bits where that is asked for."""
    return frozenset({family.denoiser, "vae"})


def exact_components(family: AnyFamily) -> frozenset[str]:
    """The components that compute in float32 on every machine."""
    return frozenset(family.encoders) - frozenset(family.wide)


def itemsize(family: AnyFamily, component: str, way: Way) -> float:
    """Bytes of one of a component's weights."""
    if component in exact_components(family):
        return 4
    return INT8_SCALES if way.int8 and component in int8_components(family) else way.itemsize


def component_bytes(resolved: Resolved, component: str, way: Way) -> int:
    """Memory of a component's weights as they are computed with; 0 for one that the model does not bring."""
    if component not in resolved.facts.components:
        return 0
    each, header = itemsize(resolved.family, component, way), resolved.match.header
    total = 0.0
    for name in _names(resolved, component):
        info = header.tensors[name]
        narrow = each == 4 and name.endswith(NARROW_TABLE) and info.dtype in ("F16", "BF16")
        total += math.prod(info.shape) * (2 if narrow else each)
    return int(total)


def largest_tensor(resolved: Resolved, component: str, way: Way) -> int:
    """Memory of a component's largest tensor, which is there twice while it is read or sorted."""
    shapes = [resolved.match.header.tensors[name].shape for name in _names(resolved, component)]
    return int(itemsize(resolved.family, component, way) * max(map(math.prod, shapes), default=0))


def _names(resolved: Resolved, component: str) -> set[str]:
    """The file's names of a component's tensors."""
    match = resolved.match
    names = {name for entry in match.part(component).entries for name in entry.theirs}
    return names & match.header.tensors.keys()
