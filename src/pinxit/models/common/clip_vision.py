"""The image transformer of CLIP and OpenCLIP (Radford et al. 2021): a picture to vectors that condition a network.

```
pixels [B,3,S,S] -> patches (convolution) + class token + positions -> pre_layrnorm -> encoder.layers.{i} ... -> last
                                                                             |                                    |
                                                               hidden states, one per layer    the class token, normed:
                                                                               pooled -> visual_projection -> embedded
```
Names are those of the Hugging Face layout, with its spelling of `pre_layrnorm`, for every tower.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pinxit.models.common.clip import Layer
from pinxit.models.common.configs import ClipTextConfig
from pinxit.models.common.vision import ClipVisionConfig
from pinxit.nn import Conv2d, Embedding, LayerNorm, Linear


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStates:
    """What an image tower offers: `hidden[0]` is the embeddings, `hidden[i]` the output of layer i, [B,1+P,C] each.

    `last` equals the last of them; `pooled` [B,C] is its class token after the final norm, `embedded` that through the
    projection (None where the tower has none).
    """

    hidden: tuple[Tensor, ...]
    last: Tensor
    pooled: Tensor
    embedded: Tensor | None


class Embeddings(nn.Module):
    def __init__(self, config: ClipVisionConfig) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.empty(config.width))
        self.patch_embedding = Conv2d(3, config.width, config.patch, stride=config.patch, bias=False)
        self.position_embedding = Embedding((config.image // config.patch) ** 2 + 1, config.width)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        token = self.class_embedding.expand(pixels.shape[0], 1, -1)
        return torch.cat([token, patches], dim=1) + self.position_embedding.weight


class Stack(nn.Module):
    def __init__(self, config: ClipVisionConfig) -> None:
        super().__init__()
        layer = ClipTextConfig(
            width=config.width, intermediate=config.intermediate, heads=config.heads, activation=config.activation
        )
        self.layers = nn.ModuleList(Layer(layer, causal=False) for _ in range(config.layers))


class VisionModel(nn.Module):
    def __init__(self, config: ClipVisionConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.pre_layrnorm = LayerNorm(config.width)
        self.encoder = Stack(config)
        self.post_layernorm = LayerNorm(config.width)


class ClipVision(nn.Module):
    """A CLIP image encoder, with or without its projection."""

    def __init__(self, config: ClipVisionConfig) -> None:
        super().__init__()
        self.config = config
        self.vision_model = VisionModel(config)
        self.visual_projection = (
            None if config.projection is None else Linear(config.width, config.projection, bias=False)
        )

    def forward(self, pixels: Tensor) -> ImageStates:
        """Encode prepared pictures [B,3,S,S] (`config.preprocessing` says how). Raises ValueError for another size."""
        side = self.config.image
        if pixels.shape[1:] != (3, side, side):
            raise ValueError(f"the image encoder takes pictures of 3 x {side} x {side}, not {list(pixels.shape[1:])}")
        pixels = pixels.to(self.vision_model.embeddings.class_embedding.dtype)
        h = self.vision_model.pre_layrnorm(self.vision_model.embeddings(pixels))
        hidden = [h]
        for layer in self.vision_model.encoder.layers:
            h = layer(h)
            hidden.append(h)
        pooled = self.vision_model.post_layernorm(h[:, 0])
        embedded = None if self.visual_projection is None else self.visual_projection(pooled)
        return ImageStates(hidden=tuple(hidden), last=h, pooled=pooled, embedded=embedded)
