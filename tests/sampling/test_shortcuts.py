"""When a cache reuses, what it keeps, and how a run that was cut short comes to remember the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pinxit.sampling.denoiser import Conditioning, Prediction, logged, precondition
from pinxit.sampling.process import Epsilon
from pinxit.sampling.shortcuts import Caching, Memory, Merging, Notebook, Shortcut, change

DEEP = Caching(kind="deep", interval=3)
BLOCK = Caching(kind="block", interval=3, threshold=0.1)
ONE = torch.ones(1, 4)


class Inner:
    """An inner part that counts how often it is computed and gives the count."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> Tensor:
        self.count += 1
        return torch.full((1, 4), float(self.count))


def called(memory: Memory, inner: Inner, sigma: float, first: Tensor = ONE) -> float:
    memory.begin_call(sigma)
    return float(memory.rest(first, inner)[0, 0])


@pytest.mark.parametrize(
    ("interval", "center", "whole"),
    [
        (1, None, list(range(10))),
        (3, None, [0, 3, 6, 9]),
        (10, None, [0]),
        (2, 0.3, [0, 2, 3, 4, 7]),
        (5, 1.0, [0, 6]),
        (10, 0.0, [0]),
    ],
)
def test_the_steps_that_are_whole(interval: int, center: float | None, whole: list[int]) -> None:
    caching = Caching(kind="deep", interval=interval, center=center)
    assert [index for index in range(10) if caching.begins_afresh(index, 10)] == whole


@pytest.mark.parametrize("steps", range(1, 40))
def test_uneven_steps_lie_near_the_centre_and_are_no_more(steps: int) -> None:
    caching = Caching(kind="deep", interval=4, center=0.5)
    whole = [index for index in range(steps) if caching.begins_afresh(index, steps)]
    assert whole[0] == 0
    assert len(whole) <= -(-steps // 4) + 1
    assert whole[-1] < steps


def test_a_run_that_takes_more_steps_than_it_was_told_counts_evenly() -> None:
    caching = Caching(kind="deep", interval=3, center=0.5)
    assert [caching.begins_afresh(index, 5) for index in (5, 6, 9)] == [False, True, True]


def test_each_call_of_a_step_reuses_what_its_own_number_left() -> None:
    memory, inner = Memory(DEEP), Inner()
    memory.begin_step(afresh=True)
    assert [called(memory, inner, 5.0), called(memory, inner, 4.0)] == [1, 2]
    memory.begin_step(afresh=False)
    assert [called(memory, inner, 4.0), called(memory, inner, 3.0), called(memory, inner, 2.0)] == [1, 2, 3]
    memory.begin_step(afresh=True)
    assert called(memory, inner, 3.0) == 4
    memory.begin_step(afresh=False)
    assert [called(memory, inner, 2.0), called(memory, inner, 1.0)] == [4, 5]


def test_what_was_left_at_a_lower_noise_level_is_not_reused() -> None:
    memory, inner = Memory(DEEP), Inner()
    memory.begin_step(afresh=True)
    called(memory, inner, 1.0)
    memory.begin_step(afresh=False)
    assert called(memory, inner, 2.0) == 2


def test_the_block_cache_goes_by_what_the_first_block_added() -> None:
    memory, inner = Memory(BLOCK), Inner()
    found: list[float] = []
    for first in (ONE, 1.09 * ONE, 1.12 * ONE, 1.2 * ONE, 1.3 * ONE):
        memory.begin_step(afresh=False)
        found.append(called(memory, inner, 1.0, first))
    assert found == [1, 1, 2, 2, 3]


def test_a_threshold_of_nothing_reuses_nothing_and_the_deep_cache_has_none() -> None:
    for caching, wanted in ((Caching(kind="block", interval=9), 2), (DEEP, 1)):
        memory, inner = Memory(caching), Inner()
        for _ in range(2):
            memory.begin_step(afresh=False)
            called(memory, inner, 1.0)
        assert inner.count == wanted


def test_only_what_the_rest_adds_is_kept_where_it_is_asked_for() -> None:
    memory, inner = Memory(DEEP), Inner()
    for onto, wanted in ((ONE, 1.0), (5 * ONE, 5.0)):
        memory.begin_step(afresh=False)
        memory.begin_call(1.0)
        assert float(memory.rest(ONE, inner, onto=onto)[0, 0]) == wanted


def test_change_is_a_share_and_the_largest_of_a_batch() -> None:
    old = torch.stack([ONE[0], 10 * ONE[0]])
    assert change(old + 1, old) == 1.0
    assert change(old, old) == 0.0
    assert not change(ONE, torch.zeros(1, 4)) < 1e9


class Remembering:
    """A network whose answer depends on what its memory holds."""

    def __init__(self) -> None:
        self.calls = self.whole = 0

    def __call__(self, x: Tensor, t: float, conditioning: Conditioning, shortcut: Shortcut | None = None, /) -> Tensor:
        assert shortcut is not None
        assert shortcut.memory is not None
        self.calls += 1
        return 0.3 * x + shortcut.memory.rest(x, lambda: self._inner(x))

    def _inner(self, x: Tensor) -> Tensor:
        self.whole += 1
        return 0.1 * x.square()


SIGMAS = (8.0, 6.5, 5.0, 4.0, 3.0, 2.0, 1.2, 0.7, 0.3)


def run(log: list[Prediction]) -> tuple[Tensor, Remembering]:
    """A few steps of one and two calls each, whose answers go to the log."""
    network, conditioning = Remembering(), Conditioning()
    notebook = Notebook(DEEP, None, steps=len(SIGMAS))
    inner = precondition(network, Epsilon(), conditioning, notebook.shortcut(conditioning))
    denoise = logged(notebook.kept_by(inner), log, begins_afresh=notebook.begins_afresh)
    x = torch.linspace(-2, 2, 8)[None]
    for index, sigma in enumerate(SIGMAS):
        for part in range(1 + index % 2):
            x = 0.9 * x + 0.1 * denoise(x, sigma * (1 - 0.2 * part), index).clean
    return x, network


def test_a_cut_run_remembers_what_the_whole_one_did() -> None:
    """Wherever it is cut, also within a step: the calls since the last whole step are made again, and no others."""
    log: list[Prediction] = []
    wanted, whole = run(log)
    assert whole.whole < whole.calls == len(log)
    for cut in range(len(log) + 1):
        found, network = run(log[:cut])
        assert torch.equal(found, wanted)
        assert network.calls - (len(log) - cut) <= (5 if cut < len(log) else 0)


def test_a_notebook_has_one_memory_for_each_conditioning() -> None:
    notebook, one, other = Notebook(DEEP, None, steps=3), Conditioning(), Conditioning()
    first, again, second = (notebook.shortcut(conditioning) for conditioning in (one, one, other))
    assert first is not None
    assert again is not None
    assert second is not None
    assert first.memory is again.memory
    assert first.memory is not second.memory


def test_a_notebook_without_a_cache_keeps_nothing() -> None:
    merging = Merging(ratio=0.5)
    assert Notebook(None, merging, steps=3).shortcut(Conditioning()) == Shortcut(merging=merging)
    empty = Notebook(None, None, steps=3)
    assert (empty.shortcut(Conditioning()), empty.begins_afresh) == (None, None)
