"""What a folder of the latent x2 upscaler holds beside the weights."""

from __future__ import annotations

from pinxit.models.common.diffusers_json import VERSION, vae_json
from pinxit.models.common.folder import NOTHING, Encoder, text_files, text_index
from pinxit.models.contract import LatentSpec
from pinxit.models.upscale2.config import KUNetConfig, Upscale2Config
from pinxit.schema.errors import BadModelFile

TEXT = "text_encoder"
SIDE = 512


def folder_files(config: Upscale2Config, latent: LatentSpec) -> dict[str, object]:
    """The JSON files by relative path."""
    encoder = Encoder(config=config.text_encoder)
    vae = {} if config.vae is None else {"vae/config.json": vae_json(config.vae, sample_size=SIDE, scale=latent.scale)}
    return {
        "model_index.json": {
            "_class_name": "StableDiffusionLatentUpscalePipeline",
            "_diffusers_version": VERSION,
            "scheduler": ["diffusers", "EulerDiscreteScheduler"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"] if config.vae is not None else NOTHING,
            **text_index(TEXT, encoder),
        },
        "unet/config.json": unet_json(config.unet),
        "scheduler/scheduler_config.json": {
            "_class_name": "EulerDiscreteScheduler",
            "_diffusers_version": VERSION,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "beta_start": 0.00085,
            "num_train_timesteps": 1000,
            "prediction_type": "sample",
        },
        **text_files(TEXT, encoder),
        **vae,
    }


def unet_json(config: KUNetConfig) -> dict[str, object]:
    """config.json of the U-Net. Raises BadModelFile for one that the folder format cannot say."""
    levels = len(config.widths)
    if not _sayable(config):
        raise BadModelFile(
            "A diffusers folder cannot hold this upscaler: its attention or its widths lie elsewhere.",
            hint="Keep it in one file.",
        )
    blocks = list(config.blocks)
    return {
        "_class_name": "UNet2DConditionModel",
        "_diffusers_version": VERSION,
        "act_fn": "gelu",
        "attention_head_dim": config.head_width,
        "block_out_channels": list(config.widths),
        "center_input_sample": False,
        "conv_in_kernel": 1,
        "conv_out_kernel": 1,
        "cross_attention_dim": config.context_dim,
        "down_block_types": ["KDownBlock2D", *["KCrossAttnDownBlock2D"] * (levels - 1)],
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": config.in_channels,
        "layers_per_block": blocks[0] if len(set(blocks)) == 1 else blocks,
        "mid_block_type": None,
        "norm_num_groups": None,
        "only_cross_attention": False,
        "out_channels": config.out_channels,
        "resnet_time_scale_shift": "scale_shift",
        "sample_size": None,
        "time_cond_proj_dim": config.condition,
        "time_embedding_type": "fourier",
        "timestep_post_act": "gelu",
        "up_block_types": [*["KCrossAttnUpBlock2D"] * (levels - 1), "KUpBlock2D"],
    }


def _sayable(config: KUNetConfig) -> bool:
    """Whether the folder's format has this U-Net: positions attend to each other at the smallest size alone, which is
    recognised there by two levels in a row being as wide as the embedded noise level, twice the first level's width.
    """
    levels, mapping = len(config.widths), config.mapping
    alike = [level for level in range(1, levels) if config.widths[level - 1] == config.widths[level] == mapping]
    last = tuple(level + 1 == levels for level in range(levels))
    attends = config.own == last and config.cross == (False, *[True] * (levels - 1))
    return attends and mapping == 2 * config.widths[0] and alike == [levels - 1]
