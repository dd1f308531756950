"""What a folder of Stable Diffusion 1.x holds beside the weights."""

from __future__ import annotations

from collections.abc import Mapping

from pinxit.models.common.folder import Encoder, pipeline_files
from pinxit.models.common.vision import with_image_encoder
from pinxit.models.contract import LatentSpec
from pinxit.models.sd1.config import Sd1Config

PIPELINES: Mapping[str, str] = {
    "base": "StableDiffusionPipeline",
    "inpainting": "StableDiffusionInpaintPipeline",
    "instruct": "StableDiffusionInstructPix2PixPipeline",
    "variations": "StableDiffusionImageVariationPipeline",
}
SIDE = 512


def folder_files(config: Sd1Config, latent: LatentSpec) -> dict[str, object]:
    """The JSON files by relative path."""
    files: dict[str, object] = dict(
        pipeline_files(
            PIPELINES[config.variant],
            unet=config.unet,
            vae=config.vae,
            encoders={"text_encoder": Encoder(config=config.text_encoder)},
            prediction=config.prediction,
            latent=latent,
            side=SIDE,
        )
    )
    return files if config.image_encoder is None else files | with_image_encoder(files, config.image_encoder)
