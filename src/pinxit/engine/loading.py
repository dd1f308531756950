"""From a file to a network that can compute: built without memory, filled tensor by tensor, put on its device."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import torch
from torch import Tensor, nn

from pinxit.engine.adapting import patch_for
from pinxit.engine.allocator import ran_out, release
from pinxit.engine.memory import NARROW_TABLE
from pinxit.engine.plan import Resolved
from pinxit.engine.streaming import blocks_of, stream
from pinxit.nn.pages import own_pages
from pinxit.schema.errors import OutOfMemory
from pinxit.weights.load import Source, load_into

CPU = torch.device("cpu")
ALIGNMENT = 64
"""Bytes to whose multiples torch itself aligns."""
TABLES = {torch.float32: (NARROW_TABLE,)}
"""Tables of which few rows are looked up, and added to wider numbers: the rows are the same in 16 bits."""
Take = Callable[[str, Tensor], bool]
Later = Callable[[str, Source], bool]


def built(resolved: Resolved, component: str) -> nn.Module:
    """The network of one component, without weights."""
    with torch.device("meta"):
        return resolved.family.build(resolved.config, component)


def fill(
    network: nn.Module,
    resolved: Resolved,
    component: str,
    dtype: torch.dtype,
    *,
    device: torch.device = CPU,
    share: float = 0.0,
    take: Take | None = None,
    later: Later | None = None,
) -> nn.Module:
    """Give `network` its weights, changed by the request's adapters, and return it ready to compute.

    Blocks with `share` of them are read again whenever they compute. What `take` and `later` answer True to is their
    own affair (`load_into`); `later` is asked for nothing that adapters change.
    Raises OutOfMemory, and what `load_into` raises.
    """
    blocks = blocks_of(network, share) if share else {}
    streamed = tuple(f"{name}." for name in blocks)

    def taken(name: str, tensor: Tensor) -> bool:
        return name.startswith(streamed) or (take is not None and take(name, tensor))

    def put_off(name: str, source: Source) -> bool:
        return not name.startswith(streamed) and later is not None and later(name, source)

    try:
        with own_pages():
            _read(network, resolved, component, dtype, take=taken if streamed else take, later=put_off)
            _place(network, device)
    except (MemoryError, RuntimeError) as error:
        if ran_out(error):
            raise OutOfMemory(
                f"There is not enough memory for the {component.replace('_', ' ')} of {resolved.entry.name}.",
                hint="Close other programs, or choose a smaller model.",
            ) from error
        raise
    release()

    def fill_block(shell: nn.Module, names: Collection[str]) -> None:
        part = resolved.match.part(component)
        entries = tuple(entry for entry in part.entries if not set(entry.ours).isdisjoint(names))
        some = {**resolved.match.parts, component: replace(part, entries=entries)}
        with own_pages():
            _read(shell, replace(resolved, match=replace(resolved.match, parts=some)), component, dtype, strict=False)
            _place(shell, device)
        shell.requires_grad_(False)

    stream(blocks, fill_block, dtype)
    return network.requires_grad_(False).eval()


def _read(
    network: nn.Module,
    resolved: Resolved,
    component: str,
    dtype: torch.dtype,
    *,
    strict: bool = True,
    take: Take | None = None,
    later: Later | None = None,
) -> None:
    patch = patch_for(resolved.adapters, component)
    load_into(
        network,
        resolved.match,
        component,
        dtype=dtype,
        strict=strict,
        channels_last=True,
        keep_narrow=TABLES.get(dtype, ()),
        patch=patch,
        take=take,
        later=None if patch is not None else later,
    )


@torch.no_grad()
def _place(network: nn.Module, device: torch.device) -> None:
    """Bring every tensor to `device`, or where it is there already, to an address that torch would choose.

    Kernels sum in another order on other alignments, so the same weights in two files would give two pictures. What was
    copied is also safe from a file that shrinks.
    """
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.is_meta:
                module.register_parameter(name, nn.Parameter(_placed(parameter, device), requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, _placed(buffer, device))


def _placed(tensor: Tensor, device: torch.device) -> Tensor:
    tensor = tensor.detach()
    if tensor.device != device:
        return tensor.to(device)
    return tensor.clone() if tensor.device.type == "cpu" and tensor.data_ptr() % ALIGNMENT else tensor
