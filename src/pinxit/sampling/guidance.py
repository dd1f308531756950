"""Guidance: combinators that make one Denoiser out of several.

Legend: `cond` and `uncond` the denoisers with and without the prompt, `scale` how far past `cond` the result lies on
the line between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pinxit.sampling.denoiser import Denoiser, Prediction
from pinxit.sampling.process import NoiseProcess
from pinxit.schema.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidanceOptions:
    """The knobs of all guidance methods; `guided` reads them."""

    scale: float = 7.0
    """1 is the prompt alone, above it the prompt's difference is multiplied."""
    phi: float = 0.0
    """The share of the rescaled result, 0 to 1 (Lin et al. 2023 use 0.7)."""
    low: float = 0.0
    """The level at and below which there is no guidance."""
    high: float = math.inf
    """The highest level with guidance."""
    keep_uncond: bool = False
    """Whether a sampler needs the unconditional estimate whatever the scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidanceSpec:
    """One entry of the catalogue: a method's names and the options that it reads."""

    name: str
    title: str
    aliases: tuple[str, ...]
    build: Callable[..., Denoiser]
    knobs: tuple[str, ...]
    summary: str


F = TypeVar("F", bound=Callable[..., Denoiser])


def guidance(name: str, *, title: str, aliases: tuple[str, ...] = (), knobs: tuple[str, ...]) -> Callable[[F], F]:
    """Attach a GuidanceSpec to a combinator, as `spec`."""

    def attach(function: F) -> F:
        summary = (function.__doc__ or "").partition("\n")[0]
        vars(function)["spec"] = GuidanceSpec(
            name=name, title=title, aliases=aliases, build=function, knobs=knobs, summary=summary
        )
        return function

    return attach


@guidance("cfg", title="Classifier-free guidance", aliases=("classifier_free",), knobs=("scale", "keep_uncond"))
def cfg(cond: Denoiser, uncond: Denoiser, scale: float, *, keep_uncond: bool = False) -> Denoiser:
    """uncond + scale (cond - uncond) (Ho & Salimans 2022, eq. 6). At scale 1 `uncond` is only called to be kept."""
    if scale == 1 and not keep_uncond:
        return cond

    def denoise(x: Tensor, sigma: float, index: int, /) -> Prediction:
        without, clean = uncond(x, sigma, index).clean, cond(x, sigma, index).clean
        return Prediction(without + scale * (clean - without), without)

    return denoise


@guidance("rescale", title="CFG rescale", aliases=("cfg_rescale", "RescaleCFG"), knobs=("scale", "phi", "keep_uncond"))
def rescale(
    cond: Denoiser, uncond: Denoiser, scale: float, phi: float, process: NoiseProcess, *, keep_uncond: bool = False
) -> Denoiser:
    """Guidance whose output keeps the contrast of the prompt's own (Lin et al. 2023, eq. 15 and 16).

    The standard deviations are those of the network's outputs, over each image alone; `phi` mixes the result in.
    """
    if not 0 <= phi <= 1:
        raise BadInput(
            f"The share of rescaled guidance lies between 0 and 1, this one is {phi}.",
            hint="0.7 is a usual value.",
            field="guidance",
        )
    if phi == 0 or scale == 1:
        return cfg(cond, uncond, scale, keep_uncond=keep_uncond)

    def denoise(x: Tensor, sigma: float, index: int, /) -> Prediction:
        without, clean = uncond(x, sigma, index).clean, cond(x, sigma, index).clean
        plain = process.output(x, clean, sigma)
        strong = process.output(x, without + scale * (clean - without), sigma)
        factor = phi * (_deviation(plain) / _deviation(strong)) + (1 - phi)
        return Prediction(process.clean(x, factor * strong, sigma), without)

    return denoise


@guidance("interval", title="Guidance interval", knobs=("low", "high"))
def interval(guided: Denoiser, plain: Denoiser, low: float, high: float) -> Denoiser:
    """Guidance only at levels in (low, high]; elsewhere the prompt alone (Kynkaanniemi et al. 2024, eq. 6)."""

    def denoise(x: Tensor, sigma: float, index: int, /) -> Prediction:
        return (guided if low < sigma <= high else plain)(x, sigma, index)

    return denoise


@guidance("composed", title="Composed prompts", aliases=("AND",), knobs=("scale",))
def composed(prompts: Sequence[tuple[Denoiser, float]], uncond: Denoiser, scale: float) -> Denoiser:
    """uncond + scale sum_i w_i (prompt_i - uncond): several prompts at once (Liu et al. 2022, eq. 11)."""

    def denoise(x: Tensor, sigma: float, index: int, /) -> Prediction:
        without = uncond(x, sigma, index).clean
        result = without
        for prompt, weight in prompts:
            result = result + scale * weight * (prompt(x, sigma, index).clean - without)
        return Prediction(result, without)

    return denoise


def guided(cond: Denoiser, uncond: Denoiser, process: NoiseProcess, options: GuidanceOptions) -> Denoiser:
    """Guidance as the options say: rescaled or not, inside its interval."""
    inner = rescale(cond, uncond, options.scale, options.phi, process, keep_uncond=options.keep_uncond)
    if options.low <= 0 and options.high == math.inf:
        return inner
    return interval(inner, cond, options.low, options.high)


def masked(denoise: Denoiser, original: Tensor, mask: Tensor, noise: Tensor, process: NoiseProcess) -> Denoiser:
    """Keep the picture where `mask` is 0: its noised original goes in there, its original comes out.

    `original` is the clean latent [B, C, H, W], `mask` is 1 where the picture may change [1 or B, 1, H, W], `noise` the
    start noise.
    """

    def keep(x: Tensor, sigma: float, index: int, /) -> Prediction:
        entering = mask * x + (1 - mask) * process.add_noise(original, noise, sigma)
        prediction = denoise(entering, sigma, index)
        uncond = None if prediction.uncond is None else mask * prediction.uncond + (1 - mask) * original
        return Prediction(mask * prediction.clean + (1 - mask) * original, uncond)

    return keep


def _deviation(values: Tensor) -> Tensor:
    """The standard deviation of each image, as [B, 1, ...]; written with sums, so that arrays serve like tensors."""
    axes = tuple(range(1, values.ndim))
    away: Any = values - cast(Any, values).mean(axes, keepdims=True)
    count = math.prod(values.shape[1:]) - 1
    return ((away * away).sum(axes, keepdims=True) / count) ** 0.5


GUIDANCE: tuple[GuidanceSpec, ...] = tuple(
    cast(GuidanceSpec, vars(function)["spec"]) for function in (cfg, rescale, interval, composed)
)
