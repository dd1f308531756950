"""The closed-form denoiser of the goldens: the posterior mean of a Gaussian mixture, and noise that replays theirs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinxit.sampling.denoiser import Prediction
from pinxit.sampling.process import NoiseProcess

Array = NDArray[np.float64]
SHAPE = (2, 4, 2, 2)


def draws() -> Array:
    """The recorded noise, in call order."""
    return np.random.RandomState(104).standard_normal((200, *SHAPE))


def start() -> Array:
    return np.random.RandomState(103).standard_normal(SHAPE)


class Mixture:
    """D(x) for x = a clean + b noise; every image is flattened to 16 numbers."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.mu = np.array(facts["mu"])
        self.s = np.array(facts["s"])
        self.w = np.array(facts["w"])

    def __call__(self, x: Array, a: float, b: float) -> Array:
        flat = x.reshape(-1, self.mu.shape[1])
        v = a**2 * self.s**2 + b**2
        away = flat[:, None, :] - a * self.mu[None]
        logs = np.log(self.w) - (away**2).sum(-1) / (2 * v) - self.mu.shape[1] / 2 * np.log(v)
        r = np.exp(logs - logs.max(1, keepdims=True))
        r /= r.sum(1, keepdims=True)
        means = self.mu[None] + (a * self.s**2 / v)[None, :, None] * away
        return (r[..., None] * means).sum(1).reshape(x.shape)


class Recorder:
    """A Denoiser over a mixture (guided by a second one, if given) that notes the levels and each step's state."""

    def __init__(self, process: NoiseProcess, cond: Mixture, uncond: Mixture | None = None, scale: float = 1.0) -> None:
        self.process, self.cond, self.uncond, self.scale = process, cond, uncond, scale
        self.sigmas: list[float] = []
        self.states: dict[int, Any] = {}

    def __call__(self, x: Any, sigma: float, index: int, /) -> Prediction:
        self.sigmas.append(sigma)
        self.states.setdefault(index, x)
        a = self.process.alpha(sigma)
        clean = self.cond(x, a, sigma)
        if self.uncond is None:
            return prediction(clean)
        without = self.uncond(x, a, sigma)
        return prediction(without + self.scale * (clean - without), without)


def prediction(clean: Any, uncond: Any = None) -> Prediction:
    """A Prediction of arrays, which serve the samplers as tensors do."""
    return Prediction(clean, uncond)


class Replay:
    """The recorded noise in call order, whatever is asked; or by step, for programs that draw in steps without need."""

    def __init__(self, recorded: Array, *, by_step: bool = False) -> None:
        self.recorded, self.by_step = recorded, by_step
        self.count = 0

    def start(self) -> Any:
        return start()

    def draw(self, step: int, n: int = 0, /) -> Any:
        self.count += 1
        return self.recorded[step if self.by_step else self.count - 1]

    def between(self, step: int, sigma: float, sigma_next: float, /) -> Any:
        return self.draw(step)


def relative(got: Array, want: Array) -> float:
    """The largest difference, in units of the largest number."""
    if got.shape != want.shape:
        return math.inf
    return float(np.abs(got - want).max() / np.abs(want).max())
