"""The JSON of a tiny autoencoder's folder, so that other tools can read what we save."""

from __future__ import annotations

from collections.abc import Mapping

from pinxit.models.common.diffusers_json import VERSION
from pinxit.models.taesd.config import TinyConfig


def folder_files(config: TinyConfig) -> Mapping[str, object]:
    """config.json. Latents are scaled already, so the scale is 1."""
    encoder = config.encoder or tuple(reversed(config.decoder))
    decoder = config.decoder or tuple(reversed(config.encoder))
    return {
        "config.json": {
            "_class_name": "AutoencoderTiny",
            "_diffusers_version": VERSION,
            "act_fn": "relu",
            "decoder_block_out_channels": [config.channels] * len(decoder),
            "encoder_block_out_channels": [config.channels] * len(encoder),
            "force_upcast": False,
            "in_channels": 3,
            "latent_channels": config.latent.channels,
            "latent_magnitude": 3,
            "latent_shift": 0.5,
            "num_decoder_blocks": list(decoder),
            "num_encoder_blocks": list(encoder),
            "out_channels": 3,
            "scaling_factor": 1.0,
            "upsampling_scaling_factor": 2,
        }
    }
