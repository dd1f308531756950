"""What the samplers call: noisy state in, estimate of the clean picture out; and how a network becomes that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from pinxit.sampling.process import NoiseProcess


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
    """A network as the family built it: scaled x, timestep, conditioning to its raw output in x's shape."""

    def __call__(self, x: Tensor, t: float, conditioning: Conditioning, /) -> Tensor: ...


def precondition(network: Network, process: NoiseProcess, conditioning: Conditioning) -> Denoiser:
    """Bind a network to its noise process: scale the input, tell it the timestep, read its output as a picture.

    Karras et al. 2022, eq. 7. The arithmetic here keeps x's dtype (float32) whatever the network computes in.
    """

    def denoise(x: Tensor, sigma: float, index: int, /) -> Prediction:
        del index
        scalings = process.scalings(sigma)
        output = network(scalings.input * x, process.timestep(sigma), conditioning)
        return Prediction(scalings.skip * x + scalings.output * output)

    return denoise


class PredictionLog(Protocol):
    """An append-only list of predictions: the whole checkpoint of a run."""

    def append(self, prediction: Prediction, /) -> None: ...
    def __iter__(self) -> Iterator[Prediction]: ...


def logged(denoise: Denoiser, log: PredictionLog) -> Denoiser:
    """Answer the first calls from `log`, in order, and append every later answer to it.

    A sampler started afresh with such a Denoiser repeats a broken run bit by bit, without one network call for what the
    log holds. It must be started with the same x, sigmas, options and noise.
    """
    replay = iter(tuple(log))

    def answer(x: Tensor, sigma: float, index: int, /) -> Prediction:
        known = next(replay, None)
        if known is not None:
            return known
        fresh = denoise(x, sigma, index)
        log.append(fresh)
        return fresh

    return answer
