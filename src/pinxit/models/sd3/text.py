"""Three text encoders into what the transformer takes (Esser et al. 2024, appendix B.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.models.common.text import encode_chunks, encode_words
from pinxit.models.sd3.config import Sd3Config
from pinxit.models.sd3.layout import CLIP_G, CLIP_L, T5_XXL
from pinxit.prompts.t5 import SHORTEST_ROW
from pinxit.sampling.denoiser import Conditioning

if TYPE_CHECKING:
    from pinxit.models.common.clip import ClipText
    from pinxit.models.common.t5 import T5Encoder
    from pinxit.models.contract import Networks, Words

SKIP = 2
"""The CLIP encoders' last state but one, without the final norm."""


def encode(config: Sd3Config, networks: Networks, words: Words) -> Conditioning:
    """Tokens [1, 77 * chunks + T5's, context] and the pooled vector [1, pooled].

    Both CLIPs side by side, filled up with zeros to T5's width; T5's states behind them, or as many zeros as an empty
    prompt would have there. The pooled vector is CLIP-L's, then CLIP-G's.
    """
    l_tokens, l_pooled = _clip(networks, words, CLIP_L, projects=config.projects)
    g_tokens, g_pooled = _clip(networks, words, CLIP_G, projects=True)
    both = torch.cat([l_tokens, g_tokens], dim=-1)
    width = config.transformer.context
    clip = F.pad(both, (0, width - both.shape[-1]))
    t5 = _t5(networks, words) if T5_XXL in networks else clip.new_zeros(1, SHORTEST_ROW, width)
    return Conditioning(tokens=torch.cat([clip, t5], dim=1), pooled=torch.cat([l_pooled, g_pooled], dim=-1))


def _clip(networks: Networks, words: Words, component: str, *, projects: bool) -> tuple[Tensor, Tensor]:
    network = cast("ClipText", networks[component])
    projects = projects and network.text_projection is not None
    tokens, pooled = encode_words(network, words, component, skip=SKIP, normalise=False, projects=projects)
    return tokens, cast(Tensor, pooled)


def _t5(networks: Networks, words: Words) -> Tensor:
    network = cast("T5Encoder", networks[T5_XXL])
    return encode_chunks(lambda ids: (network(ids).float(), None), words, T5_XXL)[0]
