"""The transformer inside the U-Net: positions attend to each other, then to the text (Rombach et al. 2022, 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from pinxit.models.common.merging import Match
from pinxit.nn import GEGLU, Conv2d, GroupNorm, LayerNorm, Linear, attention
from pinxit.nn.fusing import Fusible


class CrossAttention(Fusible):
    """Multi-head attention from `x` [B,L,C] to `context` [B,S,context]; to itself when there is none.

    Keys and values of the same context are computed once.
    """

    def __init__(self, width: int, *, heads: int, context: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.looks_elsewhere = context is not None
        self.to_q = Linear(width, width, bias=False)
        self.to_k = Linear(context or width, width, bias=False)
        self.to_v = Linear(context or width, width, bias=False)
        self.to_out = nn.Sequential(Linear(width, width), nn.Identity())

    def readers(self) -> tuple[Linear, ...]:
        """Keys and values; in self-attention queries, too. On the processor a context is read only once anyway."""
        if not self.looks_elsewhere:
            return self.to_q, self.to_k, self.to_v
        return () if self.to_k.weight.device.type == "cpu" else (self.to_k, self.to_v)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        whole, given = self.fused_weight, x if context is None else context
        together = None if whole is None else self.read(given.to(whole.dtype))
        if together is None:
            k, v = (to(x) if context is None else to.once(context) for to in (self.to_k, self.to_v))
            return self.to_out(attention(self.to_q(x), k, v, self.heads))
        q, k, v = together if context is None else (self.to_q(x), *together)
        return self.to_out(attention(q, k, v, self.heads))


class FeedForward(nn.Module):
    """The gated feed-forward layer, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GEGLU(width, 4 * width), nn.Identity(), Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention, feed-forward; each pre-normalised and residual.

    With `cross_only` the first attention, too, looks at the text (the x4 upscaler's larger levels).
    """

    def __init__(self, width: int, *, heads: int, context: int, cross_only: bool) -> None:
        super().__init__()
        self.cross_only = cross_only
        self.attn1 = CrossAttention(width, heads=heads, context=context if cross_only else None)
        self.ff = FeedForward(width)
        self.attn2 = CrossAttention(width, heads=heads, context=context)
        self.norm1 = LayerNorm(width)
        self.norm2 = LayerNorm(width)
        self.norm3 = LayerNorm(width)

    def forward(self, x: Tensor, context: Tensor, match: Callable[[Tensor], Match] | None = None) -> Tensor:
        if match is None or self.cross_only:
            x = x + self.attn1(self.norm1(x), context if self.cross_only else None)
        else:
            found = match(x)
            x = x + found.spread(self.attn1(found.merge(self.norm1(x))))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """Image features [B,C,H,W] as H*W tokens through `depth` transformer blocks, added to the input.

    The projections in and out are 1x1 convolutions in SD 1.x and linear layers (`linear`) from SD 2 on.
    """

    def __init__(
        self, channels: int, *, heads: int, depth: int, context: int, linear: bool, cross_only: bool = False
    ) -> None:
        super().__init__()
        self.linear = linear
        self.norm = GroupNorm(channels, eps=1e-6)
        self.proj_in: nn.Module = Linear(channels, channels) if linear else Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(channels, heads=heads, context=context, cross_only=cross_only) for _ in range(depth)
        )
        self.proj_out: nn.Module = Linear(channels, channels) if linear else Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, context: Tensor, *, ratio: float = 0.0) -> Tensor:
        """Through the blocks; self-attention merges the share `ratio` of its tokens."""
        height, width = x.shape[-2:]
        match = partial(Match, height=height, width=width, ratio=ratio) if ratio > 0 else None
        h = self.norm(x)
        if not self.linear:
            h = self.proj_in(h)
        h = h.flatten(2).transpose(1, 2)
        if self.linear:
            h = self.proj_in(h)
        for block in self.transformer_blocks:
            h = block(h, context, match)
        if self.linear:
            h = self.proj_out(h)
        h = h.transpose(1, 2).unflatten(2, (height, width))
        if not self.linear:
            h = self.proj_out(h)
        return x + h
