"""The noise of other programs, for the same picture from the same seed: drawn in call order from torch generators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor

Convert = Callable[["Tensor"], "Tensor"]


class PerImageTorchNoise:
    """One CPU generator per image, as A1111's "CPU" source: the start noise, then a number for every draw.

    `shift` is added to the seeds after the start noise (the field's "eta noise seed delta"). `between` is a plain draw.
    """

    def __init__(
        self, seeds: Sequence[int], shape: tuple[int, ...], *, shift: int = 0, convert: Convert | None = None
    ) -> None:
        self._shape, self._convert = shape, convert
        self._start = [_generator(seed) for seed in seeds]
        self._later = [_generator(seed + shift) for seed in seeds] if shift else self._start

    def start(self) -> Tensor:
        return self._drawn(self._start)

    def draw(self, step: int, n: int = 0, /) -> Tensor:
        del step, n
        return self._drawn(self._later)

    def between(self, step: int, sigma: float, sigma_next: float, /) -> Tensor:
        del sigma, sigma_next
        return self.draw(step)

    def _drawn(self, generators: Sequence[Generator]) -> Tensor:
        import torch

        batch = torch.stack([torch.randn(self._shape, generator=generator) for generator in generators])
        return self._convert(batch) if self._convert else batch


class BatchTorchNoise:
    """One CPU generator for the whole batch, as ComfyUI: a second one, seeded one higher, serves the sampler.

    Image k of such a batch is not the picture of seed + k. `between` is a plain draw.
    """

    def __init__(self, seed: int, batch: int, shape: tuple[int, ...], *, convert: Convert | None = None) -> None:
        self._shape, self._convert = (batch, *shape), convert
        self._start, self._later = _generator(seed), _generator(seed + 1)

    def start(self) -> Tensor:
        return self._drawn(self._start)

    def draw(self, step: int, n: int = 0, /) -> Tensor:
        del step, n
        return self._drawn(self._later)

    def between(self, step: int, sigma: float, sigma_next: float, /) -> Tensor:
        del sigma, sigma_next
        return self.draw(step)

    def _drawn(self, generator: Generator) -> Tensor:
        import torch

        noise = torch.randn(self._shape, generator=generator)
        return self._convert(noise) if self._convert else noise


def _generator(seed: int) -> Generator:
    import torch

    return torch.Generator("cpu").manual_seed(seed % 2**64)
