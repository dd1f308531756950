"""What sits where, in which number format: the only module that loads, moves or drops a network."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pinxit.engine.adapting import identity
from pinxit.engine.allocator import release
from pinxit.engine.compiled import Compiled, Function, Kept, forget
from pinxit.engine.compiling import kept_at
from pinxit.engine.loading import built, fill
from pinxit.engine.machine import Machine, this_machine
from pinxit.engine.means import Means, Quantized, way_of
from pinxit.engine.memory import Rungs, component_bytes, exact_components, int8_components, streamed_share
from pinxit.engine.places import cache_folder
from pinxit.engine.plan import Resolved
from pinxit.models.contract import Codec
from pinxit.nn.eight_bits import quantise_linear
from pinxit.nn.int8 import why_not
from pinxit.nn.kernels.attention import load_attention
from pinxit.nn.kernels.fused import load_fused
from pinxit.nn.kernels.quantise import load_quantise
from pinxit.nn.kernels.winograd import load_winograd
from pinxit.nn.packed import available
from pinxit.nn.rounded import Int8
from pinxit.nn.speed import accelerate
from pinxit.nn.waiting import Waiting
from pinxit.prompts.chunks import Tokenizer
from pinxit.schema.errors import BadModelFile, Missing
from pinxit.schema.parts import Size

ROOM = 0.8
"""The share of the memory that was free at the start that networks may fill while several models are held."""
Key = tuple[Path, tuple[tuple[Path, int, int], ...], object]


class _Loaded:
    """What is loaded of one model. `encoders` are the names of its text encoders."""

    def __init__(self, encoders: Iterable[str]) -> None:
        self.encoders = frozenset(encoders)
        self.networks: dict[str, nn.Module] = {}
        self.bytes: dict[str, int] = {}
        self.changed_by: dict[str, Hashable] = {}
        """By which adapters a network's weights were changed when it was loaded."""
        self.tokenizers: Mapping[str, Tokenizer] | None = None

    def drop(self, component: str) -> None:
        del self.networks[component]
        self.bytes.pop(component, None)
        self.changed_by.pop(component, None)


