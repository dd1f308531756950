"""All noise there is: numbers keyed by seed, draw and place, the same on every machine.

Philox-4x32-10 (Salmon et al. 2011) is a function, not a sequence: the number at (draw, n, element, stream) under a
seed's key costs the same whenever it is asked for. So image k of a batch is image k alone, a resumed run needs no
stored state, and a Brownian path answers for any interval in any order. The start noise and the first draw of each
step are the numbers that a CUDA generator gives (the "NV" mode of other programs).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from pinxit.schema.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]
Words = NDArray[np.uint32]

MULTIPLIERS: Final = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
KEY_STEPS: Final = (0x9E3779B9, 0xBB67AE85)
ROUNDS: Final = 10
WORD: Final = 1 << 32

TOP: Final = 2.0**14
"""The highest level of the Brownian path; no model starts above it."""
DEPTH: Final = 14
"""Halvings of the path before a point is bridged directly."""

DRAW, PATH, LEAF = range(3)
"""The streams: plain draws, nodes of the Brownian path, points inside its leaves."""


class NoiseSource(Protocol):
    """Where samplers get noise: standard normal, in the shape of the batch."""

    def start(self) -> Tensor:
        """The noise that a picture starts from."""
        ...

    def draw(self, step: int, n: int = 0, /) -> Tensor:
        """The n-th noise of a step."""
        ...

    def between(self, step: int, sigma: float, sigma_next: float, /) -> Tensor:
        """The increment of a Brownian path over [sigma_next, sigma], divided by its standard deviation."""
        ...


def philox(counter: tuple[Words, Words, Words, Words], seed: int) -> tuple[Words, Words]:
    """The first two of the four words of Philox-4x32-10 for each counter, under the key `seed` (64 bits)."""
    c0, c1, c2, c3 = (word.astype(np.uint64) for word in counter)
    low = np.uint64(WORD - 1)
    shift = np.uint64(32)
    key = [seed % WORD, (seed >> 32) % WORD]
    for _ in range(ROUNDS):
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1 = (second >> shift) ^ c1 ^ np.uint64(key[0]), second & low
        c2, c3 = (first >> shift) ^ c3 ^ np.uint64(key[1]), first & low
        key = [(word + step) % WORD for word, step in zip(key, KEY_STEPS, strict=True)]
    return c0.astype(np.uint32), c1.astype(np.uint32)


def normals(count: int, seed: int, *, draw: int, n: int = 0, stream: int = 0) -> NDArray[np.float64]:
    """`count` standard normal numbers by Box & Muller 1958, one counter each, in float64 before any rounding."""
    elements = np.arange(count, dtype=np.uint32)
    words = (np.full(count, value % WORD, dtype=np.uint32) for value in (draw, n, stream))
    first, second, third = words
    left, right = philox((first, second, elements, third), seed)
    radius = np.sqrt(-2 * np.log((left + 0.5) / WORD))
    return radius * np.sin((right + 0.5) / WORD * (2 * math.pi))


class PhiloxNoise:
    """The product's noise: each image has its own seed, `part` tells the passes of one request apart.

    `shape` is one image's latent, without the batch. A `shift` (the field's "eta noise seed delta") is added to the
    seeds of all draws but the start; generators then begin anew, as other programs' do. `convert` turns a float32 array
    [B, *shape] into what the sampler works on (a tensor on its device); by default the array itself.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: tuple[int, ...],
        *,
        part: int = 0,
        shift: int = 0,
        convert: Callable[[Floats], Tensor] | None = None,
    ) -> None:
        for seed in seeds:
            if not 0 <= seed < 2**64:
                raise BadInput(
                    f"A seed lies between 0 and 2^64 - 1, this one is {seed}.",
                    hint="Leave the seed out for a random one.",
                    field="seed",
                )
        self._paths = tuple(_Path(seed, math.prod(shape), part) for seed in seeds)
        self._seeds, self._shape, self._part, self._convert = tuple(seeds), shape, part, convert
        self._later = tuple((seed + shift) % 2**64 for seed in seeds)
        self._first = 0 if shift else 1

    def start(self) -> Tensor:
        return self._drawn(self._seeds, 0, 0)

    def draw(self, step: int, n: int = 0, /) -> Tensor:
        return self._drawn(self._later, self._first + step, n)

    def between(self, step: int, sigma: float, sigma_next: float, /) -> Tensor:
        del step
        scale = math.sqrt(abs(sigma - sigma_next))
        return self._give([np.asarray(path.at(sigma) - path.at(sigma_next)) / scale for path in self._paths])

    def _drawn(self, seeds: Sequence[int], draw: int, n: int) -> Tensor:
        count = math.prod(self._shape)
        stream = self._part << 8 | DRAW
        return self._give([normals(count, seed, draw=draw, n=n, stream=stream) for seed in seeds])

    def _give(self, images: Sequence[NDArray[np.float64]]) -> Tensor:
        batch = np.stack(images).astype(np.float32).reshape(len(images), *self._shape)
        # Without a converter the caller works on arrays, which the samplers' arithmetic serves just as well.
        return self._convert(batch) if self._convert else batch  # pyright: ignore[reportReturnType]


