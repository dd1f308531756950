"""Layers: shapes in, tensors out. The networks use these names only, so that a faster kernel has one place to go."""

from pinxit.nn.attention import attention
from pinxit.nn.embed import sinusoidal
from pinxit.nn.layers import GEGLU, Conv2d, Embedding, LayerNorm, Linear, RMSNorm, enlarge
from pinxit.nn.norm import GroupNorm, normed_conv, residual_conv

__all__ = [
    "GEGLU",
    "Conv2d",
    "Embedding",
    "GroupNorm",
    "LayerNorm",
    "Linear",
    "RMSNorm",
    "attention",
    "enlarge",
    "normed_conv",
    "residual_conv",
    "sinusoidal",
]