class Residency:
    """Networks of one model at a time, or of the models that work together on one picture, built without memory and
    filled tensor by tensor. Where several do not fit into memory side by side, each takes the place of the last.

    Text encoders compute in float32, which costs nothing unless they are very wide; all else in bfloat16 where the
    processor has it (`means` overrides), pictures in channels-last order. These two hold their weights packed, and the
    U-Net attends with our own kernel where it can be compiled; `plain` leaves all that out, as a GPU does.
    What is chosen depends on the machine and the means alone, never on how busy it is, because it rounds differently;
    what `save` holds back changes no bit. Only whether networks are compiled is each run's own, and `numerics` says so.
    """

    def __init__(self, machine: Machine | None = None, *, means: Means | None = None, plain: bool = False) -> None:
        self.machine = machine or this_machine()
        self.way = way_of(self.machine, means or Means())
        self.device = torch.device(self.way.device)
        self.dtype: torch.dtype = getattr(torch, self.way.dtype)
        if self.way.int8:
            _check_int8(self.dtype)
        # A compiler does what the layers do for themselves on the processor, and cannot look into them.
        by_compiler = means is not None and means.compile == "on" and self.way.gpu is None and not self.way.int8
        self._plain = plain or by_compiler
        self._rungs: Rungs = ()
        self._compiles = False
        self._compiled: dict[tuple[int, Size], Compiled] = {}
        """By the identity of the network and the size of the picture."""
        self._failure = ""
        """Why compiling failed."""
        self._remarks: list[str] = []
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
        compiled = self._compiles and any(one.works for one in self._compiled.values())
        return "-".join((self.device.type, *self._means, *(("compiled",) if compiled else ())))

    def tensor(self, array: NDArray[Any]) -> Tensor:
        """An array as a tensor where the networks compute."""
        return torch.from_numpy(array).to(self.device)

    def network(self, resolved: Resolved, component: str) -> nn.Module:
        """The network of one component, ready to compute. Raises ModelError and OutOfMemory."""
        loaded = self._open(resolved)
        size = component_bytes(resolved, component, self.way)
        self._make_room(loaded, component, size)
        changed_by = identity(resolved.adapters, component)
        if component in loaded.networks and loaded.changed_by.get(component, ()) != changed_by:
            self._drop_networks([(loaded, component)])
        if component not in loaded.networks:
            loaded.changed_by[component] = changed_by
            loaded.networks[component], loaded.bytes[component] = self._made(resolved, component), size
        return loaded.networks[component]

    def denoiser(self, resolved: Resolved) -> nn.Module:
        """The denoising network as steps call it, compiled where the run is to be. Raises what `network` raises."""
        network = self.network(resolved, resolved.family.denoiser)
        # Families call it and no more, as they would the network itself.
        return cast(nn.Module, self._called(resolved, network, network, graphs=True))

    def decoder(self, resolved: Resolved) -> Function:
        """What makes pictures of latents, compiled where the run is to be. Raises what `network` raises."""
        network = self.network(resolved, "vae")
        return self._called(resolved, network, cast(Codec, network).decode, graphs=False)

    def _called(self, resolved: Resolved, network: nn.Module, plain: Function, *, graphs: bool) -> Function:
        """`plain`, which `network` computes, or that compiled. With `graphs` a GPU records its kernels, and holds their
        memory.
        """
        if not self._compiles:
            return plain
        key = (id(network), resolved.size)
        if key not in self._compiled:
            gpu = self.way.gpu is not None
            mode = None if not gpu else "max-autotune" if graphs else "max-autotune-no-cudagraphs"
            kept = Kept(kept_at(resolved, self.way), self._remarks.append)
            self._compiled[key] = Compiled(plain, kept, self._give_up, graphs=graphs and gpu, mode=mode)
        return self._compiled[key]

    def _give_up(self, failure: str) -> None:
        """Compile nothing until another network is loaded: what one needs the others do, too."""
        self._compiles, self._failure = False, failure
        self._remarks.append(failure)

    def remarks(self) -> tuple[str, ...]:
        """What there is to say since this was asked last."""
        found = tuple(self._remarks)
        self._remarks.clear()
        return found

    def keep(self, models: Iterable[Resolved]) -> None:
        """Say which models work together: what is loaded of others is dropped, these may stay side by side."""
        self._together = frozenset(one.match.header.path for one in models)
        self._drop(lambda path: path not in self._together)

    def save(self, rungs: Rungs, *, compiles: bool = False) -> None:
        """Say what is done to hold less in memory from now on, names of `pinxit.engine.memory.LADDER`, and whether
        networks are compiled.
        """
        self._rungs, self._compiles = rungs, compiles and not self._failure
        if compiles and self._failure:
            self._remarks.append(self._failure)

    def tokenizers(self, resolved: Resolved) -> Mapping[str, Tokenizer]:
        """The tokenizer of every text encoder that the model brings."""
        loaded = self._open(resolved)
        if loaded.tokenizers is None:
            loaded.tokenizers = resolved.family.tokenizers(resolved.config, resolved.match)
        return loaded.tokenizers

    def precise(self, resolved: Resolved, component: str) -> nn.Module:
        """The same network in float32, loaded afresh and not kept: for when the usual format overflowed."""
        return fill(built(resolved, component), resolved, component, torch.float32, device=self.device)

    def dtype_of(self, resolved: Resolved, component: str) -> torch.dtype:
        """What one component of the model computes in."""
        return torch.float32 if component in exact_components(resolved.family) else self.dtype

    def clear(self) -> None:
        """Drop every network."""
        self._drop(lambda _: True)

    def _drop(self, leaves: Callable[[Path], bool]) -> None:
        """Drop the models whose path `leaves`."""
        gone = [self._models.pop(key) for key in list(self._models) if leaves(key[0])]
        self._drop_networks([(one, name) for one in gone for name in one.networks])

    def _drop_networks(self, gone: Sequence[tuple[_Loaded, str]]) -> None:
        """Let go of networks, with what was compiled of them and the memory that they leave free."""
        dropped = {id(one.networks[name]) for one, name in gone}
        for one, name in gone:
            one.drop(name)
        if any(network in dropped for network, _ in self._compiled):
            self._compiled.clear()
            self._failure = ""
            forget()
        if dropped:
            release()

    def _make_room(self, loaded: _Loaded, component: str, size: int) -> None:
        """Drop what cannot or need not stay beside `component`; the text encoders of a model work together."""
        free, reads = self.machine.available, component in loaded.encoders
        held = sum(sum(one.bytes.values()) for one in self._models.values())
        is_new = component not in loaded.networks
        alone = "apart" in self._rungs or (is_new and free is not None and held + size > ROOM * free)
        has_read = "encoders" in self._rungs and not reads
        gone = [
            (one, name)
            for one in self._models.values()
            for name in one.networks
            if (has_read and name in one.encoders)
            or (alone and not (one is loaded and (name == component or (reads and name in loaded.encoders))))
        ]
        self._drop_networks(gone)

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
            self._models[key] = _Loaded(resolved.family.encoders)
        return self._models[key]

    def _made(self, resolved: Resolved, component: str) -> nn.Module:
        """A network with its weights, and whatever makes it faster on the processor."""
        dtype, family, network = self.dtype_of(resolved, component), resolved.family, built(resolved, component)
        denoises = component == family.denoiser
        share = streamed_share(self._rungs) if denoises else 0.0
        if self.device.type != "cpu":
            return self._made_for_gpu(network, resolved, component, share if self.way.streams else 0.0)
        if self._plain or component in family.encoders:
            self._means = () if denoises else self._means
            return fill(network, resolved, component, dtype, share=share)
        folder, flags = cache_folder() / "kernels", self.machine.flags
        int8 = None
        if self.way.int8 and component in int8_components(family):
            int8, share = Int8(network, dtype, load_quantise(folder, flags)), 0.0
        pack, fused = available(dtype), load_fused(folder, flags)
        waiting = Waiting(network, dtype) if pack else None
        take, later = None if int8 is None else int8.take, None if waiting is None else waiting.take
        fill(network, resolved, component, dtype, share=share, take=take, later=later)
        kernel = load_attention(folder, flags) if denoises and dtype == torch.bfloat16 else None
        winograd = load_winograd(folder, flags) if pack and dtype == torch.float32 else None
        if denoises:
            used = {"packed": pack, "flash": kernel, "fused": fused, "winograd": winograd, "int8": int8}
            self._means = tuple(name for name, means in used.items() if means)
        return accelerate(network, pack=pack, kernel=kernel, fused=fused, winograd=winograd, int8=int8, waiting=waiting)

    def _made_for_gpu(self, network: nn.Module, resolved: Resolved, component: str, share: float) -> nn.Module:
        """A network with its weights on the GPU. Layers that are fused must stay where they are."""
        dtype, kind = self.dtype_of(resolved, component), self.way.quantized
        fill(network, resolved, component, dtype, device=self.device, share=share)
        if component != resolved.family.denoiser:
            return network
        fuse = not (self._plain or share or kind)
        self._means = ("qkv",) * fuse if kind is None else (kind,)
        return accelerate(network, fuse=fuse) if kind is None else _quantised(network, kind)


def _quantised(network: nn.Module, kind: Quantized) -> nn.Module:
    try:
        return quantise_linear(network, kind)
    except (ImportError, AttributeError, TypeError, AssertionError) as error:
        raise Missing(
            f"This torchao does not work beside this torch: {error}.", hint="Install it: pip install 'pinxit[torchao]'."
        ) from error


def _check_int8(dtype: torch.dtype) -> None:
    reason = why_not(dtype)
    if reason is not None:
        raise Missing(f"Computing in 8 bits is not to be had here: {reason}.", hint="Leave out --precision int8.")
