"""Two predictions in one call: what may be joined, whose answer is whose, and that an interval asks for one alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pinxit.sampling.denoiser import Conditioning, Prediction
from pinxit.sampling.guidance import cfg, interval
from pinxit.sampling.pairs import joined, paired

NEGATIVE = Conditioning(tokens=torch.zeros(1, 77, 8), pooled=torch.zeros(1, 4), time_ids=(64.0, 64.0))
PROMPT = replace(NEGATIVE, tokens=torch.ones(1, 77, 8), pooled=torch.ones(1, 4))


def test_both_make_a_batch_of_two() -> None:
    both = joined(NEGATIVE, PROMPT)
    assert both is not None
    assert both.tokens is not None
    assert both.pooled is not None
    assert both.tokens[:, 0, 0].tolist() == both.pooled[:, 0].tolist() == [0.0, 1.0]
    assert both.time_ids == PROMPT.time_ids


@pytest.mark.parametrize(
    "changed",
    [
        {"tokens": torch.ones(1, 154, 8)},
        {"tokens": None},
        {"pooled": None},
        {"mask": torch.ones(1, 77)},
        {"concat": torch.ones(1, 5, 8, 8)},
        {"region": torch.ones(1, 1, 8, 8)},
        {"time_ids": (64.0, 32.0)},
        {"guidance": 3.0},
        {"noise_level": 20.0},
        {"weight": 0.5},
        {"span": (0.0, 0.5)},
    ],
)
def test_what_cannot_be_said_at_once_is_left_apart(changed: dict[str, Any]) -> None:
    assert joined(NEGATIVE, replace(PROMPT, **changed)) is None


class Counting:
    """Answers a batch with its first picture times 2, its second times 3, and remembers how many it was asked for."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, x: Tensor, sigma: float, index: int, /) -> Prediction:
        self.batches.append(len(x))
        factors = torch.tensor([2.0, 3.0] if len(x) == 2 else [3.0])
        return Prediction(x * factors.view(-1, 1, 1, 1))


def test_guidance_takes_one_call_and_the_prompt_alone_another() -> None:
    network, x = Counting(), torch.ones(1, 4, 2, 2)
    without, within = paired(network, network)
    denoise = interval(cfg(within, without, 7.0), within, 1.0, 5.0)
    found = [denoise(x, sigma, index).clean[0, 0, 0, 0].item() for index, sigma in enumerate((9.0, 4.0, 2.0, 0.5))]
    assert found == [3.0, 2 + 7.0, 2 + 7.0, 3.0]
    assert network.batches == [1, 2, 2, 1]


def test_an_answer_is_for_its_own_question() -> None:
    network, x = Counting(), torch.ones(1, 4, 2, 2)
    without, within = paired(network, network)
    without(x, 4.0, 0)
    assert within(2 * x, 4.0, 0).clean[0, 0, 0, 0].item() == 6.0
    without(x, 4.0, 0)
    within(x, 3.0, 0)
    assert network.batches == [2, 1, 2, 1]
