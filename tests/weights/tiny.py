"""A network of three layers with a layout that needs every operation, to test loading and saving."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pinxit.weights.layout import BOTH, WHOLE, Drop, Layout, Leaf, Op, Part, Place, Row, Table


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(4, 4) for _ in range(3))
        self.mix = nn.Conv2d(4, 6, 1)
        self.turn = nn.Linear(3, 5, bias=False)
        self.swap = nn.Linear(2, 8)
        self.qkv = nn.Linear(2, 6)


class Net(nn.Module):
    """Two blocks; every parameter gets its own numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])

    @staticmethod
    def filled(seed: int = 0) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {name: torch.randn(tensor.shape, generator=generator) for name, tensor in Net().state_dict().items()}


def on_meta() -> Net:
    with torch.device("meta"):
        return Net()


LEAVES = (
    Leaf(("q", "k", "v"), "attn.in_proj_*"),
    Leaf("mix", "mix", BOTH, Op.SQUEEZE),
    Leaf("turn.weight", "turn", WHOLE, Op.TRANSPOSE),
    Leaf("swap", "swap", BOTH, Op.SWAP),
    Leaf("qkv", ("to_q", "to_k", "to_v")),
)


TABLE = Table(
    name="tiny",
    rows=(Row("blocks.{i}", "layers.{i+1}", LEAVES, i="n"),),
    measure=lambda view: {"n": 2} if view.has("layers.1") else None,
    measure_ours=lambda view: {"n": view.count("blocks.#")} if view.has("blocks.0") else None,
)
SINGLE = Layout(
    name="tiny",
    family="tiny",
    parts=(Part(component="net", places=(Place(prefix="model.", table=TABLE),), required=True),),
    drops=(Drop("model.betas", "noise schedule"),),
)
FOLDER = Layout(
    name="tiny-folder",
    family="tiny",
    parts=(Part(component="net", places=(Place(prefix="net/", table=TABLE, file="model"),), required=True),),
    folder=True,
)
OWN = Layout(
    name="tiny-own",
    family="tiny",
    parts=(Part(component="net", places=(Place(prefix="", table=TABLE.own("own")),), required=True),),
)
LAYOUTS = (SINGLE, FOLDER, OWN)
