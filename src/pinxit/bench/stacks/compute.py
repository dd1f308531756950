"""The cases, computed with any stack's networks, so that they all do the same work between the calls."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from pinxit.bench.cases import GUIDANCE, MODELS, TIMESTEP, Array, Case, Kind, inputs_of
from pinxit.sampling.tables import standard_levels

TIMES = 1000
PARTS: dict[Kind, tuple[str, ...]] = {
    "unet": ("unet",),
    "pair": ("unet",),
    "decode": ("vae",),
    "encode": ("vae",),
    "text": ("text_encoder",),
    "image": ("text_encoder", "unet", "vae"),
    "cold": ("text_encoder", "unet", "vae"),
}
"""The networks that a case needs."""
Stepped = Callable[[], None]
Pair = Callable[[Tensor, float, Tensor], tuple[Tensor, Tensor]]
"""From a latent, a timestep and both prompts' token vectors to the noise predicted without and with the prompt."""


class Parts(Protocol):
    """The networks of one stack. All tensors are float32 and lie on `device`."""

    @property
    def device(self) -> str: ...

    def text(self, words: Tensor) -> Tensor:
        """Token numbers [2,77] to token vectors [2,77,C]."""
        ...

    def unet(self, x: Tensor, t: float, tokens: Tensor) -> Tensor:
        """The network's output for latents [B,4,h,w], with a prompt's vectors for each."""
        ...

    def pair(self, x: Tensor, t: float, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Its outputs for one latent with the negative prompt and with the prompt."""
        ...

    def decode(self, z: Tensor) -> Tensor: ...

    def encode(self, picture: Tensor) -> Tensor:
        """The mean of the latents."""
        ...


def nothing() -> None:
    """Said to nobody."""


def compute(parts: Parts, case: Case, stepped: Stepped = nothing) -> Array:
    """The output of a case, in float32. `stepped` is called after the first step of an image."""
    given = inputs_of(case)

    def tensor(values: object) -> Tensor:
        return torch.as_tensor(values).to(parts.device)

    match case.kind:
        case "unet":
            found = parts.unet(tensor(given.latent), TIMESTEP, tensor(given.tokens[1:]))
        case "pair":
            found = torch.cat(parts.pair(tensor(given.latent), TIMESTEP, tensor(given.tokens)))
        case "decode":
            found = parts.decode(tensor(given.latent))
        case "encode":
            found = parts.encode(tensor(given.picture))
        case "text":
            found = parts.text(tensor(given.words))
        case _:
            tokens = parts.text(tensor(given.words))
            latent = ddim(parts.pair, tensor(given.latent), tokens, case.steps, stepped)
            found = parts.decode(latent / MODELS[case.model].scale)
    return found.float().contiguous().cpu().numpy()


def together(parts: Parts, x: Tensor, t: float, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """A guided step's two calls as one batch of two."""
    plain, prompted = parts.unet(torch.cat([x, x]), t, tokens).chunk(2)
    return plain, prompted


def ddim(pair: Pair, x: Tensor, tokens: Tensor, steps: int, stepped: Stepped = nothing) -> Tensor:
    """Song et al. 2020, eq. 12 with eta = 0, over evenly spaced timesteps from the last one down."""
    levels = standard_levels()
    kept = [1.0 / (1.0 + sigma**2) for sigma in levels]
    times = [TIMES - 1 - round(index * TIMES / steps) for index in range(steps)]
    for here, there in zip(times, [*times[1:], None], strict=True):
        plain, prompted = pair(x, float(here), tokens)
        noise = plain + GUIDANCE * (prompted - plain)
        clean = (x - (1 - kept[here]) ** 0.5 * noise) / kept[here] ** 0.5
        after = 1.0 if there is None else kept[there]
        x = after**0.5 * clean + (1 - after) ** 0.5 * noise
        if here == times[0]:
            stepped()
    return x


def threads() -> int:
    """How many processor threads the driver asks for, for programs with threads of their own."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
