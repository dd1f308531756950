"""Weights that stay in their file until a layer computes for the first time, and are then packed at once.

Memory never holds them twice, and reading and sorting them is part of the first step.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import Protocol

import torch
from torch import Tensor, nn

from pinxit.nn.int8 import Int8Weight
from pinxit.nn.layers import Conv2d, Linear
from pinxit.nn.packed import PackedWeight


class Source(Protocol):
    """Reads one tensor into `room`, which has at least `nbytes` bytes."""

    @property
    def nbytes(self) -> int: ...

    def read(self, room: Tensor | None = None) -> Tensor: ...


class Waiting:
    """One network's weights, to be packed or rounded to 8 bits, that wait in the file. `take` belongs into the hands of
    what reads the weights, the whole then into those of `pinxit.nn.speed.accelerate`. `dtype` is what the layers
    compute in.

    All of them are read into the same memory, one after the other: fresh pages for each would take longer than all
    else. It is let go after the last one.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._layers = {
            f"{name}.weight": module for name, module in network.named_modules() if isinstance(module, Conv2d | Linear)
        }
        self._sources: dict[str, Source] = {}
        self._left: set[str] = set()
        self._rooms: tuple[Tensor, Tensor] | None = None
        self._lock = Lock()

    def take(self, name: str, source: Source) -> bool:
        """Keep where the tensor `name` is, if it is a weight that will be packed; whether it is."""
        layer = self._layers.get(name)
        if layer is None:
            return False
        layer.weight = nn.Parameter(torch.empty(0, dtype=self._dtype), requires_grad=False)
        self._sources[name] = source
        return True

    def settle(self) -> None:
        """Tell every layer's packed weight where its plain one is to be had."""
        for name in self._sources:
            packed = self._layers[name].packed
            if isinstance(packed, PackedWeight | Int8Weight):
                packed.wait_for(partial(self._lend, name, raw=isinstance(packed, Int8Weight)))
                self._left.add(name)

    @contextmanager
    def _lend(self, name: str, *, raw: bool) -> Generator[Tensor]:
        """The weight in the order that packing takes it in, or `raw` as the file has it, to be rounded only once."""
        with self._lock:
            if self._rooms is None:
                most = max(source.nbytes for source in self._sources.values())
                wide = max(1, self._dtype.itemsize // 2)
                self._rooms = torch.empty(most, dtype=torch.uint8), torch.empty(wide * most, dtype=torch.uint8)
            first, second = self._rooms
            tensor = self._sources[name].read(first)
            yield tensor if raw else self._ready(tensor, second)
            self._left.discard(name)
            if not self._left:
                self._rooms = None

    def _ready(self, tensor: Tensor, room: Tensor) -> Tensor:
        if tensor.ndim != 4 and tensor.dtype == self._dtype:
            return tensor
        into = room[: tensor.numel() * self._dtype.itemsize].view(self._dtype)
        if tensor.ndim == 4:
            out, channels, height, width = tensor.shape
            return into.view(out, height, width, channels).permute(0, 3, 1, 2).copy_(tensor)
        return into.view(tensor.shape).copy_(tensor)
