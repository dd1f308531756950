"""Whether networks are compiled before they compute, and under which name the result is kept. No torch.

Compiling takes minutes for a size that no earlier run left in the cache, and then saves a part of every step. On a
processor it saves nothing against what the layers do there anyway, so it has to be asked for.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit import __version__
from pinxit.engine.machine import Gpu
from pinxit.engine.means import Means, Way
from pinxit.engine.memory import Rungs
from pinxit.engine.places import cache_folder
from pinxit.engine.shortcuts import caching_of, merging_of

if TYPE_CHECKING:
    from pinxit.engine.plan import Resolved

ABLE = (8, 0)
"""The CUDA capability from which on the compiler's kernels are faster than torch's own."""
SECONDS = 240.0
"""What compiling a large network takes at first, carefully guessed."""
SAVED = 0.3
"""The share of a picture's time that a compiled network saves, carefully guessed."""
BESIDE: frozenset[str] = frozenset({"encoders"})
"""Rungs of the memory ladder that leave the networks of the picture where they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiling:
    """Whether networks are compiled, and what to say of that."""

    on: bool
    notes: tuple[str, ...] = ()


def choose_compiling(resolved: Resolved, way: Way, means: Means, rungs: Rungs, *, seconds: float) -> Compiling:
    """What `means` come to for a run that is thought to take `seconds` in all."""
    if means.compile == "off" or (means.compile == "auto" and way.gpu is None):
        return Compiling(on=False)
    warm = all(kept_at(one, way).is_file() for one in resolved.models)
    if means.compile == "auto" and not _pays(way.gpu, seconds, warm=warm):
        return Compiling(on=False)
    reason = _obstacle(resolved, way, rungs)
    if reason:
        return Compiling(on=False, notes=(f"nothing is compiled: {reason}",))
    if warm:
        return Compiling(on=True, notes=("networks were compiled for this size before",))
    return Compiling(on=True, notes=("networks are compiled at their first call, which can take minutes, once",))


def _pays(gpu: Gpu | None, seconds: float, *, warm: bool) -> bool:
    if gpu is None or gpu.capability < ABLE or find_spec("triton") is None:
        return False
    return warm or SAVED * seconds > SECONDS


def _obstacle(resolved: Resolved, way: Way, rungs: Rungs) -> str:
    """Empty, or what keeps this run's networks from being compiled whole and staying so."""
    if not BESIDE.issuperset(rungs):
        return "networks do not stay in memory"
    if caching_of(resolved.request) is not None or merging_of(resolved.request) is not None:
        return "a network that leaves parts out is another one at each step"
    return "layers in 8 bits on the processor cannot be" if way.int8 else ""


def kept_at(model: Resolved, way: Way) -> Path:
    """The file that keeps what compiling the networks of `model` gave for pictures of its request's size."""
    facts = (
        __version__,
        version("torch"),
        None if way.gpu is None else (way.gpu.name, way.gpu.capability),
        (way.device.partition(":")[0], way.dtype, way.quantized),
        (model.family.name, repr(model.config)),
        (model.size.width, model.size.height),
    )
    name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]
    return cache_folder() / "compiled" / f"{name}.bin"
