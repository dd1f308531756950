"""Pseudo numerical methods on the noise (Liu et al. 2022, arXiv 2202.09778)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pinxit.sampling.denoiser import Denoiser
from pinxit.sampling.noise import NoiseSource
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.samplers.lms import equal_steps
from pinxit.sampling.samplers.spec import SamplerOptions, Step, sampler

if TYPE_CHECKING:
    from torch import Tensor


class _Outputs:
    """What a pseudo multistep sampler remembers: raw network outputs, for which `move` takes the first-order step.

    For epsilon and flow models the output is the slope itself. Velocities of different levels are combined as they are,
    which is how the field runs these samplers on such models.
    """

    def __init__(self, denoise: Denoiser, process: NoiseProcess) -> None:
        self._denoise, self._process = denoise, process
        self.clean: Tensor | None = None

    def at(self, x: Tensor, sigma: float, index: int) -> Tensor:
        clean = self._denoise(x, sigma, index).clean
        self.clean = clean if self.clean is None else self.clean
        return self._process.output(x, clean, sigma)

    def move(self, x: Tensor, output: Tensor, here: float, there: float) -> Tensor:
        return self._process.move(x, self._process.clean(x, output, here), here, there, there)

    def taken(self, index: int, there: float, x: Tensor) -> Step:
        """The Step that ends here, with the estimate that its first call gave."""
        clean, self.clean = self.clean, None
        return Step(index, there, x, x if clean is None else clean)


def _mixed(outputs: Sequence[Tensor]) -> Tensor:
    """The newest-first outputs under the weights of even Adams-Bashforth steps."""
    weights = equal_steps((0.0, 1.0), 0, len(outputs))
    total = weights[0] * outputs[0]
    for weight, output in zip(weights[1:], outputs[1:], strict=True):
        total = total + weight * output
    return total


@sampler("plms", title="PLMS", order=4, options=SamplerOptions(order=4))
def plms(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Linear multistep after one improved Euler step, which costs one more call (algorithm S-PNDM). Options: order."""
    del noise
    network = _Outputs(denoise, process)
    past: list[Tensor] = []
    for index, (here, there) in enumerate(pairwise(sigmas)):
        past = [network.at(x, here, index), *past][: options.order]
        mixed = _mixed(past)
        if len(past) == 1 and there > 0:
            mixed = (mixed + network.at(network.move(x, mixed, here, there), there, index)) / 2
        x = network.move(x, mixed, here, there)
        yield network.taken(index, there, x)


RUNGE_KUTTA_STEPS = 3


@sampler("pndm_prk", title="PNDM (Runge-Kutta start)", order=4, options=SamplerOptions(order=4))
def pndm_prk(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    process: NoiseProcess,
    noise: NoiseSource,
    options: SamplerOptions,
) -> Iterator[Step]:
    """Linear multistep after three Runge-Kutta steps of four calls each (algorithm F-PNDM). Options: order."""
    del noise
    network = _Outputs(denoise, process)
    past: list[Tensor] = []
    for index, (here, there) in enumerate(pairwise(sigmas)):
        first = network.at(x, here, index)
        past = [first, *past][: options.order]
        mixed = _mixed(past)
        if index < RUNGE_KUTTA_STEPS and there > 0:
            middle = process.between(here, there)
            second = network.at(network.move(x, first, here, middle), middle, index)
            third = network.at(network.move(x, second, here, middle), middle, index)
            fourth = network.at(network.move(x, third, here, there), there, index)
            mixed = (first + 2 * second + 2 * third + fourth) / 6
        x = network.move(x, mixed, here, there)
        yield network.taken(index, there, x)
