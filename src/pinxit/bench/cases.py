"""What is measured: the cases of each tier, their inputs, their cost, and how far an output may be off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pinxit.models.common.configs import UNetConfig, VaeConfig
from pinxit.models.common.cost import unet_cost, vae_cost

Array: TypeAlias = NDArray[np.float32]
Kind: TypeAlias = Literal["unet", "pair", "decode", "image"]
Dtype: TypeAlias = Literal["float32", "bfloat16"]
DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16")

UNET = UNetConfig(
    in_channels=4,
    out_channels=4,
    model_channels=320,
    channel_mult=(1, 2, 4, 4),
    num_res_blocks=(2, 2, 2, 2),
    transformer_depth=(1, 1, 1, 0),
    transformer_depth_middle=1,
    transformer_depth_output=(1, 1, 1, 0),
    context_dim=768,
    num_heads=8,
)
"""The U-Net of Stable Diffusion 1.5."""
VAE = VaeConfig()
"""The autoencoder of Stable Diffusion 1.5."""
TOKENS = 77
TIMESTEP = 501.0
GUIDANCE = 7.0
LATENT_SCALE = 0.18215

TOLERANCE: dict[tuple[Dtype, bool], float] = {
    ("float32", False): 1e-4,
    ("bfloat16", False): 2e-2,
    ("float32", True): 1e-3,
    ("bfloat16", True): 5e-2,
}
"""Largest relative L2 distance to the reference, by number format and whether many steps have added up.

A decoder's last layer sums where values cancel, so it has `DECODE_SLACK` times as much room in bfloat16.
"""
DECODE_SLACK = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing to time. `height` and `width` are the latent's; `steps` counts those of a whole image.

    `unet` is one network call, `pair` the two calls of a guided step, `decode` the autoencoder's decoder, `image` a
    guided DDIM run with its decoding.
    """

    name: str
    kind: Kind
    height: int
    width: int
    steps: int = 0

    @property
    def flops(self) -> float:
        """Floating-point operations, 2 per multiply-add, attention included."""
        call = unet_cost(UNET, self.height, self.width).flops
        decode = vae_cost(VAE, self.height, self.width).flops
        return {"unet": call, "pair": 2 * call, "decode": decode, "image": 2 * self.steps * call + decode}[self.kind]

    def tolerance(self, dtype: Dtype) -> float:
        """The relative L2 distance to the reference above which a time does not count."""
        slack = DECODE_SLACK if self.kind == "decode" and dtype == "bfloat16" else 1.0
        return slack * TOLERANCE[dtype, self.kind == "image"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Latent [1,4,h,w] and token vectors [2,77,768]: the negative prompt's, then the prompt's."""

    latent: Array
    tokens: Array


def inputs_of(case: Case, seed: int = 0) -> Inputs:
    """The same numbers in every process."""
    random = np.random.default_rng([seed, case.height, case.width])
    latent = random.standard_normal((1, UNET.in_channels, case.height, case.width), dtype=np.float32)
    tokens = random.standard_normal((2, TOKENS, UNET.context_dim), dtype=np.float32)
    return Inputs(latent=latent, tokens=tokens)


def distance(found: NDArray[Any], reference: NDArray[Any]) -> float:
    """Relative L2 distance; infinite for another shape or for numbers that are not finite."""
    if found.shape != reference.shape or not np.isfinite(found).all():
        return float("inf")
    wide = reference.astype(np.float64)
    return float(np.linalg.norm(found - wide) / max(float(np.linalg.norm(wide)), 1e-30))


def _square(kind: Kind, side: int, steps: int = 0) -> Case:
    pixels = f"-{steps}-steps" if steps else ""
    return Case(name=f"{kind}-{side}{pixels}", kind=kind, height=side, width=side, steps=steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A named selection. `headline` is the case whose ratio stands for the tier; `rounds` count after the first."""

    name: str
    cases: tuple[Case, ...]
    headline: str
    rounds: int
    peers: tuple[str, ...]
    builtin: bool


TIERS: dict[str, Tier] = {
    "quick": Tier(
        name="quick",
        cases=(_square("unet", 32), _square("decode", 16)),
        headline="unet-32",
        rounds=3,
        peers=("diffusers",),
        builtin=True,
    ),
    "full": Tier(
        name="full",
        cases=(
            _square("unet", 32),
            _square("unet", 64),
            _square("pair", 64),
            _square("decode", 64),
            _square("image", 32, 20),
            _square("image", 64, 4),
        ),
        headline="pair-64",
        rounds=5,
        peers=("diffusers", "compile", "openvino"),
        builtin=True,
    ),
    "builtin": Tier(name="builtin", cases=(), headline="", rounds=3, peers=(), builtin=True),
}
