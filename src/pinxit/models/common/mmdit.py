"""The multimodal diffusion transformer of SD 3 and 3.5 (Esser et al. 2024, figure 2): pictures and text as equals.

```
t [B]        -> t_embedder --+-> c [B,D]: shifts, scales and gates for every block
pooled [B,P] -> y_embedder --'
x [B,C,H,W] -> x_embedder (patches) + pos_embed -> x [B,L,D] -------- joint_blocks.{i} ---> final_layer -> [B,C,H,W]
context [B,T,K] ------------> context_embedder ---> context [B,T,D] --'           '-------> (dropped at the end)

joint_blocks.{i}, each half with its own adaLN_modulation of c

context_block   norm1 -> attn.qkv (ln_q, ln_k) --.             .--> attn.proj -> + -> norm2 -> mlp -> +
                                                 attend together                 (not in the last block)
x_block         norm1 -> attn.qkv (ln_q, ln_k) --'             '--> attn.proj -> + -> norm2 -> mlp -> +
                norm1 -> attn2.qkv -> attend, x to itself -> attn2.proj -------> +    (blocks in `dual`)
```
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.common.configs import MmditConfig
from pinxit.nn import Conv2d, LayerNorm, Linear, RMSNorm, attention, sinusoidal
from pinxit.sampling.shortcuts import Shortcut
from pinxit.schema.errors import BadInput

TIME_WIDTH = 256
EPS = 1e-6


class Qkv(NamedTuple):
    """Queries, keys and values [B,L,D]."""

    q: Tensor
    k: Tensor
    v: Tensor


class PatchEmbed(nn.Module):
    """Patches of the latent as tokens. [B,C,H,W] -> [B, H/p * W/p, D]."""

    def __init__(self, config: MmditConfig) -> None:
        super().__init__()
        self.proj = Conv2d(config.in_channels, config.width, config.patch, stride=config.patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class VectorEmbed(nn.Module):
    """Two linear layers over one vector per picture. [B,inner] -> [B,D]."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(Linear(inner, width), nn.SiLU(), Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x)


class Mlp(nn.Module):
    """Feed-forward layer with the tanh form of GELU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = Linear(width, inner)
        self.fc2 = Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Attention(nn.Module):
    """One stream's side of an attention; with `norm`, queries and keys are normalised per head.

    `last` has no way out: nothing reads its answer.
    """

    def __init__(self, width: int, *, heads: int, norm: bool, last: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width)
        self.proj = nn.Identity() if last else Linear(width, width)
        self.ln_q = RMSNorm(width // heads, eps=EPS) if norm else nn.Identity()
        self.ln_k = RMSNorm(width // heads, eps=EPS) if norm else nn.Identity()

    def read(self, x: Tensor) -> Qkv:
        """What the tokens [B,L,D] ask and offer."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return Qkv(self._per_head(q, self.ln_q), self._per_head(k, self.ln_k), v)

    def _per_head(self, x_BLC: Tensor, norm: nn.Module) -> Tensor:
        return norm(x_BLC.unflatten(-1, (self.heads, -1))).flatten(-2)


class Block(nn.Module):
    """One stream's half of a joint block. `c` gives it a shift, a scale and a gate for each of its residual paths."""

    def __init__(self, config: MmditConfig, *, dual: bool = False, last: bool = False) -> None:
        super().__init__()
        width, heads, norm = config.width, config.heads, config.norm
        self.last = last
        self.norm1 = LayerNorm(width, elementwise_affine=False, eps=EPS)
        self.attn = Attention(width, heads=heads, norm=norm, last=last)
        self.attn2 = Attention(width, heads=heads, norm=norm) if dual else None
        self.norm2 = nn.Identity() if last else LayerNorm(width, elementwise_affine=False, eps=EPS)
        self.mlp = nn.Identity() if last else Mlp(width, config.intermediate)
        self.shares = 2 if last else 9 if dual else 6
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), Linear(width, self.shares * width))

    def modulation(self, c: Tensor) -> tuple[Tensor, ...]:
        """Shift, scale and gate of attention, feed-forward and `attn2`, as many as there are, [B,1,D] each."""
        return self.adaLN_modulation(c).unsqueeze(1).chunk(self.shares, dim=-1)

    def read(self, x: Tensor, parts: tuple[Tensor, ...]) -> Qkv:
        """The stream's queries, keys and values for the joint attention."""
        return self.attn.read(modulate(self.norm1(x), *parts[:2]))

    def answer(self, x: Tensor, attended: Tensor, parts: tuple[Tensor, ...]) -> Tensor:
        """The stream after attention and feed-forward."""
        if self.last:
            return x
        gate, shift_mlp, scale_mlp, gate_mlp = parts[2:6]
        out = x + gate * self.attn.proj(attended)
        if self.attn2 is not None:
            shift, scale, gate = parts[6:]
            own = self.attn2.read(modulate(self.norm1(x), shift, scale))
            out = out + gate * self.attn2.proj(attention(*own, self.attn2.heads))
        return out + gate_mlp * self.mlp(modulate(self.norm2(out), shift_mlp, scale_mlp))


