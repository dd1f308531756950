"""The JSON files of a diffusers folder, written from our configurations, so that other tools can read what we save."""

from __future__ import annotations

from pinxit.models.common.configs import ClipTextConfig, Depth, UNetConfig, VaeConfig
from pinxit.models.common.prediction import Prediction
from pinxit.sampling.process import EDM
from pinxit.sampling.targets import process_for

VERSION = "0.30.0"
"""The folder format's version. The format is the same in every release since."""

TIME_EMBED_WIDTH = 256
"""Channels that SDXL's size embedding gives each of its numbers."""


def unet_json(config: UNetConfig, *, sample_size: int, size_embedding: int = TIME_EMBED_WIDTH) -> dict[str, object]:
    """config.json of the U-Net; `sample_size` is the latent's side, `size_embedding` the width of each embedded size.

    Heads are counted, whatever the key's name says.
    """
    widths = list(config.widths)
    levels = range(len(config.channel_mult))
    down = ["CrossAttnDownBlock2D" if any(config.depths(level)) else "DownBlock2D" for level in levels]
    up = ["CrossAttnUpBlock2D" if any(config.output_depths(level)) else "UpBlock2D" for level in reversed(levels)]
    blocks = list(config.num_res_blocks)
    middle = "UNetMidBlock2DCrossAttn" if config.transformer_depth_middle else "UNetMidBlock2D"
    heads: int | list[int]
    if config.num_heads is not None:
        heads = config.num_heads
    else:
        heads = [width // (config.head_width or 64) for width in widths]
    result: dict[str, object] = {
        "_class_name": "UNet2DConditionModel",
        "_diffusers_version": VERSION,
        "act_fn": "silu",
        "attention_head_dim": heads,
        "block_out_channels": widths,
        "center_input_sample": False,
        "cross_attention_dim": config.context_dim,
        "down_block_types": down,
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": config.in_channels,
        "layers_per_block": blocks[0] if len(set(blocks)) == 1 else blocks,
        "mid_block_scale_factor": 1,
        "mid_block_type": middle if config.middle_blocks else None,
        "norm_eps": 1e-05,
        "norm_num_groups": 32,
        "only_cross_attention": list(config.disable_self_attention or ()) or False,
        "out_channels": config.out_channels,
        "sample_size": sample_size,
        "up_block_types": up,
        "use_linear_projection": config.linear_projections,
    }
    result.update(_depths(config))
    if config.guidance_dim is not None:
        result["time_cond_proj_dim"] = config.guidance_dim
    if config.num_classes is not None:
        result["num_class_embeds"] = config.num_classes
    elif config.adm_in_channels is not None:
        result["addition_embed_type"] = "text_time"
        result["addition_time_embed_dim"] = size_embedding
        result["projection_class_embeddings_input_dim"] = config.adm_in_channels
    return result


def _depths(config: UNetConfig) -> dict[str, object]:
    """Transformer blocks per level; one number where all are alike, and the way up only where it differs.

    The middle takes the last level's number there, so a level without attention carries the middle's.
    """
    depth = [_listed(count) for count in config.transformer_depth]
    if config.transformer_depth_middle and not config.transformer_depth[-1]:
        depth[-1] = config.transformer_depth_middle
    result: dict[str, object] = {"transformer_layers_per_block": depth[0] if depth == depth[:1] * len(depth) else depth}
    if config.transformer_depth_output != config.transformer_depth:
        result["reverse_transformer_layers_per_block"] = [
            _listed(count) for count in reversed(config.transformer_depth_output)
        ]
    return result


def _listed(depth: Depth) -> int | list[int]:
    """A level's depth as JSON: 1 where there is no attention, a list where its blocks differ."""
    return depth or 1 if isinstance(depth, int) else list(depth)


def vae_json(config: VaeConfig, *, sample_size: int, scale: float, shift: float = 0.0) -> dict[str, object]:
    """config.json of the VAE; `sample_size` is the picture's side, `scale` and `shift` are the latents'."""
    levels = len(config.channel_mult)
    result: dict[str, object] = {
        "_class_name": "AutoencoderKL",
        "_diffusers_version": VERSION,
        "act_fn": "silu",
        "block_out_channels": [config.channels * mult for mult in config.channel_mult],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "in_channels": config.in_channels,
        "latent_channels": config.z_channels,
        "layers_per_block": config.num_res_blocks,
        "norm_num_groups": config.norm_groups,
        "out_channels": config.out_channels,
        "sample_size": sample_size,
        "scaling_factor": scale,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
    }
    if shift:
        result["shift_factor"] = shift
    if not config.mid_attention:
        result["mid_block_add_attention"] = False
    if not config.quant:
        result["use_quant_conv"] = result["use_post_quant_conv"] = False
    return result


def clip_json(config: ClipTextConfig) -> dict[str, object]:
    """config.json of a text encoder."""
    projected = config.projection is not None
    return {
        "architectures": ["CLIPTextModelWithProjection" if projected else "CLIPTextModel"],
        "attention_dropout": 0.0,
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
        "projection_dim": config.projection if projected else config.width,
        "vocab_size": config.vocab_size,
    }


def scheduler_json(prediction: Prediction, *, name: str = "DDIMScheduler") -> dict[str, object]:
    """scheduler_config.json for the noise schedule of all SD models up to SDXL, or for EDM's levels."""
    if prediction.kind in ("edm", "edm_velocity"):
        return _continuous(prediction, name)
    return {
        "_class_name": name,
        "_diffusers_version": VERSION,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "prediction_type": "v_prediction" if prediction.kind == "velocity" else "epsilon",
        "rescale_betas_zero_snr": prediction.zero_terminal_snr,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "timestep_spacing": "trailing" if prediction.zero_terminal_snr else "leading",
    }


def _continuous(prediction: Prediction, name: str) -> dict[str, object]:
    process = process_for(prediction.kind, sigmas=prediction.sigmas, sigma_data=prediction.sigma_data)
    spread = process.sigma_data if isinstance(process, EDM) else 0.5
    return {
        "_class_name": name,
        "_diffusers_version": VERSION,
        "num_train_timesteps": 1000,
        "prediction_type": "v_prediction" if prediction.kind == "edm_velocity" else "epsilon",
        "rho": 7.0,
        "sigma_data": spread,
        "sigma_max": process.sigma_max,
        "sigma_min": process.sigma_min,
    }
