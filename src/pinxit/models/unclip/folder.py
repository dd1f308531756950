"""What a folder of Stable Diffusion 2.1 unCLIP holds beside the weights."""

from __future__ import annotations

from typing import cast

from pinxit.models.common.diffusers_json import VERSION
from pinxit.models.common.folder import Encoder, pipeline_files
from pinxit.models.common.sd2_line import TEXT, shortened
from pinxit.models.common.vision import with_image_encoder
from pinxit.models.contract import LatentSpec
from pinxit.models.unclip.config import IMAGE, NORMALIZER, UnclipConfig

SIDE = 768
NOISING = "image_noising_scheduler"


def folder_files(config: UnclipConfig, latent: LatentSpec) -> dict[str, object]:
    """The JSON files by relative path. The U-Net's vector is a projected class there."""
    files: dict[str, object] = dict(
        pipeline_files(
            "StableUnCLIPImg2ImgPipeline",
            unet=config.unet,
            vae=config.vae,
            encoders={TEXT: Encoder(config=shortened(config.text_encoder), pad="zero")},
            prediction=config.prediction,
            latent=latent,
            side=SIDE,
        )
    )
    unet = cast(dict[str, object], files["unet/config.json"])
    added = ("addition_embed_type", "addition_time_embed_dim")
    kept = {key: value for key, value in unet.items() if key not in added}
    files["unet/config.json"] = {**kept, "class_embed_type": "projection"}
    if config.image_encoder is not None:
        files |= with_image_encoder(files, config.image_encoder, IMAGE)
    index = cast(dict[str, object], files["model_index.json"])
    if config.normalizer is not None:
        index = {**index, NORMALIZER: ["stable_diffusion", "StableUnCLIPImageNormalizer"]}
        files[f"{NORMALIZER}/config.json"] = {
            "_class_name": "StableUnCLIPImageNormalizer",
            "_diffusers_version": VERSION,
            "embedding_dim": config.normalizer[-1],
        }
    files["model_index.json"] = {**index, NOISING: ["diffusers", "DDPMScheduler"]}
    files[f"{NOISING}/scheduler_config.json"] = {
        "_class_name": "DDPMScheduler",
        "_diffusers_version": VERSION,
        "beta_schedule": "squaredcos_cap_v2",
        "clip_sample": True,
        "num_train_timesteps": 1000,
        "prediction_type": "epsilon",
        "variance_type": "fixed_small",
    }
    return files
