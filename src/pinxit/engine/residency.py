"""What sits where, in which number format: the only module that loads, moves or drops a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from pinxit.engine.machine import Machine, this_machine
from pinxit.engine.places import cache_folder
from pinxit.engine.plan import Resolved, exact_components
from pinxit.nn.kernels.attention import load_attention
from pinxit.nn.packed import available
from pinxit.nn.speed import accelerate
from pinxit.prompts.chunks import Tokenizer
from pinxit.schema.errors import BadModelFile, OutOfMemory
from pinxit.weights.load import load_into

ALIGNMENT = 64
"""Bytes to whose multiples torch itself aligns."""
Key = tuple[Path, tuple[tuple[Path, int, int], ...], object]


class Residency:
    """Networks of one model at a time, built without memory and filled tensor by tensor.

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
        self._key: Key | None = None
        self._networks: dict[str, nn.Module] = {}
        self._tokenizers: Mapping[str, Tokenizer] | None = None

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
        self._open(resolved)
        if component not in self._networks:
            network = self._load(resolved, component, self.dtype_of(resolved, component))
            self._networks[component] = network if self._plain else self._faster(resolved, network, component)
        return self._networks[component]

    def tokenizers(self, resolved: Resolved) -> Mapping[str, Tokenizer]:
        """The tokenizer of every text encoder that the model brings."""
        self._open(resolved)
        if self._tokenizers is None:
            self._tokenizers = resolved.family.tokenizers(resolved.config, resolved.match)
        return self._tokenizers

    def precise(self, resolved: Resolved, component: str) -> nn.Module:
        """The same network in float32, loaded afresh and not kept: for when the usual format overflowed."""
        return self._load(resolved, component, torch.float32)

    def dtype_of(self, resolved: Resolved, component: str) -> torch.dtype:
        """What one component of the model computes in."""
        return torch.float32 if component in exact_components(resolved.family) else self.dtype

    def clear(self) -> None:
        """Drop every network."""
        self._key, self._tokenizers, self._means = None, None, ()
        self._networks.clear()

    def _open(self, resolved: Resolved) -> None:
        try:
            facts = [(path, path.stat()) for path in sorted(resolved.match.header.sizes)]
        except OSError as error:
            raise BadModelFile(
                f"{resolved.match.header.path.name} cannot be read any more: {error.strerror}.", hint="Load it again."
            ) from error
        stamps = tuple((path, fact.st_size, fact.st_mtime_ns) for path, fact in facts)
        key = (resolved.match.header.path, stamps, resolved.config)
        if key != self._key:
            self.clear()
            self._key = key

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
            load_into(network, resolved.match, component, dtype=dtype)
            network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's overloads omit this form
            _align(network)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, MemoryError) or "allocate memory" in str(error):
                raise OutOfMemory(
                    f"There is not enough memory for the {component.replace('_', ' ')} of {resolved.entry.name}.",
                    hint="Close other programs, or choose a smaller model.",
                ) from error
            raise
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
