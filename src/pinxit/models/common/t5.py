"""The encoder of T5, version 1.1 (Raffel et al. 2020; Shazeer 2020 for its gate): token numbers to vectors.

```
ids [B,S] -> shared (embedding) -> encoder.block.{i} ... -> encoder.final_layer_norm -> [B,S,D]

block   layer.0   layer_norm -> SelfAttention q,k,v,o (every block adds block 0's relative_attention_bias) -> +
        layer.1   layer_norm -> DenseReluDense gelu(wi_0) * wi_1 -> wo -> +
```
Every token sees every other, filler included; logits are not scaled by the heads' width. Names are Hugging Face's.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.common.configs import T5Config
from pinxit.nn import Embedding, Linear, RMSNorm, attention

EPS = 1e-6


class SelfAttention(nn.Module):
    """Attention with a learnt number per head and distance, which block 0 holds for all."""

    def __init__(self, config: T5Config, *, first: bool) -> None:
        super().__init__()
        self.heads, self.buckets, self.distance = config.heads, config.buckets, config.distance
        self.q = Linear(config.width, config.inner, bias=False)
        self.k = Linear(config.width, config.inner, bias=False)
        self.v = Linear(config.width, config.inner, bias=False)
        self.o = Linear(config.inner, config.width, bias=False)
        self.relative_attention_bias = Embedding(config.buckets, config.heads) if first else nn.Identity()

    def bias(self, length: int, device: torch.device) -> Tensor:
        """What distance adds to each head's logits, [1,H,S,S]; block 0 only."""
        places = torch.arange(length, device=device)
        found = buckets(places[None, :] - places[:, None], count=self.buckets, distance=self.distance)
        return self.relative_attention_bias(found).permute(2, 0, 1)[None]

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        return self.o(attention(self.q(x), self.k(x), self.v(x), self.heads, bias_BHLS=bias, scale=1.0))


class AttentionLayer(nn.Module):
    def __init__(self, config: T5Config, *, first: bool) -> None:
        super().__init__()
        self.SelfAttention = SelfAttention(config, first=first)
        self.layer_norm = RMSNorm(config.width, eps=EPS)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        return x + self.SelfAttention(self.layer_norm(x), bias)


class Gated(nn.Module):
    """gelu(wi_0 x) * wi_1 x, with GELU's tanh form."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.wi_0 = Linear(config.width, config.intermediate, bias=False)
        self.wi_1 = Linear(config.width, config.intermediate, bias=False)
        self.wo = Linear(config.intermediate, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.wo(F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x))


class FeedForwardLayer(nn.Module):
    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.DenseReluDense = Gated(config)
        self.layer_norm = RMSNorm(config.width, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.DenseReluDense(self.layer_norm(x))


class T5Block(nn.Module):
    def __init__(self, config: T5Config, *, first: bool) -> None:
        super().__init__()
        self.layer = nn.ModuleList([AttentionLayer(config, first=first), FeedForwardLayer(config)])

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        return self.layer[1](self.layer[0](x, bias))


class Stack(nn.Module):
    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.block = nn.ModuleList(T5Block(config, first=index == 0) for index in range(config.layers))
        self.final_layer_norm = RMSNorm(config.width, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        bias = self.block[0].get_submodule("layer.0.SelfAttention").bias(x.shape[1], x.device)  # pyright: ignore[reportCallIssue] - torch types modules' attributes as tensors
        for block in self.block:
            x = block(x, bias)
        return self.final_layer_norm(x)


class T5Encoder(nn.Module):
    """Token numbers [B,S], of any length, to vectors [B,S,D]."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config = config
        self.shared = Embedding(config.vocab_size, config.width)
        self.encoder = Stack(config)

    def forward(self, ids: Tensor) -> Tensor:
        return self.encoder(self.shared(ids.to(self.shared.weight.device)))


def buckets(offsets: Tensor, *, count: int, distance: int) -> Tensor:
    """The number, below `count`, under which each offset (key minus query) is learnt (Raffel et al. 2020, section 2.1).

    Half of them are for keys behind the query. In each half the near offsets have one of their own; the far ones share
    theirs, evenly in the logarithm, up to `distance`.
    """
    half = count // 2
    near = half // 2
    far = offsets.abs()
    steps = torch.log(far.clamp(min=1).float() / near) / math.log(distance / near) * (half - near)
    shared = (near + steps.long()).clamp(max=half - 1)
    return torch.where(far < near, far, shared) + half * (offsets > 0)
