"""Stable Diffusion 2.1 unCLIP: what its files say about the networks (Ramesh et al. 2022 for the idea)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.models.common.measured import unet_config, vae_config
from pinxit.models.common.prediction import Kind, Prediction, find_prediction
from pinxit.models.common.sd2_line import HEAD_WIDTH, text_config
from pinxit.models.common.vision import ClipVisionConfig, vision_config
from pinxit.weights.identify import Match

IMAGE = "image_encoder"
NORMALIZER = "image_normalizer"
Variant: TypeAlias = Literal["l", "h"]
"""By the image encoder: OpenAI's ViT-L/14 (embeddings of 768) or OpenCLIP's ViT-H/14 (1024)."""
WIDTH_OF_H = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UnclipConfig:
    """One unCLIP checkpoint. Parts are None where the file lacks them; `normalizer` is the shape of its two tensors.

    The U-Net's added vector is a noised image embedding and the embedded noise level, `embedding` wide each.
    """

    variant: Variant
    unet: UNetConfig
    vae: VaeConfig | None
    text_encoder: ClipTextConfig | None
    image_encoder: ClipVisionConfig | None
    normalizer: tuple[int, ...] | None
    prediction: Prediction

    @property
    def embedding(self) -> int:
        """The width of the image embedding."""
        return (self.unet.adm_in_channels or 0) // 2


def config_from(match: Match) -> UnclipConfig:
    """The configuration of an unCLIP checkpoint. Raises BadModelFile where its sizes contradict each other."""
    unet = unet_config(match, head_width=HEAD_WIDTH)
    large = (unet.adm_in_channels or 0) // 2 >= WIDTH_OF_H
    normalizer = match.parts.get(NORMALIZER)
    return UnclipConfig(
        variant="h" if large else "l",
        unet=unet,
        vae=vae_config(match),
        text_encoder=text_config(match),
        image_encoder=vision_config(match, activation="gelu" if large else "quick_gelu", component=IMAGE),
        normalizer=normalizer.shapes.get("mean") if normalizer is not None else None,
        prediction=find_prediction(match, fallback=_velocity),
    )


def _velocity() -> tuple[Kind, str, bool]:
    return "velocity", "SD 2.1 unCLIP predicts velocity", False
