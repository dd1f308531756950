"""The ControlNet (Zhang, Rao & Agrawala 2023, figure 3): a U-Net's way down that reads a picture beside the latent.

```
hint [B,3,8H,8W] -> input_hint_block -----.
x [B,Cin,H,W] -> input_blocks.0 ----------+--> input_blocks.1 ... -> middle_block
                        |                            |                    |
                   zero_convs.0                 zero_convs.1 ...    middle_block_out
```
The outputs, one for every skip of the U-Net and one for its middle, are what a U-Net adds to its own.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.common.ldm_unet import TimeEmbed, embedding, input_blocks, label_embedding, middle_block, run
from pinxit.models.controlnet.config import ControlNetConfig
from pinxit.nn import Conv2d


def hint_block(channels: tuple[int, ...], out_channels: int) -> nn.Sequential:
    """Picture [B,3,8H,8W] to features [B,out,H,W]; every second of the inner convolutions halves the size."""
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise((*channels, out_channels))):
        halves = number and number % 2 == 0 and number < len(channels) - 1
        layers += [Conv2d(before, after, 3, stride=2 if halves else 1, padding=1), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


class ControlNet(nn.Module):
    """What a U-Net adds to its skips and its middle, from a hint."""

    def __init__(self, config: ControlNetConfig) -> None:
        super().__init__()
        self.config = config
        unet = config.unet
        self.time_embed = TimeEmbed(unet.model_channels)
        self.label_emb = label_embedding(unet)
        self.input_blocks, skips = input_blocks(unet)
        self.input_hint_block = hint_block(config.hint_channels, unet.model_channels)
        self.zero_convs = nn.ModuleList(nn.Sequential(Conv2d(width, width, 1)) for width in skips)
        self.middle_block = middle_block(unet, skips[-1])
        self.middle_block_out = nn.Sequential(Conv2d(skips[-1], skips[-1], 1))

    def forward(
        self, x: Tensor, hint: Tensor, t: Tensor, context: Tensor, y: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """One tensor for every skip, the first block's first, and the middle's last.

        `x` [B,Cin,H,W] is the noisy latent, `hint` [B,3,8H,8W] a picture in 0..1; `t`, `context` and `y` are the
        U-Net's. Where 8H is not a multiple of 8 the hint's features are fitted to the latent.
        """
        dtype = cast(Conv2d, self.middle_block_out[0]).weight.dtype
        x = x.to(dtype)
        emb = embedding(self, self.config.unet, t, y)
        guide = self.input_hint_block(hint.to(dtype))
        if guide.shape[-2:] != x.shape[-2:]:
            guide = F.interpolate(guide, size=x.shape[-2:], mode="nearest")
        h, outputs = x, []
        for number, (block, zero) in enumerate(zip(self.input_blocks, self.zero_convs, strict=True)):
            h = run(block, h, emb, context)
            if number == 0:
                h = h + guide
            outputs.append(zero(h))
        h = run(self.middle_block, h, emb, context)
        return (*outputs, self.middle_block_out(h))
