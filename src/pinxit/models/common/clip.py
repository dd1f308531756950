"""The text transformers of CLIP and OpenCLIP (Radford et al. 2021): token numbers to vectors for the U-Net.

```
ids [B,77] -> embeddings (token + position) -> encoder.layers.{i} (causal) ... -> final_layer_norm -> last
                                                     |                                  |
                                         hidden states, one per layer       at the first end-of-text token:
                                                                            pooled -> text_projection -> projected
```
Names are those of the Hugging Face layout for OpenAI's and OpenCLIP's encoders alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.common.configs import ClipTextConfig
from pinxit.nn import Embedding, LayerNorm, Linear, attention


@dataclass(frozen=True, slots=True, kw_only=True)
class TextStates:
    """What a text encoder offers: `hidden[0]` is the embeddings, `hidden[i]` the output of layer i, [B,S,C] each.

    `last` is the normalised last state, `pooled` [B,C] its row at the first end-of-text token, `projected` that row
    through the text projection (None where the model has none).
    """

    hidden: tuple[Tensor, ...]
    last: Tensor
    pooled: Tensor
    projected: Tensor | None


class Embeddings(nn.Module):
    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.token_embedding = Embedding(config.vocab_size, config.width)
        self.position_embedding = Embedding(config.positions, config.width)

    def forward(self, ids: Tensor) -> Tensor:
        return self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[-1]]


class SelfAttention(nn.Module):
    """Multi-head self-attention; `causal` lets a position see itself and what stands before it."""

    def __init__(self, config: ClipTextConfig, *, causal: bool) -> None:
        super().__init__()
        self.heads = config.heads
        self.causal = causal
        self.k_proj = Linear(config.width, config.width)
        self.v_proj = Linear(config.width, config.width)
        self.q_proj = Linear(config.width, config.width)
        self.out_proj = Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_proj(attention(self.q_proj(x), self.k_proj(x), self.v_proj(x), self.heads, causal=self.causal))


class Mlp(nn.Module):
    """Feed-forward with OpenAI's approximate GELU, `x * sigmoid(1.702 x)`, or the exact one."""

    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.quick = config.activation == "quick_gelu"
        self.fc1 = Linear(config.width, config.intermediate)
        self.fc2 = Linear(config.intermediate, config.width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(x)
        return self.fc2(h * torch.sigmoid(1.702 * h) if self.quick else F.gelu(h))


class Layer(nn.Module):
    """One layer of a text encoder, or, without `causal`, of an image encoder."""

    def __init__(self, config: ClipTextConfig, *, causal: bool = True) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config, causal=causal)
        self.layer_norm1 = LayerNorm(config.width)
        self.mlp = Mlp(config)
        self.layer_norm2 = LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Stack(nn.Module):
    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))


class TextModel(nn.Module):
    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Stack(config)
        self.final_layer_norm = LayerNorm(config.width)


class ClipText(nn.Module):
    """A CLIP text encoder, with or without its projection."""

    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.config = config
        self.text_model = TextModel(config)
        self.text_projection = (
            None if config.projection is None else Linear(config.width, config.projection, bias=False)
        )

    def forward(self, ids: Tensor) -> TextStates:
        """Encode token numbers [B,S], S at most `positions`; each row must hold an end-of-text token."""
        ids = ids.to(self.text_model.embeddings.token_embedding.weight.device)
        h = self.text_model.embeddings(ids)
        hidden = [h]
        for layer in self.text_model.encoder.layers:
            h = layer(h)
            hidden.append(h)
        last = self.text_model.final_layer_norm(h)
        end = (ids == self.config.eos_id).int().argmax(dim=-1)
        pooled = last[torch.arange(ids.shape[0], device=ids.device), end]
        projected = None if self.text_projection is None else self.text_projection(pooled)
        return TextStates(hidden=tuple(hidden), last=last, pooled=pooled, projected=projected)

    def normalised(self, hidden: Tensor) -> Tensor:
        """A hidden state through the final norm, as SD 1.x clip-skip and SD 2.x take it."""
        return self.text_model.final_layer_norm(hidden)
