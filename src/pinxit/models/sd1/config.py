"""Stable Diffusion 1.x: what its files say about the networks (Rombach et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.models.common.distilled import Distilled, find_distilled
from pinxit.models.common.measured import clip_config, unet_config, vae_config
from pinxit.models.common.prediction import Kind, Prediction, find_prediction
from pinxit.models.common.vision import ClipVisionConfig, vision_config
from pinxit.weights.identify import Match

NUM_HEADS = 8
IMAGE = "image_encoder"
Variant: TypeAlias = Literal["base", "inpainting", "instruct", "variations"]
VARIANTS: dict[int, Variant] = {4: "base", 8: "instruct", 9: "inpainting"}
"""By the U-Net's input channels: latent; latent and picture; latent, mask and masked picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sd1Config:
    """One SD 1.x checkpoint. Parts are None where the file lacks them.

    Image variations look at a picture's embedding where the others look at the text: they have an image encoder.
    """

    variant: Variant
    unet: UNetConfig
    vae: VaeConfig | None
    text_encoder: ClipTextConfig | None
    image_encoder: ClipVisionConfig | None
    prediction: Prediction
    distilled: Distilled | None = None


def config_from(match: Match) -> Sd1Config:
    """The configuration of an SD 1.x checkpoint. Raises BadModelFile where its sizes contradict each other."""
    unet = unet_config(match, num_heads=NUM_HEADS)
    text, image = clip_config(match, activation="quick_gelu"), vision_config(match, component=IMAGE)
    varies = image is not None and text is None
    return Sd1Config(
        variant="variations" if varies else VARIANTS[unet.in_channels],
        unet=unet,
        vae=vae_config(match),
        text_encoder=text,
        image_encoder=image,
        prediction=find_prediction(match, fallback=_epsilon),
        distilled=find_distilled(match, told=unet.guidance_dim is not None),
    )


def _epsilon() -> tuple[Kind, str, bool]:
    return "epsilon", "SD 1.x predicts the noise", False