class _Path:
    """A Brownian path W(sigma) of every element of one image, from W(0) = 0 to the level TOP.

    Levels are the points u / (1 - u) of a bisected interval of u, so that low levels are resolved as finely as high
    ones. Each node is the Brownian bridge between its parents with a noise of its own counter; a level inside a leaf is
    bridged with noise keyed by its bits. The cache only saves time: any node can be made again.
    """

    def __init__(self, seed: int, count: int, part: int) -> None:
        self._seed, self._count, self._part = seed, count, part
        self._nodes: dict[int, NDArray[np.float64]] = {}
        self._points: dict[float, NDArray[np.float64]] = {}

    def at(self, sigma: float) -> NDArray[np.float64] | float:
        if sigma <= 0:
            return 0.0
        if sigma > TOP:
            raise BadInput(
                f"The Brownian path ends at sigma {TOP:g}, sigma {sigma:g} was asked for.",
                hint="Choose a sampler without fresh noise.",
            )
        if sigma not in self._points:
            self._points = dict([*self._points.items()][-3:])
            self._points[sigma] = self._reach(sigma)
        return self._points[sigma]

    def _reach(self, sigma: float) -> NDArray[np.float64]:
        low, high, first, last = 0.0, TOP / (1 + TOP), 0.0, TOP
        below: NDArray[np.float64] | float = 0.0
        above = self._node(1, math.sqrt(TOP), 0.0, 0.0, 0.0)
        place, trail = 1, {1}
        for _ in range(DEPTH):
            middle = (low + high) / 2
            level = middle / (1 - middle)
            share = (level - first) / (last - first)
            spread = math.sqrt((level - first) * (last - level) / (last - first))
            value = self._node(place + 1, spread, share, below, above)
            trail.add(place + 1)
            if sigma == level:
                return value
            if sigma < level:
                high, last, above, place = middle, level, value, 2 * place
            else:
                low, first, below, place = middle, level, value, 2 * place + 1
        self._nodes = {key: node for key, node in self._nodes.items() if key in trail}
        share = (sigma - first) / (last - first)
        spread = math.sqrt(max((sigma - first) * (last - sigma) / (last - first), 0.0))
        bits = int(np.float64(sigma).view(np.uint64))
        noise = normals(self._count, self._seed, draw=bits, n=bits >> 32, stream=self._part << 8 | LEAF)
        return below + share * (above - below) + spread * noise

    def _node(
        self,
        key: int,
        spread: float,
        share: float,
        below: NDArray[np.float64] | float,
        above: NDArray[np.float64] | float,
    ) -> NDArray[np.float64]:
        if key not in self._nodes:
            noise = normals(self._count, self._seed, draw=key, stream=self._part << 8 | PATH)
            self._nodes[key] = below + share * (above - below) + spread * noise
        return self._nodes[key]
