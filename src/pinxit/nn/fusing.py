"""Linear layers that read the same input as one: fewer and larger products, of which a GPU makes more.

Their weights become parts of one tensor, so that memory holds them once, and whoever reads or changes a layer's own
weight reads or changes that part. Where a layer was given another weight since, each computes for itself.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.nn.layers import Linear


class Fusible(nn.Module):
    """A module with some linear layers without bias that read the same input."""

    fused_weight: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        # A buffer, because a compiler takes those and parameters for what stays in its place between calls.
        self.register_buffer("fused_weight", None, persistent=False)

    def readers(self) -> tuple[Linear, ...]:
        """The layers that read the same input."""
        return ()

    def fuse(self) -> None:
        """Make the layers' weights parts of one."""
        readers = self.readers()
        if not readers:
            return
        with torch.no_grad():
            whole = torch.cat([layer.weight for layer in readers])
        for layer, part in zip(readers, whole.split([layer.out_features for layer in readers]), strict=True):
            layer.weight = nn.Parameter(part, requires_grad=False)
        self.fused_weight = whole

    def read(self, x: Tensor) -> tuple[Tensor, ...] | None:
        """What the layers make of `x` [..., C], which has their dtype; None where they are not one."""
        whole = self.fused_weight
        if whole is None or torch.is_grad_enabled():
            return None
        widths = [layer.out_features for layer in self.readers()]
        if not torch.compiler.is_compiling() and not whole.is_meta:
            parts = zip(self.readers(), whole.split(widths), strict=True)
            if not all(layer.weight.is_set_to(part) for layer, part in parts):
                self.fused_weight = None
                return None
        return F.linear(x, whole).split(widths, dim=-1)


def fuse_layers(network: nn.Module) -> None:
    """Fuse what can be in `network`, whose weights must be plain ones and stay so."""
    for module in network.modules():
        if isinstance(module, Fusible):
            module.fuse()