class JointBlock(nn.Module):
    """Text and picture attend to both together; otherwise each has weights of its own."""

    def __init__(self, config: MmditConfig, index: int) -> None:
        super().__init__()
        self.context_block = Block(config, last=index == config.depth - 1)
        self.x_block = Block(config, dual=index in config.dual)

    def forward(self, context: Tensor, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        context_parts, x_parts = self.context_block.modulation(c), self.x_block.modulation(c)
        text, picture = self.context_block.read(context, context_parts), self.x_block.read(x, x_parts)
        q, k, v = (torch.cat(pair, dim=1) for pair in zip(text, picture, strict=True))
        attended = attention(q, k, v, self.x_block.attn.heads)
        tokens = context.shape[1]
        return (
            self.context_block.answer(context, attended[:, :tokens], context_parts),
            self.x_block.answer(x, attended[:, tokens:], x_parts),
        )


class FinalLayer(nn.Module):
    """Tokens to patches. [B,L,D] -> [B,L,p*p*C]."""

    def __init__(self, config: MmditConfig) -> None:
        super().__init__()
        self.norm_final = LayerNorm(config.width, elementwise_affine=False, eps=EPS)
        self.linear = Linear(config.width, config.patch**2 * config.out_channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), Linear(config.width, 2 * config.width))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(c).unsqueeze(1).chunk(2, dim=-1)
        return self.linear(modulate(self.norm_final(x), shift, scale))


class MMDiT(nn.Module):
    """The network of SD 3, and of SD 3.5 (MMDiT-X) where its configuration has `norm` and `dual`."""

    pos_embed: Tensor
    exact_parts = ("x_embedder", "t_embedder", "y_embedder", "context_embedder", "adaLN_modulation", "final_layer")

    def __init__(self, config: MmditConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.x_embedder = PatchEmbed(config)
        self.t_embedder = VectorEmbed(TIME_WIDTH, width)
        self.y_embedder = VectorEmbed(config.pooled, width)
        self.context_embedder = Linear(config.context, width)
        self.register_buffer("pos_embed", torch.zeros(1, config.positions**2, width))
        self.joint_blocks = nn.ModuleList(JointBlock(config, index) for index in range(config.depth))
        self.final_layer = FinalLayer(config)

    def forward(
        self, x: Tensor, t: Tensor, context: Tensor, pooled: Tensor, *, shortcut: Shortcut | None = None
    ) -> Tensor:
        """Predict from `x` [B,Cin,H,W], timesteps `t` [B] in 0..1000, `context` [B,T,K] and `pooled` [B,P].

        Any size does whose patches fit the table of positions; a side that is no multiple of the patch is continued
        with the opposite edge, which keeps the noise independent. Raises BadInput for a larger picture. In the memory
        of a `shortcut` stays what the blocks after the first one add to the picture.
        """
        dtype, (height, width) = self.pos_embed.dtype, x.shape[-2:]
        patch = self.config.patch
        x = F.pad(x.to(dtype), (0, -width % patch, 0, -height % patch), mode="circular")
        rows, columns = (side // patch for side in x.shape[-2:])
        h = self.x_embedder(x) + self.positions(rows, columns)
        c = self.t_embedder(sinusoidal(t, TIME_WIDTH).to(dtype)) + self.y_embedder(pooled.to(dtype))
        context = self.context_embedder(context.to(dtype))
        first, *others = self.joint_blocks
        text, picture = first(context, h, c)

        def inside() -> Tensor:
            return through(others, text, picture, c)

        memory = None if shortcut is None else shortcut.memory
        h = inside() if memory is None else memory.rest(picture - h, inside, onto=picture)
        patches = self.final_layer(h, c).unflatten(-1, (patch, patch, -1)).unflatten(1, (rows, columns))
        return torch.einsum("nhwpqc->nchpwq", patches).flatten(4).flatten(2, 3)[:, :, :height, :width]

    def positions(self, rows: int, columns: int) -> Tensor:
        """The middle of the table, [1, rows * columns, D]: a picture's centre has the same positions at every size."""
        side = self.config.positions
        if max(rows, columns) > side:
            raise BadInput(
                f"This model knows {side} positions along a side, and the picture has {max(rows, columns)}.",
                hint="Ask for a smaller size.",
                field="size",
            )
        table = self.pos_embed.unflatten(1, (side, side))
        top, left = (side - rows) // 2, (side - columns) // 2
        return table[:, top : top + rows, left : left + columns].flatten(1, 2)


def through(blocks: Iterable[nn.Module], context: Tensor, x: Tensor, c: Tensor) -> Tensor:
    """The picture's tokens after joint blocks."""
    for block in blocks:
        context, x = block(context, x, c)
    return x


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x (1 + scale) + shift (Peebles & Xie 2023, section 3.2)."""
    return x * (1 + scale) + shift
