"""Stable Diffusion 2.x: what its files say about the networks, and whether it predicts noise or velocity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.models.common.distilled import Distilled, find_distilled
from pinxit.models.common.measured import unet_config, vae_config
from pinxit.models.common.prediction import Kind, Prediction, find_prediction
from pinxit.models.common.sd2_line import HEAD_WIDTH, text_config
from pinxit.weights.arrays import read_array
from pinxit.weights.identify import Match

Variant: TypeAlias = Literal["base", "depth", "inpainting"]
VARIANTS: dict[int, Variant] = {4: "base", 5: "depth", 9: "inpainting"}
"""By the U-Net's input channels: latent; latent and depth; latent, mask and masked picture."""

WITNESS = "output_blocks.11.1.transformer_blocks.0.norm1.bias"
WITNESS_LIMIT = 0.09
"""Where training was on velocity, this bias (of the last transformer's first norm) has a larger deviation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sd2Config:
    """One SD 2.x checkpoint. `vae` and `text_encoder` are None where the file lacks them."""

    variant: Variant
    unet: UNetConfig
    vae: VaeConfig | None
    text_encoder: ClipTextConfig | None
    prediction: Prediction
    distilled: Distilled | None = None


def config_from(match: Match) -> Sd2Config:
    """The configuration of an SD 2.x checkpoint; may read one small tensor. Raises BadModelFile on contradictions."""
    unet = unet_config(match, head_width=HEAD_WIDTH)
    variant = VARIANTS[unet.in_channels]
    return Sd2Config(
        variant=variant,
        unet=unet,
        vae=vae_config(match),
        text_encoder=text_config(match),
        prediction=find_prediction(match, fallback=lambda: _from_weights(match, variant)),
        distilled=find_distilled(match, told=unet.guidance_dim is not None),
    )


def _from_weights(match: Match, variant: Variant) -> tuple[Kind, str, bool]:
    """Noise or velocity, by the spread of one bias; only the plain model comes in both kinds."""
    if variant != "base":
        return "epsilon", f"every {variant} model of SD 2.x predicts the noise", False
    names = [entry.theirs[0] for entry in match.part("unet").entries if entry.ours == (WITNESS,)]
    if not names or names[0] not in match.header.tensors:
        return "epsilon", f"unknown, assuming epsilon: the U-Net has no {WITNESS}", True
    spread = float(read_array(match.header, names[0]).std())
    if not spread > 0.0:
        return "epsilon", f"unknown, assuming epsilon: {WITNESS} is constant or not finite", True
    kind: Kind = "velocity" if spread > WITNESS_LIMIT else "epsilon"
    return kind, f"{WITNESS} spreads by {spread:.3f}; velocity models lie above {WITNESS_LIMIT}", False
