"""Our own model as a diffusers folder: what a StableDiffusionXLPipeline without its first encoder reads."""

from __future__ import annotations

from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.models.common.diffusers_json import VERSION, clip_json, scheduler_json, unet_json, vae_json
from pinxit.models.common.prediction import Prediction

Json = dict[str, object]
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
PREDICTION = Prediction(kind="velocity", zero_terminal_snr=True, evidence="our own models predict velocity")


def folder_files(
    *, unet: UNetConfig, vae: VaeConfig, text: ClipTextConfig, side: int, size_embedding: int
) -> dict[str, Json]:
    """The JSON files of the folder by relative path, for pictures of `side` pixels."""
    latent = side // 2 ** (len(vae.channel_mult) - 1)
    return {
        "model_index.json": _index(),
        "unet/config.json": unet_json(unet, sample_size=latent, size_embedding=size_embedding),
        "vae/config.json": vae_json(vae, sample_size=side, scale=1.0) | {"force_upcast": False},
        "text_encoder_2/config.json": clip_json(text),
        "tokenizer_2/tokenizer_config.json": _tokenizer(),
        # Steps count down from the last timestep, so no offset is added; the last one lands on the clean picture.
        "scheduler/scheduler_config.json": scheduler_json(PREDICTION) | {"set_alpha_to_one": True, "steps_offset": 0},
    }


def _index() -> Json:
    nothing = [None, None]
    return {
        "_class_name": "StableDiffusionXLPipeline",
        "_diffusers_version": VERSION,
        "force_zeros_for_empty_prompt": False,
        "feature_extractor": nothing,
        "image_encoder": nothing,
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": nothing,
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": nothing,
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def _tokenizer() -> Json:
    return {
        "add_prefix_space": False,
        "bos_token": BOS,
        "do_lower_case": True,
        "eos_token": EOS,
        "errors": "replace",
        "model_max_length": 77,
        "pad_token": EOS,
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": EOS,
    }
