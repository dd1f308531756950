"""The noise of other programs, for the same picture from the same seed, and the list of all noise sources.

Theirs is drawn in call order from torch's CPU generators. A source that equals the Brownian tree of torchsde is not
among them: their `between` is a plain draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pinxit.sampling.noise import Floats, NoiseSource, PhiloxNoise

if TYPE_CHECKING:
    from torch import Generator, Tensor

Convert = Callable[[Floats], "Tensor"]
"""A float32 array [B, ...] to what the sampler works on."""


class PerImageTorchNoise:
    """One CPU generator per image, as A1111's "CPU" source: the start noise, then a number for every draw.

    `shift` is added to the seeds after the start noise (the field's "eta noise seed delta"); `flip` are bits of the
    seed that are turned around after it.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: tuple[int, ...],
        *,
        shift: int = 0,
        flip: int = 0,
        convert: Convert | None = None,
    ) -> None:
        self._shape, self._convert = shape, convert
        self._start = [_generator(seed) for seed in seeds]
        self._later = [_generator((seed + shift) ^ flip) for seed in seeds] if shift or flip else self._start

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
        return self._convert(batch.numpy()) if self._convert else batch


class BatchTorchNoise:
    """One CPU generator for the whole batch, as ComfyUI: a second one, seeded one higher, serves the sampler.

    Image k of such a batch is not the picture of seed + k.
    """

    def __init__(
        self, seed: int, batch: int, shape: tuple[int, ...], *, shift: int = 0, convert: Convert | None = None
    ) -> None:
        self._shape, self._convert = (batch, *shape), convert
        self._start, self._later = _generator(seed), _generator(seed + 1 + shift)

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
        return self._convert(noise.numpy()) if self._convert else noise


def _generator(seed: int) -> Generator:
    import torch

    return torch.Generator("cpu").manual_seed(seed % 2**64)


class MakeNoise(Protocol):
    """Each image's seed, one image's shape, the pass's number, the shift of later seeds and a converter to a source."""

    def __call__(
        self,
        seeds: Sequence[int],
        shape: tuple[int, ...],
        /,
        *,
        part: int = 0,
        shift: int = 0,
        convert: Convert | None = None,
    ) -> NoiseSource: ...


LATER_BITS = 0xFFFFFFFF
"""The bits by which InvokeAI's later seed differs from its first."""


def _per_image(
    seeds: Sequence[int],
    shape: tuple[int, ...],
    /,
    *,
    part: int = 0,
    shift: int = 0,
    convert: Convert | None = None,
) -> NoiseSource:
    del part  # every pass of the peer starts its generators again
    return PerImageTorchNoise(seeds, shape, shift=shift, convert=convert)


def _flipped(
    seeds: Sequence[int],
    shape: tuple[int, ...],
    /,
    *,
    part: int = 0,
    shift: int = 0,
    convert: Convert | None = None,
) -> NoiseSource:
    del part
    return PerImageTorchNoise(seeds, shape, shift=shift, flip=LATER_BITS, convert=convert)


def _batch(
    seeds: Sequence[int],
    shape: tuple[int, ...],
    /,
    *,
    part: int = 0,
    shift: int = 0,
    convert: Convert | None = None,
) -> NoiseSource:
    del part
    return BatchTorchNoise(seeds[0], len(seeds), shape, shift=shift, convert=convert)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseSpec:
    """One entry of the catalogue. `per_image`: image k of a batch is the picture of its own seed."""

    name: str
    title: str
    aliases: tuple[str, ...]
    make: MakeNoise
    per_image: bool
    summary: str


NOISE_SOURCES: tuple[NoiseSpec, ...] = (
    NoiseSpec(
        name="philox",
        title="Philox",
        aliases=("NV", "cuda", "gpu"),
        make=PhiloxNoise,
        per_image=True,
        summary="The same numbers on every machine, equal to those of a CUDA generator.",
    ),
    NoiseSpec(
        name="torch_cpu",
        title="CPU generator per image",
        aliases=("CPU", "torch"),
        make=_per_image,
        per_image=True,
        summary="A1111's CPU source, and diffusers' for one picture.",
    ),
    NoiseSpec(
        name="torch_invoke",
        title="CPU generators of InvokeAI",
        aliases=("invokeai",),
        make=_flipped,
        per_image=True,
        summary="InvokeAI's source: one generator for the start, another for what samplers draw.",
    ),
    NoiseSpec(
        name="torch_batch",
        title="CPU generator per batch",
        aliases=("comfyui",),
        make=_batch,
        per_image=False,
        summary="ComfyUI's source: the pictures of a batch depend on its size.",
    ),
)
