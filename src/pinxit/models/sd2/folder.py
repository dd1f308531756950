"""What a folder of Stable Diffusion 2.x holds beside the weights."""

from __future__ import annotations

from collections.abc import Mapping

from pinxit.models.common.folder import Encoder, pipeline_files
from pinxit.models.common.sd2_line import TEXT, shortened
from pinxit.models.contract import LatentSpec
from pinxit.models.sd2.config import Sd2Config

PIPELINES: Mapping[str, str] = {
    "base": "StableDiffusionPipeline",
    "inpainting": "StableDiffusionInpaintPipeline",
    "depth": "StableDiffusionDepth2ImgPipeline",
}


def folder_files(config: Sd2Config, latent: LatentSpec) -> dict[str, object]:
    """The JSON files by relative path. Velocity models were trained at 768 pixels."""
    files: dict[str, object] = dict(
        pipeline_files(
            PIPELINES[config.variant],
            unet=config.unet,
            vae=config.vae,
            encoders={TEXT: Encoder(config=shortened(config.text_encoder), pad="zero")},
            prediction=config.prediction,
            latent=latent,
            side=768 if config.prediction.kind == "velocity" else 512,
        )
    )
    unet = files["unet/config.json"]
    if isinstance(unet, dict):
        files["unet/config.json"] = {**unet, "upcast_attention": True}
    return files
