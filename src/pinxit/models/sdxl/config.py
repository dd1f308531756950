"""Stable Diffusion XL and its refiner: what the files say about the networks (Podell et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.models.common.distilled import Distilled, find_distilled
from pinxit.models.common.measured import clip_config, settings_of, unet_config, vae_config
from pinxit.models.common.prediction import Kind, Prediction, find_prediction
from pinxit.models.contract import LatentSpec
from pinxit.models.sdxl.layout import CLIP_G, CLIP_L, REFINER_LEVELS
from pinxit.schema.errors import BadModelFile
from pinxit.weights.arrays import read_array
from pinxit.weights.identify import Match
from pinxit.weights.settings import Settings

HEAD_WIDTH = 64
PAD_G = 0
"""What fills up a short prompt of the second encoder."""
BASE_NUMBERS, REFINER_NUMBERS = 6, 5
"""Numbers that the networks are told: original, crop and target; the refiner gets a score for the target."""
SIZE_EMBEDDING = 256
"""How wide each of these is embedded, in every published model."""
LATENT = LatentSpec(channels=4, downscale=8, scale=0.13025)
EDM_SCALE = 0.5
EDM_MEAN = (-1.6574, 1.886, -1.383, 2.5155)
EDM_STD = (8.4927, 5.9022, 6.5498, 5.2299)
"""Playground 2.5's latents, where its marker tensors hold no numbers."""

Variant: TypeAlias = Literal["base", "refiner", "inpainting", "instruct"]
VARIANTS: dict[int, Variant] = {4: "base", 8: "instruct", 9: "inpainting"}
"""By the U-Net's input channels: latent; latent and picture; latent, mask and masked picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SdxlConfig:
    """One SDXL checkpoint. Parts are None where the file lacks them; the refiner has no first text encoder.

    `size_embedding` is how wide each number that the U-Net is told is embedded; `zeros_for_empty` what the model's own
    folder says about an empty negative prompt; `distilled` how it is run in few steps, if it is.
    """

    variant: Variant
    unet: UNetConfig
    vae: VaeConfig | None
    text_encoder: ClipTextConfig | None
    text_encoder_2: ClipTextConfig | None
    prediction: Prediction
    latent: LatentSpec
    size_embedding: int
    zeros_for_empty: bool
    distilled: Distilled | None = None

    @property
    def is_refiner(self) -> bool:
        return self.variant == "refiner"


def config_from(match: Match) -> SdxlConfig:
    """The configuration of an SDXL checkpoint. Raises BadModelFile where its parts contradict each other."""
    unet = unet_config(match, head_width=HEAD_WIDTH)
    refines = len(unet.channel_mult) == REFINER_LEVELS
    clip_l = clip_config(match, activation="quick_gelu", component=CLIP_L)
    clip_g = clip_config(match, activation="gelu", pad_id=PAD_G, component=CLIP_G)
    _check_width(unet, clip_l, clip_g, refines=refines)
    index = Settings(source="model_index.json", values=match.header.configs.get("model_index.json", {}))
    zeros = index.flag("force_zeros_for_empty_prompt")
    return SdxlConfig(
        variant="refiner" if refines and unet.in_channels == LATENT.channels else VARIANTS[unet.in_channels],
        unet=unet,
        vae=vae_config(match),
        text_encoder=clip_l,
        text_encoder_2=clip_g,
        prediction=find_prediction(match, fallback=_epsilon),
        latent=_latent(match),
        size_embedding=_size_embedding(match, unet, clip_g, REFINER_NUMBERS if refines else BASE_NUMBERS),
        zeros_for_empty=not refines if zeros is None else zeros,
        distilled=find_distilled(match, told=unet.guidance_dim is not None),
    )


def _epsilon() -> tuple[Kind, str, bool]:
    return "epsilon", "SDXL predicts the noise where no marker key says otherwise", False


def _check_width(
    unet: UNetConfig, clip_l: ClipTextConfig | None, clip_g: ClipTextConfig | None, *, refines: bool
) -> None:
    if clip_g is None or (clip_l is None and not refines):
        return
    width = clip_g.width + (clip_l.width if clip_l is not None and not refines else 0)
    if width != unet.context_dim or clip_g.projection is None:
        raise BadModelFile(
            f"The U-Net takes text {unet.context_dim} wide, the text encoders give {width}"
            f"{'' if clip_g.projection else ' and no pooled vector'}.",
            hint="The parts belong to different models.",
        )


def _size_embedding(match: Match, unet: UNetConfig, clip_g: ClipTextConfig | None, numbers: int) -> int:
    """The width of each embedded number: what the pooled text leaves of the added vector, shared out."""
    told = settings_of(match, "unet").integer("addition_time_embed_dim")
    if clip_g is None or clip_g.projection is None:
        return told or SIZE_EMBEDDING
    left = (unet.adm_in_channels or 0) - clip_g.projection
    if left < 2 * numbers or left % (2 * numbers):
        raise BadModelFile(
            f"The U-Net's added vector has {unet.adm_in_channels} numbers, which is not the pooled text "
            f"({clip_g.projection}) and {numbers} sizes.",
            hint="The parts belong to different models.",
        )
    return left // numbers


def _latent(match: Match) -> LatentSpec:
    """The scale of the latents: by the folder's VAE, by the marker tensors of Playground 2.5, or SDXL's own."""
    settings = settings_of(match, "vae")
    scale = settings.number("scaling_factor") or LATENT.scale
    names = match.header.tensors
    if "edm_mean" in names and "edm_std" in names:
        mean, std = _channels(match, "edm_mean", EDM_MEAN), _channels(match, "edm_std", EDM_STD)
        return LatentSpec(channels=4, downscale=8, scale=EDM_SCALE, mean=mean, std=std)
    mean, std = (settings.numbers(f"latents_{name}") or () for name in ("mean", "std"))
    if len(mean) == len(std) == LATENT.channels and all(std):
        return LatentSpec(channels=4, downscale=8, scale=scale, mean=mean, std=std)
    return LatentSpec(channels=4, downscale=8, scale=scale)


def _channels(match: Match, name: str, usual: tuple[float, ...]) -> tuple[float, ...]:
    """The number for each channel that the tensor `name` holds; `usual` where it holds none that can be right."""
    info = match.header.tensors[name]
    if info.end - info.start > 1024:
        return usual
    values = np.ravel(read_array(match.header, name)).astype(np.float64)
    right = (
        values.size == len(usual)
        and bool(np.isfinite(values).all())
        and (name != "edm_std" or bool((values > 0).all()))
    )
    return tuple(float(value) for value in values) if right else usual
