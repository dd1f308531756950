"""How noise and picture mix: x = alpha(sigma) * clean + sigma * noise, for every kind of model.

Legend: `x` the noisy state, `clean` the network's estimate of the picture, `here` and `there` two noise levels,
`down` the part of `there` that the old noise keeps, `up` the part that fresh noise fills (down^2 + up^2 = there^2),
`lambda` half of the log signal-to-noise ratio, log(alpha / sigma).

Epsilon, velocity and EDM models live in the variance-exploding form (alpha = 1, sigma is the k-diffusion level).
Rectified flows have alpha = 1 - sigma. With alpha as a method, one first-order step serves them all.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from pinxit.sampling.dialect import Amplitude, Rounding, ZeroEnd
from pinxit.sampling.tables import (
    LAST_ABAR,
    LAST_ABAR_DIFFUSERS,
    flow_levels,
    geometric_levels,
    shifted,
    standard_levels,
)

if TYPE_CHECKING:
    from torch import Tensor


class Scalings(NamedTuple):
    """clean = skip * x + output * network(input * x)."""

    skip: float
    output: float
    input: float


def ancestral(here: float, there: float, eta: float) -> tuple[float, float]:
    """(down, up) of a variance-exploding step whose fresh noise is `eta` times that of the true reverse process.

    Song et al. 2020 (DDIM), eq. 16, written for alpha = 1.
    """
    up = min(there, eta * there * math.sqrt(max(here**2 - there**2, 0.0)) / here) if eta else 0.0
    return math.sqrt(there**2 - up**2), up


class NoiseProcess(ABC):
    """One way of mixing noise and picture, and the timesteps by which a network knows the noise level."""

    __slots__ = ()

    @property
    @abstractmethod
    def levels(self) -> tuple[float, ...]:
        """The noise levels that schedules pick from, rising, without 0."""

    @abstractmethod
    def scalings(self, sigma: float) -> Scalings:
        """How to feed the network at this level and how to read its output."""

    @abstractmethod
    def timestep(self, sigma: float) -> float:
        """What the network is told about the noise level."""

    @abstractmethod
    def sigma(self, timestep: float) -> float:
        """The noise level at a timestep, fractions allowed."""

    @property
    def sigma_min(self) -> float:
        return self.levels[0]

    @property
    def sigma_max(self) -> float:
        return self.levels[-1]

    @property
    def zero_terminal(self) -> bool:
        """Whether the last level is pure noise in the variance-exploding form, which schedules must then visit."""
        return False

    def alpha(self, sigma: float) -> float:  # noqa: ARG002  (a flow answers with its own level)
        """The picture's share of x."""
        return 1.0

    def half_log_snr(self, sigma: float) -> float:
        """lambda = log(alpha / sigma). Undefined where alpha or sigma is 0: see `offset`."""
        return math.log(self.alpha(sigma) / sigma)

    def sigma_of(self, half_log_snr: float) -> float:
        """The level with that lambda."""
        return math.exp(-half_log_snr)

    def offset(self, sigma: float) -> float:
        """The nearest level with a finite lambda: sigma itself, unless alpha(sigma) is 0."""
        return sigma if self.alpha(sigma) > 0 else self.at_progress(1e-4)

    def at_progress(self, progress: float) -> float:
        """The level after this share (0..1) of the denoising, counted in training timesteps."""
        if progress <= 0:
            return math.inf
        if progress >= 1:
            return 0.0
        return self.sigma((1 - progress) * (len(self.levels) - 1))

    def amplitude(self, sigma: float, rule: Amplitude = "sigma") -> float:
        """The factor of the start noise of a picture that begins from nothing at this level."""
        rooted = rule == "root" or (rule == "root_at_top" and sigma >= self.sigma_max * (1 - 1e-5))
        return math.sqrt(1 + sigma**2) if rooted else sigma

    def between(self, here: float, there: float) -> float:
        """The level halfway in the training timesteps."""
        return self.sigma((self.timestep(here) + self.timestep(there)) / 2)

    def add_noise(self, clean: Tensor, noise: Tensor, sigma: float) -> Tensor:
        """Put `clean` at the level sigma."""
        return self.alpha(sigma) * clean + sigma * noise

    def raise_noise(self, x: Tensor, noise: Tensor, here: float, there: float) -> Tensor:
        """Lift x from `here` to the higher level `there`: scale the picture's share, fill up with noise."""
        scale = self.alpha(there) / self.alpha(here)
        return scale * x + math.sqrt(max(there**2 - (scale * here) ** 2, 0.0)) * noise

    def split(self, here: float, there: float, eta: float) -> tuple[float, float]:
        """(down, up) of an ancestral step: down^2 + up^2 = there^2; eta 0 is deterministic."""
        return ancestral(here, there, eta)

    def diffuse(self, here: float, there: float, eta: float) -> tuple[float, float]:
        """(down, up) of an SDE step: the ancestral rule in the ratio sigma / alpha, the same for every process."""
        scale = self.alpha(there)
        down, up = ancestral(here / self.alpha(here), there / scale, eta)
        return scale * down, scale * up

    def landing(self, there: float, down: float) -> tuple[float, float]:
        """(level, scale): x at `level`, times `scale`, holds alpha(there) of the picture and `down` of the noise."""
        del there
        return down, 1.0

    def move(self, x: Tensor, clean: Tensor, here: float, there: float, down: float) -> Tensor:
        """The first-order step of every process: x' = r x + (alpha' - alpha r) clean with r = down / here."""
        r = down / here
        return r * x + (self.alpha(there) - self.alpha(here) * r) * clean

    def output(self, x: Tensor, clean: Tensor, sigma: float) -> Tensor:
        """What the network must have said for `clean` to come out."""
        scalings = self.scalings(sigma)
        return (clean - scalings.skip * x) / scalings.output

    def clean(self, x: Tensor, output: Tensor, sigma: float) -> Tensor:
        """The picture that the network's output stands for."""
        scalings = self.scalings(sigma)
        return scalings.skip * x + scalings.output * output


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrete(NoiseProcess):
    """A process with a trained table: timesteps are places in it. `table` rises; its default is that of SD 1, 2, XL."""

    table: tuple[float, ...] = field(default_factory=standard_levels, repr=False)
    rounding: Rounding = "interpolated"

    @property
    def levels(self) -> tuple[float, ...]:
        return self.table

    @property
    def zero_terminal(self) -> bool:
        return self.table[-1] > 1000

    def timestep(self, sigma: float) -> float:
        """The table's place of sigma, in log(sigma); levels beyond the ends are the ends."""
        high = bisect_right(self.table, sigma)
        if high == 0:
            return 0.0
        if high == len(self.table):
            return high - 1.0
        low = high - 1
        below, above = math.log(self.table[low]), math.log(self.table[high])
        if self.rounding == "nearest":
            return float(low if math.log(sigma) - below <= above - math.log(sigma) else high)
        return low + (math.log(sigma) - below) / (above - below)

    def sigma(self, timestep: float) -> float:
        place = min(max(timestep, 0.0), len(self.table) - 1.0)
        low = math.floor(place)
        share = place - low
        if share == 0:
            return self.table[low]
        return math.exp((1 - share) * math.log(self.table[low]) + share * math.log(self.table[low + 1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Epsilon(Discrete):
    """The network predicts the noise (Ho et al. 2020)."""

    def scalings(self, sigma: float) -> Scalings:
        return Scalings(1.0, -sigma, 1 / math.sqrt(1 + sigma**2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Velocity(Discrete):
    """The network predicts v = alpha * noise - sigma * clean of the variance-preserving form (Salimans & Ho 2022)."""

    def scalings(self, sigma: float) -> Scalings:
        norm = math.sqrt(1 + sigma**2)
        return Scalings(1 / norm**2, -sigma / norm, 1 / norm)


ZERO_ENDS: dict[ZeroEnd, float] = {
    "a1111": math.sqrt((1 - LAST_ABAR) / LAST_ABAR),
    "diffusers": math.sqrt((1 - LAST_ABAR_DIFFUSERS) / LAST_ABAR_DIFFUSERS),
}


def told(process: NoiseProcess, rounding: Rounding, end: ZeroEnd) -> NoiseProcess:
    """The same process with another rule for its timesteps, and for where a zero-terminal-SNR table ends.

    Processes without a table know neither and come back as they are.
    """
    if not isinstance(process, Discrete):
        return process
    table = (*process.table[:-1], ZERO_ENDS[end]) if process.zero_terminal else process.table
    return replace(process, rounding=rounding, table=table)


@dataclass(frozen=True, slots=True, kw_only=True)
class EDM(NoiseProcess):
    """Continuous noise levels with the network told log(sigma) / 4 (Karras et al. 2022, table 1).

    `velocity` flips the output's sign: the convention of models that were fine-tuned from v-prediction.
    """

    low: float = 0.002
    high: float = 80.0
    sigma_data: float = 0.5
    velocity: bool = False

    @property
    def levels(self) -> tuple[float, ...]:
        return geometric_levels(self.low, self.high)

    def scalings(self, sigma: float) -> Scalings:
        norm = math.sqrt(sigma**2 + self.sigma_data**2)
        output = sigma * self.sigma_data / norm
        return Scalings((self.sigma_data / norm) ** 2, -output if self.velocity else output, 1 / norm)

    def timestep(self, sigma: float) -> float:
        return math.log(sigma) / 4

    def sigma(self, timestep: float) -> float:
        return math.exp(4 * timestep)

    def at_progress(self, progress: float) -> float:
        if progress <= 0:
            return math.inf
        if progress >= 1:
            return 0.0
        return math.exp((1 - progress) * math.log(self.high / self.low) + math.log(self.low))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow(NoiseProcess):
    """A rectified flow: x = (1 - sigma) clean + sigma noise, the network predicts noise - clean (Esser et al. 2024).

    `shift` moves the schedule towards noise; `multiplier` scales sigma into the network's timestep.
    """

    shift: float = 1.0
    multiplier: float = 1000.0

    @property
    def levels(self) -> tuple[float, ...]:
        return flow_levels(self.shift)

    def alpha(self, sigma: float) -> float:
        return 1.0 - sigma

    def scalings(self, sigma: float) -> Scalings:
        return Scalings(1.0, -sigma, 1.0)

    def timestep(self, sigma: float) -> float:
        """The network is told the shifted level itself: this is not the inverse of `sigma` unless shift is 1."""
        return sigma * self.multiplier

    def sigma(self, timestep: float) -> float:
        return shifted(timestep / self.multiplier, self.shift)

    def sigma_of(self, half_log_snr: float) -> float:
        return 1 / (1 + math.exp(half_log_snr))

    def between(self, here: float, there: float) -> float:
        return (here + there) / 2

    def at_progress(self, progress: float) -> float:
        return 1.0 if progress <= 0 else 0.0 if progress >= 1 else shifted(1 - progress, self.shift)

    def amplitude(self, sigma: float, rule: Amplitude = "sigma") -> float:
        del rule
        return sigma

    def split(self, here: float, there: float, eta: float) -> tuple[float, float]:
        """Land `eta` of the way below `there` on the straight path, rescale to alpha(there), fill up with noise."""
        level = max(there * (1 + (there / here - 1) * eta), 0.0)
        down = level * self.alpha(there) / self.alpha(level)
        return down, math.sqrt(max(there**2 - down**2, 0.0))

    def diffuse(self, here: float, there: float, eta: float) -> tuple[float, float]:
        return NoiseProcess.diffuse(self, self.offset(here), there, eta)

    def landing(self, there: float, down: float) -> tuple[float, float]:
        ratio = down / self.alpha(there)
        level = ratio / (1 + ratio)
        return level, self.alpha(there) / self.alpha(level)
