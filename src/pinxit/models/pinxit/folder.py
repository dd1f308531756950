"""Our own model as a diffusers folder: every JSON file that a StableDiffusionXLPipeline without its first encoder reads."""

from __future__ import annotations

from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig

Json = dict[str, object]
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def folder_files(
    *, unet: UNetConfig, vae: VaeConfig, text: ClipTextConfig, side: int, size_embedding: int
) -> dict[str, Json]:
    """The JSON files of the folder by relative path, for pictures of `side` pixels."""
    return {
        "model_index.json": _index(),
        "unet/config.json": _unet(unet, sample=side // 2 ** (len(vae.channel_mult) - 1), size_embedding=size_embedding),
        "vae/config.json": _vae(vae, side),
        "text_encoder_2/config.json": _text(text),
        "tokenizer_2/tokenizer_config.json": _tokenizer(),
        "scheduler/scheduler_config.json": _scheduler(),
    }


def _index() -> Json:
    return {
        "_class_name": "StableDiffusionXLPipeline",
        "_diffusers_version": "0.30.0",
        "force_zeros_for_empty_prompt": False,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": [None, None],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": [None, None],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def _unet(config: UNetConfig, *, sample: int, size_embedding: int) -> Json:
    widths = [config.model_channels * mult for mult in config.channel_mult]
    attends = [depth > 0 for depth in config.transformer_depth]
    if len(set(config.num_res_blocks)) != 1:
        raise ValueError("a diffusers folder has one number of residual blocks for all levels")
    return {
        "_class_name": "UNet2DConditionModel",
        "act_fn": "silu",
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": size_embedding,
        "attention_head_dim": [width // (config.head_width or width) for width in widths],
        "block_out_channels": widths,
        "center_input_sample": False,
        "cross_attention_dim": config.context_dim,
        "down_block_types": ["CrossAttnDownBlock2D" if attend else "DownBlock2D" for attend in attends],
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": config.in_channels,
        "layers_per_block": config.num_res_blocks[0],
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "norm_eps": 1e-05,
        "norm_num_groups": 32,
        "out_channels": config.out_channels,
        "projection_class_embeddings_input_dim": config.adm_in_channels,
        "sample_size": sample,
        "transformer_layers_per_block": [max(1, depth) for depth in config.transformer_depth],
        "up_block_types": ["CrossAttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(attends)],
        "use_linear_projection": config.linear_projections,
    }


def _vae(config: VaeConfig, side: int) -> Json:
    levels = len(config.channel_mult)
    return {
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "block_out_channels": [config.channels * mult for mult in config.channel_mult],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "force_upcast": False,
        "in_channels": config.in_channels,
        "latent_channels": config.z_channels,
        "layers_per_block": config.num_res_blocks,
        "norm_num_groups": config.norm_groups,
        "out_channels": config.out_channels,
        "sample_size": side,
        "scaling_factor": 1.0,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
    }


def _text(config: ClipTextConfig) -> Json:
    return {
        "architectures": ["CLIPTextModelWithProjection"],
        "bos_token_id": config.bos_id,
        "eos_token_id": config.eos_id,
        "hidden_act": config.activation,
        "hidden_size": config.width,
        "intermediate_size": config.intermediate,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": config.positions,
        "model_type": "clip_text_model",
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "pad_token_id": config.pad_id,
        "projection_dim": config.projection,
        "vocab_size": config.vocab_size,
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


def _scheduler() -> Json:
    """Velocity with zero terminal SNR; trailing steps, so that the last timestep is visited."""
    return {
        "_class_name": "DDIMScheduler",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "set_alpha_to_one": True,
        "steps_offset": 0,
        "timestep_spacing": "trailing",
    }
