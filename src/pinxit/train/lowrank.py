"""A low-rank change of a network's weights that is trained while the network itself stays as it is (Hu et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pinxit.weights.layout import Table
from pinxit.weights.lora_names import targets

WEIGHT = ".weight"


class LowRank(nn.Module):
    """For each matrix and convolution of a network a product up x down of rank `rank` at most, which begins as zero.

    `down` is [r,in] or [r,in,k,k], `up` [out,r]. The network itself is not held: `merged` makes changed weights of its
    own, so that one pass costs what it costs without the change.
    """

    def __init__(self, network: nn.Module, rank: int) -> None:
        super().__init__()
        shapes = {
            name: parameter.shape
            for name, parameter in network.named_parameters()
            if name.endswith(WEIGHT) and parameter.ndim > 1
        }
        self.names = tuple(shapes)
        self.down = nn.ParameterDict()
        self.up = nn.ParameterDict()
        for name, shape in shapes.items():
            most = min(rank, shape[0], shape[1:].numel())
            down = torch.randn(most, *shape[1:]) / (3 * shape[1:].numel()) ** 0.5
            self.down[_key(name)] = nn.Parameter(down)
            self.up[_key(name)] = nn.Parameter(torch.zeros(shape[0], most))

    def merged(self, network: nn.Module) -> dict[str, Tensor]:
        """The changed weights of `network` by name, for `torch.func.functional_call`."""
        return {name: network.get_parameter(name) + self.change(name) for name in self.names}

    def change(self, name: str) -> Tensor:
        """What is added to the weight `name`, in its shape."""
        up, down = self.up[_key(name)], self.down[_key(name)]
        return (up @ down.flatten(1)).view(len(up), *down.shape[1:])

    def named_factors(self, component: str, table: Table, network: nn.Module) -> Mapping[str, Tensor]:
        """The tensors of a LoRA file as diffusers and PEFT name them, for the network that `table` describes.

        There is no alpha: the change is up x down. Raises ValueError where the table lacks a layer.
        """
        shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        theirs = {target.ours: target for target in targets(component, table, shapes)}
        if missing := [name for name in self.names if name not in theirs]:
            raise ValueError(f"no other name is known for {missing[0]}")
        found: dict[str, Tensor] = {}
        for name in self.names:
            path = f"{component}.{theirs[name].path('theirs')}"
            up, down = self.up[_key(name)], self.down[_key(name)]
            found[f"{path}.lora_A.weight"] = down.detach()
            found[f"{path}.lora_B.weight"] = up.detach().view(*up.shape, *[1] * (down.ndim - 2))
        return found


def _key(name: str) -> str:
    return name.removesuffix(WEIGHT).replace(".", "_")
