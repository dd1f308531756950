"""SDXL's conditioning: two encoders side by side, the second one's pooled vector, and what the picture's sizes are."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pinxit.models.common.ldm_family import size_ids
from pinxit.models.common.text import encode_words
from pinxit.models.contract import Micro, Networks, Words
from pinxit.models.sdxl.config import SdxlConfig
from pinxit.models.sdxl.layout import CLIP_G, CLIP_L
from pinxit.sampling.denoiser import Conditioning

if TYPE_CHECKING:
    from torch import Tensor

    from pinxit.models.common.clip import ClipText

PENULTIMATE = 2


def encode(config: SdxlConfig, networks: Networks, words: Words) -> Conditioning:
    """The raw states before the last layer of each encoder, joined; the pooled vector is the second one's.

    An empty negative prompt becomes zeros where the rule says so, its sizes stay.
    """
    import torch

    tokens: list[Tensor] = []
    pooled: Tensor | None = None
    for name in (CLIP_L, CLIP_G):
        if name in words.chunks:
            found, pooled = encode_words(
                cast("ClipText", networks[name]), words, name, skip=PENULTIMATE, normalise=False
            )
            tokens.append(found)
    joined = torch.cat(_level(tokens), dim=-1)
    if pooled is not None and _is_zeros(config, words):
        joined, pooled = torch.zeros_like(joined), torch.zeros_like(pooled)
    return Conditioning(tokens=joined, pooled=pooled, time_ids=_time_ids(config, words.micro))


def _level(tokens: list[Tensor]) -> list[Tensor]:
    """Equally many tokens from each encoder, zeros behind the fewer. They differ only where the vocabularies do."""
    import torch

    most = max(states.shape[1] for states in tokens)
    return [torch.nn.functional.pad(states, (0, 0, 0, most - states.shape[1])) for states in tokens]


def _is_zeros(config: SdxlConfig, words: Words) -> bool:
    if not words.negative or words.text != "":
        return False
    return {"zeros": True, "model": config.zeros_for_empty, "encode": False}[words.empty_negative]


def _time_ids(config: SdxlConfig, micro: Micro) -> tuple[float, ...]:
    """Six sizes, or for the refiner four and the aesthetic score."""
    sizes = size_ids(micro)
    return (*sizes[:4], micro.score) if config.is_refiner else sizes
