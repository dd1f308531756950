"""A tiny model ready to paint: the engine without a studio, so that tests choose number formats and what is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pinxit.engine.catalog import Catalog
from pinxit.engine.machine import GIB, Machine
from pinxit.engine.means import Means
from pinxit.engine.plan import Plan, Resolved, plan, resolve
from pinxit.engine.residency import Residency
from pinxit.engine.run import Stop, never, run
from pinxit.plugins.manager import build_catalog
from pinxit.schema.events import Event, ImageReady
from pinxit.schema.request import GenerationRequest
from pinxit.studio.library import Library
from tests.tiny import (
    make_pinxit,
    make_refiner,
    make_sd1,
    make_sd2,
    make_sd3,
    make_sd35,
    make_sdxl,
    make_unclip,
    make_upscale2,
    make_upscale4,
)

ROOMY = Machine(cores=2, memory=64 * GIB, available=64 * GIB, flags=frozenset({"avx512_bf16"}))
"""A machine with plenty of memory and bfloat16, whatever the tests run on."""
SMALL: dict[str, object] = {"size": "64x64", "seed": 7, "steps": 3, "prompt": "a cat"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Easel:
    """One library and what is loaded from it."""

    library: Library
    catalog: Catalog
    residency: Residency
    model: str

    def request(self, **fields: object) -> GenerationRequest:
        """A small picture of this easel's model, in three steps, unless `fields` say otherwise."""
        return GenerationRequest.model_validate({**SMALL, "model": self.model, **fields})

    def resolve(self, inputs: Mapping[str, bytes] | None = None, /, **fields: object) -> Resolved:
        return resolve(self.request(**fields), self.catalog, self.library, inputs)

    def plan(self, inputs: Mapping[str, bytes] | None = None, /, **fields: object) -> Plan:
        return plan(self.resolve(inputs, **fields), ROOMY)

    def events(
        self,
        inputs: Mapping[str, bytes] | None = None,
        /,
        *,
        output: Path | None = None,
        stop: Stop = never,
        **fields: object,
    ) -> Iterator[Event]:
        return run(self.plan(inputs, **fields), self.residency, output=output, stop=stop)

    def paint(self, inputs: Mapping[str, bytes] | None = None, /, **fields: Any) -> list[ImageReady]:
        """The finished pictures of a request."""
        return [event for event in self.events(inputs, **fields) if isinstance(event, ImageReady)]

    def pixels(self, inputs: Mapping[str, bytes] | None = None, /, **fields: Any) -> list[str]:
        """The fingerprints of the finished pictures' pixels."""
        return [ready.pixels_sha256 for ready in self.paint(inputs, **fields)]


class Easels:
    """Models made when they are first asked for, each with its own residency per number format."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: dict[tuple[str, torch.dtype | None], Easel] = {}

    def model(self, name: str) -> Path:
        """The files of one tiny model: `pinxit`, `deep` (the same with an f16 autoencoder), `sd1` or `sd2`."""
        suffix = "" if name in ("pinxit", "deep", "sd3") else ".safetensors"
        path = self.folder / f"{name}{suffix}"
        makers: dict[str, Callable[[Path], Path]] = {
            "pinxit": make_pinxit,
            "deep": lambda folder: make_pinxit(folder, levels=5),
            "sd1": make_sd1,
            "sd2": make_sd2,
            "unclip": make_unclip,
            "upscale2": make_upscale2,
            "upscale4": make_upscale4,
            "sd3": make_sd3,
            "sd35": make_sd35,
            "sdxl": make_sdxl,
            "refiner": make_refiner,
        }
        return path if path.exists() else makers[name](path)

    def __call__(self, name: str, dtype: torch.dtype | None = torch.float32) -> Easel:
        """The easel of one model; `dtype` None is the format that this machine would choose."""
        if (name, dtype) not in self._made:
            self.model(name)
            self._made[name, dtype] = Easel(
                library=Library([self.folder], builtin=self.folder / "pinxit"),
                catalog=build_catalog(),
                residency=Residency(means=means_of(dtype)),
                model=name,
            )
        return self._made[name, dtype]


def means_of(dtype: torch.dtype | None) -> Means:
    """What asks for one number format; None asks for nothing."""
    return Means.of(precision=dtype and str(dtype).removeprefix("torch."))


def easel_for(folder: Path, model: str, *, dtype: torch.dtype | None = torch.float32) -> Easel:
    """An easel of a test's own folder of models."""
    library = Library([folder], builtin=folder / "absent")
    return Easel(library=library, catalog=build_catalog(), residency=Residency(means=means_of(dtype)), model=model)


class CountedCalls:
    """Counts the calls of a network while the context is open."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self.count = 0

    def __enter__(self) -> CountedCalls:
        self._handle = self._network.register_forward_hook(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    def _called(self, *_: object) -> None:
        self.count += 1


def with_network(resolved: Resolved, network: Any) -> Resolved:
    """The same with `network` in the place of the U-Net: what it is called with can be seen, and costs nothing."""
    return replace(resolved, family=replace(resolved.family, network=lambda config, unet: network))
