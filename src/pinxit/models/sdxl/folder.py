"""What a folder of Stable Diffusion XL holds beside the weights."""

from __future__ import annotations

from collections.abc import Mapping

from pinxit.models.common.diffusers_json import unet_json
from pinxit.models.common.folder import Encoder, Json, pipeline_files
from pinxit.models.sdxl.config import SdxlConfig
from pinxit.models.sdxl.layout import CLIP_G, CLIP_L

PIPELINES: Mapping[str, str] = {
    "base": "StableDiffusionXLPipeline",
    "refiner": "StableDiffusionXLImg2ImgPipeline",
    "inpainting": "StableDiffusionXLInpaintPipeline",
    "instruct": "StableDiffusionXLInstructPix2PixPipeline",
}
SIDE = 1024


def folder_files(config: SdxlConfig) -> dict[str, object]:
    """The JSON files by relative path."""
    files = pipeline_files(
        PIPELINES[config.variant],
        unet=config.unet,
        vae=config.vae,
        encoders={
            CLIP_L: Encoder(config=config.text_encoder),
            CLIP_G: Encoder(config=config.text_encoder_2, pad="zero"),
        },
        prediction=config.prediction,
        latent=config.latent,
        side=SIDE,
        scheduler="EDMDPMSolverMultistepScheduler" if config.prediction.kind.startswith("edm") else "DDIMScheduler",
    )
    files["unet/config.json"] = unet_json(
        config.unet, sample_size=SIDE // config.latent.downscale, size_embedding=config.size_embedding
    )
    if config.latent.mean and config.vae is not None:
        latents: Json = {"latents_mean": list(config.latent.mean), "latents_std": list(config.latent.std)}
        files["vae/config.json"] |= latents
    files["model_index.json"] |= _flags(config)
    return dict(files)


def _flags(config: SdxlConfig) -> Json:
    told: Json = {"force_zeros_for_empty_prompt": config.zeros_for_empty}
    return told | {"requires_aesthetics_score": True} if config.is_refiner else told
