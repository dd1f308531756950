"""Several processes training one model, started by `torchrun`; one process is the same with a count of one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """This process's place among `count`."""

    rank: int
    count: int
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - a device is an immutable name

    @staticmethod
    def alone() -> Workers:
        return Workers(rank=0, count=1)

    @staticmethod
    def from_environment(device: torch.device) -> Workers:
        """Join the group that torchrun describes in the environment, or be alone when it describes none."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return Workers.alone()
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return Workers(rank=dist.get_rank(), count=count, device=device)

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace each gradient by its mean over all processes, in one exchange."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        together = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(together)
        together /= self.count
        for gradient, mean in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def any(self, flag: bool) -> bool:
        """Whether any process says so; all processes get the same answer."""
        if self.count == 1:
            return flag
        shared = torch.tensor([float(flag)], device=self.device)
        dist.all_reduce(shared, op=dist.ReduceOp.MAX)
        return bool(shared.item())

    def wait(self) -> None:
        """Until every process is here."""
        if self.count > 1:
            dist.barrier()
