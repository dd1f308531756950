"""How a training step is computed. The choices change its speed and its rounding, never what is learned."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Computing:
    """The type of activations (weights stay float32), the layout of pictures, and whether networks are compiled."""

    dtype: torch.dtype = torch.bfloat16
    channels_last: bool = True
    compile: bool = False

    @property
    def layout(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        return torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def ready(self, network: nn.Module) -> Callable[..., Tensor]:
        """The network laid out and, if so chosen, compiled shape by shape; CUDA then replays its kernels as a graph."""
        network.to(memory_format=self.layout)  # pyright: ignore[reportCallIssue] - torch's overloads omit this form
        if not self.compile:
            return network
        on_gpu = next(network.parameters()).device.type == "cuda"
        compiled = torch.compile(network, dynamic=False, mode="reduce-overhead" if on_gpu else None)
        return cast(Callable[..., Tensor], compiled)


def onto(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the processor's on `device`; a GPU fetches it while the processor goes on."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def tune(device: torch.device) -> None:
    """Let a GPU multiply float32 in TF32 and try out convolutions; the processor stays as it is."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
