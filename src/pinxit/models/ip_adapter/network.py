"""IP-Adapters (Ye et al. 2023): a picture's embedding becomes tokens, which attentions read beside those of the text.

```
embedding [B,D] (or patches [B,P,D]) -> image_proj -> tokens [B,T,context]
attention(x) = to_out(attend(q, text) + scale * attend(q, tokens through to_k_ip, to_v_ip))          (eq. 5)
```
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from pinxit.models.common.transformer import CrossAttention
from pinxit.models.ip_adapter.config import IpAdapterConfig
from pinxit.nn import LayerNorm, Linear, attention


class Projection(nn.Module):
    """One embedding [B,D], or [B,P,D] of patches for the full form, to tokens [B,T,context]."""

    def __init__(self, config: IpAdapterConfig) -> None:
        super().__init__()
        self.context = config.context
        made = config.context * max(1, config.tokens)
        if config.form == "plain":
            self.proj: nn.Module = Linear(config.reads, made)
        else:
            last = (LayerNorm(config.context),) if config.form == "full" else ()
            self.proj = nn.Sequential(Linear(config.reads, config.inner), nn.GELU(), Linear(config.inner, made), *last)
        self.norm = nn.Identity() if config.form == "full" else LayerNorm(config.context)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.proj(x)
        return tokens if x.ndim == 3 else self.norm(tokens.unflatten(-1, (-1, self.context)))


class Perceiver(nn.Module):
    """Queries [B,T,C] attend to the patches [B,P,C] and to themselves (Jaegle et al. 2021)."""

    def __init__(self, config: IpAdapterConfig) -> None:
        super().__init__()
        self.heads = config.heads
        wide = 64 * config.heads
        self.norm1 = LayerNorm(config.inner)
        self.norm2 = LayerNorm(config.inner)
        self.to_q = Linear(config.inner, wide, bias=False)
        self.to_kv = Linear(config.inner, 2 * wide, bias=False)
        self.to_out = Linear(wide, config.inner, bias=False)

    def forward(self, x: Tensor, queries: Tensor) -> Tensor:
        x, queries = self.norm1(x), self.norm2(queries)
        k, v = self.to_kv(torch.cat([x, queries], dim=1)).chunk(2, dim=-1)
        return self.to_out(attention(self.to_q(queries), k, v, self.heads))


class Resampler(nn.Module):
    """Patches [B,P,D] to tokens [B,T,context]."""

    def __init__(self, config: IpAdapterConfig) -> None:
        super().__init__()
        wide, hidden = config.inner, config.hidden
        self.latents = nn.Parameter(torch.zeros(1, config.tokens, wide))
        self.proj_in = Linear(config.reads, wide)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    Perceiver(config),
                    nn.Sequential(
                        LayerNorm(wide), Linear(wide, hidden, bias=False), nn.GELU(), Linear(hidden, wide, bias=False)
                    ),
                ]
            )
            for _ in range(config.layers)
        )
        self.proj_out = Linear(wide, config.context)
        self.norm_out = LayerNorm(config.context)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj_in(x)
        queries = self.latents.expand(x.shape[0], -1, -1)
        for layer in self.layers:
            look, think = layer.children()
            queries = queries + look(x, queries)
            queries = queries + think(queries)
        return self.norm_out(self.proj_out(queries))


class Pair(nn.Module):
    """A change of low rank: x -> up(down(x))."""

    def __init__(self, reads: int, makes: int, rank: int) -> None:
        super().__init__()
        self.down = Linear(reads, rank, bias=False)
        self.up = Linear(rank, makes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))


class IpAdapter(nn.Module):
    """The tokens of a picture, and the attentions' weights for them under their numbers."""

    def __init__(self, config: IpAdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.image_proj = Resampler(config) if config.form == "resampled" else Projection(config)
        self.ip_adapter = nn.ModuleDict()
        count = max(2 * len(config.widths), len(config.tuned))
        for number in range(count):
            layers: dict[str, nn.Module] = {}
            if number < len(config.tuned):
                width, context, rank = config.tuned[number]
                for name in ("to_q", "to_k", "to_v", "to_out"):
                    reads = context if name in ("to_k", "to_v") else width
                    layers[f"{name}_lora"] = Pair(reads, width, rank)
            if number % 2 and number // 2 < len(config.widths):
                width = config.widths[number // 2]
                layers["to_k_ip"] = Linear(config.context, width, bias=False)
                layers["to_v_ip"] = Linear(config.context, width, bias=False)
            if layers:
                self.ip_adapter[str(number)] = nn.ModuleDict(layers)

    def forward(self, embedding: Tensor) -> Tensor:
        """Tokens [B,T,context] of a picture's embedding [B,D], or of its patches [B,P,D]."""
        weight = next(self.image_proj.parameters())
        return self.image_proj(embedding.to(weight.dtype))

    def attend(
        self, number: int, attn: CrossAttention, x: Tensor, context: Tensor, tokens: Tensor, scale: float
    ) -> Tensor:
        """What the cross-attention `attn` of that number gives for a text, `context`, and a picture's `tokens`."""
        layers = cast(nn.ModuleDict, self.ip_adapter[str(number)])
        q = attn.to_q(x)
        text = attention(q, attn.to_k(context), attn.to_v(context), attn.heads)
        picture = attention(q, layers["to_k_ip"](tokens), layers["to_v_ip"](tokens), attn.heads)
        return attn.to_out(text + scale * picture)
