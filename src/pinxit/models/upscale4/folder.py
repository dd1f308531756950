"""What a folder of Stable Diffusion's x4 upscaler holds beside the weights."""

from __future__ import annotations

from typing import cast

from pinxit.models.common.folder import Encoder, pipeline_files
from pinxit.models.common.sd2_line import TEXT, shortened
from pinxit.models.contract import LatentSpec
from pinxit.models.upscale4.config import BETAS, MOST_NOISE, Upscale4Config

SIDE = 512


def folder_files(config: Upscale4Config, latent: LatentSpec) -> dict[str, object]:
    """The JSON files by relative path: two schedules, both with betas of their own."""
    files: dict[str, object] = dict(
        pipeline_files(
            "StableDiffusionUpscalePipeline",
            unet=config.unet,
            vae=config.vae,
            encoders={TEXT: Encoder(config=shortened(config.text_encoder), pad="zero")},
            prediction=config.prediction,
            latent=latent,
            side=SIDE,
        )
    )
    betas = {"beta_start": BETAS[0], "beta_end": BETAS[1]}
    scheduler = cast(dict[str, object], files["scheduler/scheduler_config.json"])
    files["scheduler/scheduler_config.json"] = {**scheduler, **betas}
    files["low_res_scheduler/scheduler_config.json"] = {
        "_class_name": "DDPMScheduler",
        "_diffusers_version": scheduler["_diffusers_version"],
        "beta_schedule": "scaled_linear",
        **betas,
        "clip_sample": True,
        "num_train_timesteps": 1000,
        "prediction_type": "v_prediction",
        "variance_type": "fixed_small",
    }
    index = cast(dict[str, object], files["model_index.json"])
    low = {"low_res_scheduler": ["diffusers", "DDPMScheduler"], "max_noise_level": MOST_NOISE}
    files["model_index.json"] = {**index, **low, "feature_extractor": [None, None]}
    return files
