"""Blocks of a network whose weights are read from the file when their turn comes, and let go after it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from pinxit.nn.layers import Conv2d, Linear
from pinxit.nn.packed import PackedWeight

Fill = Callable[[nn.Module, Collection[str]], None]
"""Gives a network whose modules lie where the whole one's do the tensors of these names."""


def blocks_of(network: nn.Module, share: float) -> dict[str, nn.Module]:
    """The largest blocks of the lists that a network consists of, by name, which hold `share` of all its weights.

    Lists and sequences only hold blocks: networks call what is in them one by one.
    """
    lists = {name: child for name, child in network.named_children() if isinstance(child, nn.ModuleList)}
    wanted, found = share * _numbers(network), dict[str, nn.Module]()
    for name, block in sorted(_inside(lists), key=lambda one: -_numbers(one[1])):
        if wanted <= 0:
            break
        found[name] = block
        wanted -= _numbers(block)
    return found


def _inside(children: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """The blocks at any depth of lists and sequences, with their full names."""
    for name, child in children.items():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            yield from _inside({f"{name}.{own}": one for own, one in child.named_children()})
        elif _numbers(child):
            yield name, child


def stream(blocks: Mapping[str, nn.Module], fill: Fill, dtype: torch.dtype) -> None:
    """Have every block read its weights, which become `dtype`, before it computes, and let go of them after."""
    for name, block in blocks.items():
        block.to(dtype)
        shell = _in_place(name, block)
        names = frozenset(shell.state_dict())
        empty = list(_parameters(block))

        # Bound as defaults, because the loop goes on.
        def enter(_module: nn.Module, _given: Any, shell: nn.Module = shell, names: Collection[str] = names) -> None:
            fill(shell, names)

        def leave(
            _module: nn.Module,
            _given: Any,
            _found: Any,
            empty: list[tuple[nn.Module, str, nn.Parameter]] = empty,
        ) -> None:
            for owner, own, parameter in empty:
                owner.register_parameter(own, parameter)
                _forget(owner)

        block.register_forward_pre_hook(enter)
        block.register_forward_hook(leave, always_call=True)


def _numbers(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _in_place(name: str, block: nn.Module) -> nn.Module:
    """A network that holds nothing but `block`, where the whole one has it."""
    for part in reversed(name.split(".")):
        shell = nn.Module()
        shell.add_module(part, block)
        block = shell
    return block


def _parameters(block: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    for module in block.modules():
        for name, parameter in module.named_parameters(recurse=False):
            yield module, name, nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)


def _forget(layer: nn.Module) -> None:
    """Let go of a layer's weight in every other order."""
    if isinstance(layer, Conv2d | Linear) and isinstance(layer.packed, PackedWeight):
        layer.packed = copy.deepcopy(layer.packed)  # an empty one
    if isinstance(layer, Conv2d) and layer.folded is not None:
        layer.folded.forget()
