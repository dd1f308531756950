"""What is measured: the cases, their inputs, their cost, and how far an output may be off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pinxit.models.common.configs import UNetConfig, VaeConfig
from pinxit.models.common.cost import unet_cost, vae_cost

Array: TypeAlias = NDArray[np.float32]
Kind: TypeAlias = Literal["unet", "pair", "decode", "encode", "text", "image", "cold", "import"]
Numbers: TypeAlias = Literal["float32", "bfloat16", "float16", "int8", "q8_0"]
"""What a program computes or keeps its weights in."""

TOKENS = 77
TIMESTEP = 501.0
GUIDANCE = 7.0
FORWARD: frozenset[Kind] = frozenset({"unet", "pair", "decode", "encode", "text"})
PROCESS: frozenset[Kind] = frozenset({"cold", "import"})
"""Cases that take a process of their own each time."""

TOLERANCE: dict[Numbers, tuple[float, float]] = {
    "float32": (1e-4, 1e-3),
    "bfloat16": (2e-2, 1e-1),
    "float16": (2e-2, 1e-1),
    "int8": (2e-1, 1.0),
}
"""Largest relative L2 distance to the reference: of one call, and where the steps of an image have added up.

For int8 the limit catches wrong results and no more: with random weights nothing better can be said.
"""
DECODE_SLACK = 2.0
"""A decoder's last layer sums where values cancel, so it has that much more room in 16 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The sizes of a checkpoint. `pooled` is how wide the vector beside its token vectors is, `pipeline` what diffusers
    calls it, `side` the edge of its pictures in pixels.
    """

    family: str
    pipeline: str
    side: int
    unet: UNetConfig
    vae: VaeConfig
    scale: float
    pooled: int = 0


SD15 = Model(
    family="sd1",
    pipeline="StableDiffusionPipeline",
    side=512,
    unet=UNetConfig(
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
    ),
    vae=VaeConfig(),
    scale=0.18215,
)
SDXL = Model(
    family="sdxl",
    pipeline="StableDiffusionXLPipeline",
    side=1024,
    unet=UNetConfig(
        in_channels=4,
        out_channels=4,
        model_channels=320,
        channel_mult=(1, 2, 4),
        num_res_blocks=(2, 2, 2),
        transformer_depth=(0, 2, 10),
        transformer_depth_middle=10,
        transformer_depth_output=(0, 2, 10),
        context_dim=2048,
        head_width=64,
        linear_projections=True,
        adm_in_channels=2816,
    ),
    vae=VaeConfig(),
    scale=0.13025,
    pooled=1280,
)
MODELS = {"sd15": SD15, "sdxl": SDXL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing to time. `height` and `width` are the latent's; `steps` counts those of a whole image.

    `unet` is one network call, `pair` the two calls of a guided step, `decode` and `encode` the autoencoder, `text` two
    prompts through the text encoder, `image` all of it: text, a guided DDIM run, decoding. `cold` is a new process up
    to its picture of `steps` steps on the disk, `import` a new process that imports a program and ends.
    """

    name: str
    kind: Kind
    height: int = 0
    width: int = 0
    steps: int = 0
    model: str = "sd15"

    @property
    def flops(self) -> float | None:
        """Floating-point operations, 2 per multiply-add, attention included; None where nobody counts them."""
        sizes = MODELS[self.model]
        call = unet_cost(sizes.unet, self.height, self.width).flops
        decode = vae_cost(sizes.vae, self.height, self.width).flops
        known = {"unet": call, "pair": 2 * call, "decode": decode, "image": 2 * self.steps * call + decode}
        return known.get(self.kind)

    def tolerance(self, numbers: Numbers) -> float:
        """The relative L2 distance to the reference above which a time does not count."""
        slack = DECODE_SLACK if self.kind == "decode" and numbers != "float32" else 1.0
        one, many = TOLERANCE.get(numbers, (0.0, 0.0))
        return slack * (one if self.kind in FORWARD else many)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Latent [1,4,h,w] and picture [1,3,8h,8w] in -1..1; of the negative prompt and then the prompt token vectors
    [2,77,C], token numbers [2,77] and, for models that take them, pooled vectors [2,P].
    """

    latent: Array
    picture: Array
    tokens: Array
    words: NDArray[np.int64]
    pooled: Array


SMALL_WORDS = 90
"""Token numbers below this are drawn: every vocabulary has them."""


def inputs_of(case: Case, seed: int = 0) -> Inputs:
    """The same numbers in every process."""
    sizes = MODELS[case.model]
    random = np.random.default_rng([seed, case.height, case.width])
    latent = random.standard_normal((1, sizes.unet.in_channels, case.height, case.width), dtype=np.float32)
    tokens = random.standard_normal((2, TOKENS, sizes.unet.context_dim), dtype=np.float32)
    side = 2 ** (len(sizes.vae.channel_mult) - 1)
    picture = random.random((1, 3, side * case.height, side * case.width), dtype=np.float32) * 2 - 1
    words = random.integers(1, SMALL_WORDS, (2, TOKENS), dtype=np.int64)
    pooled = random.standard_normal((2, sizes.pooled), dtype=np.float32)
    return Inputs(latent=latent, picture=picture, tokens=tokens, words=words, pooled=pooled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a program that cannot be fed our inputs says about its own work: seconds, and no output to compare."""

    seconds: float


def distance(found: NDArray[Any], reference: NDArray[Any]) -> float:
    """Relative L2 distance; infinite for another shape or for numbers that are not finite."""
    if found.shape != reference.shape or not np.isfinite(found).all():
        return float("inf")
    wide = reference.astype(np.float64)
    return float(np.linalg.norm(found - wide) / max(float(np.linalg.norm(wide)), 1e-30))
