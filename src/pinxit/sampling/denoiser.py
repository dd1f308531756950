"""What the samplers call: noisy state in, estimate of the clean picture out; and how a network becomes that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from pinxit.sampling.process import NoiseProcess
    from pinxit.sampling.shortcuts import Shortcut


@dataclass(frozen=True, slots=True)
class Prediction:
    """The network's estimate of the picture, after guidance.

    `uncond` is the estimate without the prompt; guidance fills it, and the CFG++ samplers need it.
    """

    clean: Tensor
    uncond: Tensor | None = None


class Denoiser(Protocol):
    """Noisy x, noise level and the step's index to a Prediction. Conditioning and guidance are already bound."""

    def __call__(self, x: Tensor, sigma: float, index: int, /) -> Prediction: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """Everything beside x and the noise level that a network is told.

    Shapes: `tokens` [B, T, C] the prompt's embedding, `mask` [B, T] true where a token counts, `pooled` [B, C],
    `concat` [B, C, H, W] channels beside the latent (inpainting, depth, instructions), `region` [1 or B, 1, H, W] where
    this conditioning applies. B is 1 where all images share it.
    """

    tokens: Tensor | None = None
    mask: Tensor | None = None
    pooled: Tensor | None = None
    concat: Tensor | None = None
    region: Tensor | None = None
    time_ids: tuple[float, ...] = ()
    """SDXL's sizes: original height and width, crop top and left, target height and width; the refiner's end in the
    aesthetic score instead of a target.
    """
    guidance: float | None = None
    """The scale that a model is told which was distilled to follow the prompt by itself."""
    noise_level: float | None = None
    """The augmentation level of models that were told how much noise their hint carries."""
    span: tuple[float, float] = (0.0, 1.0)
    """The part of the denoising, as shares of its steps, for which this conditioning holds: [start, end)."""
    weight: float = 1.0


class Network(Protocol):
    """A network as the family built it: scaled x, timestep, conditioning to its raw output in x's shape.

    `shortcut` is what it may leave out; networks that cannot ignore it.
    """

    def __call__(
        self, x: Tensor, t: float, conditioning: Conditioning, shortcut: Shortcut | None = None, /
    ) -> Tensor: ...


def precondition(
    network: Network, process: NoiseProcess, conditioning: Conditioning, shortcut: Shortcut | None = None
) -> Denoiser:
    """Bind a network to its noise process: scale the input, tell it the timestep, read its output as a picture.

    Karras et al. 2022, eq. 7. The arithmetic here keeps x's dtype (float32) whatever the network computes in.
    """

    def denoise(x: Tensor, sigma: float, index: int, /) -> Prediction:
        del index
        scalings = process.scalings(sigma)
        told = (scalings.input * x, process.timestep(sigma), conditioning)
        if shortcut is not None and shortcut.memory is not None:
            shortcut.memory.begin_call(sigma)
        output = network(*told) if shortcut is None else network(*told, shortcut)
        return Prediction(scalings.skip * x + scalings.output * output)

    return denoise


class PredictionLog(Protocol):
    """An append-only list of predictions: the whole checkpoint of a run."""

    def append(self, prediction: Prediction, /) -> None: ...
    def __iter__(self) -> Iterator[Prediction]: ...


def logged(denoise: Denoiser, log: PredictionLog, *, begins_afresh: Callable[[int], bool] | None = None) -> Denoiser:
    """Answer the first calls from `log`, in order, and append every later answer to it.

    A sampler started afresh with such a Denoiser repeats a broken run bit by bit, without one network call for what the
    log holds. It must be started with the same x, sigmas, options and noise.

    A denoiser that remembers earlier calls says with `begins_afresh` which steps depend on none before. The calls since
    the last such step are then made again before the first that the log does not hold, so that it remembers the same.
    """
    replay = iter(tuple(log))
    again: list[tuple[Tensor, float, int]] = []

    def answer(x: Tensor, sigma: float, index: int, /) -> Prediction:
        known = next(replay, None)
        if known is not None:
            if begins_afresh is not None:
                if begins_afresh(index) and (not again or again[-1][2] != index):
                    again.clear()
                again.append((x, sigma, index))
            return known
        while again:
            denoise(*again.pop(0))
        fresh = denoise(x, sigma, index)
        log.append(fresh)
        return fresh

    return answer
