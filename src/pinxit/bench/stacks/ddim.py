"""One guided DDIM run for every stack alike, so that an image's time is that of networks and not of sampling code."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pinxit.bench.cases import GUIDANCE
from pinxit.sampling.tables import standard_levels

Noise = Callable[[Tensor, float], tuple[Tensor, Tensor]]
"""From a latent and a timestep to the noise predicted without and with the prompt."""
TIMES = 1000


def ddim(predict: Noise, x: Tensor, steps: int) -> Tensor:
    """Song et al. 2020, eq. 12 with eta = 0, over evenly spaced timesteps from the last one down."""
    levels = standard_levels()
    kept = [1.0 / (1.0 + sigma**2) for sigma in levels]
    times = [TIMES - 1 - round(index * TIMES / steps) for index in range(steps)]
    for here, there in zip(times, [*times[1:], None], strict=True):
        plain, prompted = predict(x, float(here))
        noise = plain + GUIDANCE * (prompted - plain)
        clean = (x - (1 - kept[here]) ** 0.5 * noise) / kept[here] ** 0.5
        after = 1.0 if there is None else kept[there]
        x = after**0.5 * clean + (1 - after) ** 0.5 * noise
    return x
