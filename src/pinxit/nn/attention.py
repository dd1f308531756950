"""Scaled dot-product attention over token sequences (Vaswani et al. 2017, eq. 1).

Legend: B batch, L queries, S keys, C = heads * head width, H heads, D head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.nn.kernels.attention import CURRENT


def attention(
    q_BLC: Tensor,
    k_BSC: Tensor,
    v_BSC: Tensor,
    heads: int,
    *,
    causal: bool = False,
    bias_BHLS: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Attend from each query to all keys, per head. `C` must be a multiple of `heads`. Returns [B, L, C].

    `bias_BHLS` is added to the logits, which are multiplied by `scale`, usually D^-1/2.
    """
    plain = not causal and bias_BHLS is None and scale is None and not torch.compiler.is_compiling()
    kernel = CURRENT.get() if plain else None
    found = None if kernel is None else kernel(q_BLC, k_BSC, v_BSC, heads)
    if found is not None:
        return found
    batch, queries, width = q_BLC.shape
    q_BHLD, k_BHSD, v_BHSD = (t.unflatten(-1, (heads, width // heads)).transpose(1, 2) for t in (q_BLC, k_BSC, v_BSC))
    out_BHLD = F.scaled_dot_product_attention(q_BHLD, k_BHSD, v_BHSD, bias_BHLS, is_causal=causal, scale=scale)
    return out_BHLD.transpose(1, 2).reshape(batch, queries, width)
