"""What sits where, in which number format: the only module that loads, moves or drops a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import nn

from pinxit.engine.allocator import release
from pinxit.engine.machine import Machine, this_machine
from pinxit.engine.places import cache_folder
from pinxit.engine.plan import Resolved, component_bytes, exact_components
from pinxit.nn.kernels.attention import load_attention
from pinxit.nn.packed import available
from pinxit.nn.speed import accelerate
from pinxit.prompts.chunks import Tokenizer
from pinxit.schema.errors import BadModelFile, OutOfMemory
from pinxit.weights.load import load_into

ALIGNMENT = 64
"""Bytes to whose multiples torch itself aligns."""
TABLES = {torch.float32: ("token_embedding.weight",)}
"""Tables of which few rows are looked up, and added to wider numbers: the rows are the same in 16 bits."""
ROOM = 0.8
"""The share of the memory that was free at the start that networks may fill while several models are held."""
Key = tuple[Path, tuple[tuple[Path, int, int], ...], object]


class _Loaded:
    """What is loaded of one model."""

    def __init__(self) -> None:
        self.networks: dict[str, nn.Module] = {}
        self.bytes: dict[str, int] = {}
        self.tokenizers: Mapping[str, Tokenizer] | None = None


class Residency:
    """Networks of one model at a time, or of the models that work together on one picture, built without memory and
    filled tensor by tensor. Where several do not fit into memory side by side, each takes the place of the last.

    Text encoders compute in float32, which costs nothing unless they are very wide; all else in bfloat16 where the
    processor has it (`dtype` overrides), pictures in channels-last order. These two hold their weights packed, and the
    U-Net attends with our own kernel where it can be compiled; `plain` leaves all that out. What is chosen depends on
    the machine alone, never on how busy it is, because it rounds differently.
    """

    def __init__(
        self, machine: Machine | None = None, *, dtype: torch.dtype | None = None, plain: bool = False
    ) -> None:
        self.machine = machine or this_machine()
        self.dtype = dtype or (torch.bfloat16 if self.machine.fast_bfloat16 else torch.float32)
        self._plain = plain
        self._means: tuple[str, ...] = ()
        self._models: dict[Key, _Loaded] = {}
        self._together: frozenset[Path] = frozenset()

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def numerics(self) -> str:
        """The device and what the loaded U-Net computes with beside torch's usual ways: pictures are the same to the
        last bit only where this is the same.
        """
        return "-".join(("cpu", *self._means))

    def network(self, resolved: Resolved, component: str) -> nn.Module:
        """The network of one component, ready to compute. Raises ModelError and OutOfMemory."""
        loaded = self._open(resolved)
        if component not in loaded.networks:
            dtype = self.dtype_of(resolved, component)
            loaded.bytes[component] = component_bytes(resolved, component, dtype.itemsize)
            self._make_room(loaded)
            network = self._load(resolved, component, dtype)
            loaded.networks[component] = network if self._plain else self._faster(resolved, network, component)
        return loaded.networks[component]

    def keep(self, models: Iterable[Resolved]) -> None:
        """Say which models work together: what is loaded of others is dropped, these may stay side by side."""
        self._together = frozenset(one.match.header.path for one in models)
        self._drop(lambda path: path not in self._together)

    def tokenizers(self, resolved: Resolved) -> Mapping[str, Tokenizer]:
        """The tokenizer of every text encoder that the model brings."""
        loaded = self._open(resolved)
        if loaded.tokenizers is None:
            loaded.tokenizers = resolved.family.tokenizers(resolved.config, resolved.match)
        return loaded.tokenizers

    def precise(self, resolved: Resolved, component: str) -> nn.Module:
        """The same network in float32, loaded afresh and not kept: for when the usual format overflowed."""
        return self._load(resolved, component, torch.float32)

    def dtype_of(self, resolved: Resolved, component: str) -> torch.dtype:
        """What one component of the model computes in."""
        return torch.float32 if component in exact_components(resolved.family) else self.dtype

    def clear(self) -> None:
        """Drop every network."""
        self._means = ()
        self._drop(lambda _: True)

    def _drop(self, leaves: Callable[[Path], bool]) -> None:
        """Drop the models whose path `leaves`."""
        gone = [self._models.pop(key) for key in list(self._models) if leaves(key[0])]
        held = any(one.networks for one in gone)
        gone.clear()
        if held:
            release()

    def _make_room(self, loaded: _Loaded) -> None:
        """Drop the other models' networks where this one's do not fit beside them."""
        others = [one for one in self._models.values() if one is not loaded and one.networks]
        free = self.machine.available
        held = sum(sum(one.bytes.values()) for one in (loaded, *others))
        if not others or free is None or held <= ROOM * free:
            return
        for one in others:
            one.networks.clear()
            one.bytes.clear()
        release()

    def _open(self, resolved: Resolved) -> _Loaded:
        try:
            facts = [(path, path.stat()) for path in sorted(resolved.match.header.sizes)]
        except OSError as error:
            raise BadModelFile(
                f"{resolved.match.header.path.name} cannot be read any more: {error.strerror}.", hint="Load it again."
            ) from error
        stamps = tuple((path, fact.st_size, fact.st_mtime_ns) for path, fact in facts)
        key = (resolved.match.header.path, stamps, resolved.config)
        if key not in self._models:
            path = resolved.match.header.path
            if path not in self._together:
                self._together = frozenset({path})
            self._drop(lambda other: other not in self._together or other == path)
            self._models[key] = _Loaded()
        return self._models[key]

    def _faster(self, resolved: Resolved, network: nn.Module, component: str) -> nn.Module:
        if component in resolved.family.encoders:
            return network
        pack, denoises = available(self.dtype), component == resolved.family.denoiser
        attends = denoises and self.dtype == torch.bfloat16
        kernel = load_attention(cache_folder() / "kernels", self.machine.flags) if attends else None
        if denoises:
            self._means = (*(("packed",) if pack else ()), *(("flash",) if kernel else ()))
        return accelerate(network, pack=pack, kernel=kernel)

    def _load(self, resolved: Resolved, component: str, dtype: torch.dtype) -> nn.Module:
        try:
            with torch.device("meta"):
                network = resolved.family.build(resolved.config, component)
            load_into(
                network, resolved.match, component, dtype=dtype, channels_last=True, keep_narrow=TABLES.get(dtype, ())
            )
            network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's overloads omit this form
            _align(network)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, MemoryError) or "allocate memory" in str(error):
                raise OutOfMemory(
                    f"There is not enough memory for the {component.replace('_', ' ')} of {resolved.entry.name}.",
                    hint="Close other programs, or choose a smaller model.",
                ) from error
            raise
        release()
        return network.requires_grad_(False).eval()


@torch.no_grad()
def _align(network: nn.Module) -> None:
    """Copy every tensor that lies where its file put it to an address that torch would choose.

    Kernels sum in another order on other alignments, so the same weights in two files would give two pictures. What was
    copied is also safe from a file that shrinks.
    """
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.data_ptr() % ALIGNMENT:
            tensor.data = tensor.data.clone()
