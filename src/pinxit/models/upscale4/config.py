"""Stable Diffusion's x4 upscaler: what its files say about the networks (Rombach et al. 2022, section 4.4)."""

from __future__ import annotations

from dataclasses import dataclass

from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.models.common.measured import unet_config, vae_config
from pinxit.models.common.prediction import Kind, Prediction, find_prediction
from pinxit.models.common.sd2_line import text_config
from pinxit.weights.identify import Match

NUM_HEADS = 8
BETAS = (1e-4, 2e-2)
"""First and last variance of the noise schedules, of the latent's and of the small picture's."""
MOST_NOISE = 350
"""The highest of the levels of noise, out of 1,000, that the small picture carried in training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upscale4Config:
    """One x4 upscaler. `vae` and `text_encoder` are None where the file lacks them.

    The U-Net sees the latent and the small picture itself, and is told how much noise that picture carries.
    """

    unet: UNetConfig
    vae: VaeConfig | None
    text_encoder: ClipTextConfig | None
    prediction: Prediction


def config_from(match: Match) -> Upscale4Config:
    """The configuration of an x4 upscaler. Raises BadModelFile where its sizes contradict each other."""
    return Upscale4Config(
        unet=unet_config(match, num_heads=NUM_HEADS),
        vae=vae_config(match),
        text_encoder=text_config(match),
        prediction=find_prediction(match, fallback=_velocity),
    )


def _velocity() -> tuple[Kind, str, bool]:
    return "velocity", "the x4 upscaler predicts velocity", False
