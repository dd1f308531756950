"""Ways of computing less, at the price of a slightly different picture: caches between calls, merged tokens within one.

A cache splits a network in two: what lies outside is computed at every call, what lies inside only sometimes, and
reused otherwise. `Caching` says when, `Memory` holds what is reused, `Shortcut` tells the network of both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from pinxit.sampling.denoiser import Conditioning, Denoiser, Prediction

if TYPE_CHECKING:
    from torch import Tensor

CacheKind = Literal["deep", "block"]
POWER = 1.4
"""How strongly whole steps crowd around the centre; the value that DeepCache's authors use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caching:
    """Which steps compute a whole network, and what the others leave out.

    `deep` (DeepCache, Ma et al. 2023): every `interval`-th step is whole. The others compute the `branch` + 1 outermost
    blocks on the way down and up a U-Net and take what comes from below as the last whole step left it.

    `block` (the first-block cache of ParaAttention): the first block is computed at every call. As long as what it adds
    has changed by less than `threshold`, relative to the last whole call, the rest is taken from there; every
    `interval`-th step is whole in any case. In a U-Net the rest lies below `branch`, in a transformer after the block.
    """

    kind: CacheKind
    interval: int
    branch: int = 0
    threshold: float = 0.0
    center: float | None = None
    """The share of the run around which whole steps crowd (Ma et al. 2023, section 3.4); None spaces them evenly."""

    def begins_afresh(self, index: int, steps: int) -> bool:
        """Whether step `index` of `steps` is whole whatever was kept before."""
        if self.center is None or index >= steps:
            return index % self.interval == 0
        return index in _crowded(steps, self.interval, self.center)


@lru_cache(maxsize=64)
def _crowded(steps: int, interval: int, center: float) -> frozenset[int]:
    """Whole steps, as many as even spacing would have, at even places of the `POWER`-th root of the distance from the
    centre (Ma et al. 2023, section 3.4).
    """
    middle, count = center * steps, math.ceil(steps / interval)
    low, high = _power(-middle, 1 / POWER), _power(steps - middle, 1 / POWER)
    places = (low + (high - low) * at / count for at in range(count))
    return frozenset({0, *(min(steps - 1, max(0, int(middle + _power(place, POWER)))) for place in places)})


def _power(value: float, exponent: float) -> float:
    """`value` to the power, with its sign kept."""
    return math.copysign(abs(value) ** exponent, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merging:
    """Token merging (Bolya & Hoffman 2023): self-attention at the `levels` largest sizes that have it sees only
    1 - `ratio` of its tokens, the most alike averaged.
    """

    ratio: float
    levels: int = 1


@dataclass(frozen=True, slots=True)
class _Kept:
    sigma: float
    first: Tensor | None
    rest: Tensor


class Memory:
    """What the calls of a network with one conditioning leave for later ones.

    Samplers of higher order call a network several times in a step, at different noise levels, and live on the
    differences between the answers. So the calls of a step are numbered, and each reuses what its own number left: all
    calls of a whole step are whole, and in a reusing step the differences are those of the last whole one. A call whose
    number left nothing, or left it at a lower noise level, is whole.
    """

    def __init__(self, caching: Caching) -> None:
        self.caching = caching
        self._kept: dict[int, _Kept] = {}
        self._place, self._sigma = -1, 0.0

    def begin_step(self, *, afresh: bool) -> None:
        """Start counting calls anew; `afresh` forgets what earlier steps left."""
        self._place = -1
        if afresh:
            self._kept.clear()

    def begin_call(self, sigma: float) -> None:
        """The next call, at the noise level `sigma`."""
        self._place, self._sigma = self._place + 1, sigma

    def rest(self, first: Tensor, compute: Callable[[], Tensor], *, onto: Tensor | None = None) -> Tensor:
        """The inner part of this call: what an earlier one left, or else what `compute` gives, which is kept.

        `first` [B,...] is what the first block added to its input. With `onto`, the inner part's input, only what the
        inner part adds to it is kept.
        """
        kept = self._kept.get(self._place)
        if kept is not None and kept.sigma >= self._sigma and self._is_alike(first, kept.first):
            return kept.rest if onto is None else onto + kept.rest
        rest = compute()
        mark = first if self.caching.kind == "block" else None
        self._kept[self._place] = _Kept(self._sigma, mark, rest if onto is None else rest - onto)
        return rest

    def _is_alike(self, new: Tensor, old: Tensor | None) -> bool:
        return old is None or change(new, old) < self.caching.threshold


def change(new: Tensor, old: Tensor) -> float:
    """The mean absolute difference as a share of the mean absolute value of `old`; over a batch, the largest."""
    apart = (new.float() - old.float()).abs().flatten(1).mean(1)
    return float((apart / old.float().abs().flatten(1).mean(1)).max())


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """What a network may leave out of its next call. A network that cannot ignores it."""

    memory: Memory | None = None
    merging: Merging | None = None


class Notebook:
    """The memories of one run: one for each conditioning, so for each model, prompt, part and negative prompt."""

    def __init__(self, caching: Caching | None, merging: Merging | None, *, steps: int) -> None:
        self._caching, self._merging, self._steps = caching, merging, steps
        self._memories: dict[int, Memory] = {}
        self._owners: list[Conditioning] = []
        self._step = -1

    @property
    def is_empty(self) -> bool:
        """Whether every call is exact."""
        return self._caching is None and self._merging is None

    def shortcut(self, conditioning: Conditioning) -> Shortcut | None:
        """What calls with `conditioning` may leave out; None where they are exact."""
        if self._caching is None:
            return None if self._merging is None else Shortcut(merging=self._merging)
        if id(conditioning) not in self._memories:
            self._memories[id(conditioning)] = Memory(self._caching)
            self._owners.append(conditioning)
        return Shortcut(memory=self._memories[id(conditioning)], merging=self._merging)

    @property
    def begins_afresh(self) -> Callable[[int], bool] | None:
        """Says of a step whether it depends on nothing that was kept before; None where nothing is kept."""
        caching = self._caching
        return None if caching is None else lambda index: caching.begins_afresh(index, self._steps)

    def kept_by(self, denoise: Denoiser) -> Denoiser:
        """`denoise`, with every memory told when a step begins."""
        begins = self.begins_afresh
        if begins is None:
            return denoise

        def denoise_step(x: Tensor, sigma: float, index: int, /) -> Prediction:
            if index != self._step:
                self._step = index
                for memory in self._memories.values():
                    memory.begin_step(afresh=begins(index))
            return denoise(x, sigma, index)

        return denoise_step
