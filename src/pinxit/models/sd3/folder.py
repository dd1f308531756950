"""What a folder of Stable Diffusion 3 holds beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pinxit.models.common.configs import ClipTextConfig, MmditConfig, T5Config
from pinxit.models.common.diffusers_json import VERSION, vae_json
from pinxit.models.common.folder import NOTHING, Encoder, text_files, text_index
from pinxit.models.contract import LatentSpec
from pinxit.models.sd3.config import TOKENIZER_FOLDER, TOKENIZER_TEXT, Sd3Config
from pinxit.models.sd3.layout import CLIP_G, CLIP_L, T5_XXL

if TYPE_CHECKING:
    from pinxit.weights.identify import Match

Json = dict[str, object]
SIDE = 1024
IDENTITIES = {CLIP_L: {"text_projection.weight": "text_model.final_layer_norm.weight"}}
"""Single files leave CLIP-L's projection out: their pooled vector is not projected. A folder's pipeline wants one."""
LARGEST_TEXT = 16 * 2**20


def folder_files(config: Sd3Config, latent: LatentSpec) -> dict[str, object]:
    """The JSON files by relative path."""
    index: Json = {
        "_class_name": "StableDiffusion3Pipeline",
        "_diffusers_version": VERSION,
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "transformer": ["diffusers", "SD3Transformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"] if config.vae is not None else NOTHING,
        T5_XXL: ["transformers", "T5EncoderModel"] if config.text_encoder_3 is not None else NOTHING,
        TOKENIZER_FOLDER: ["transformers", "T5TokenizerFast"] if config.speaks else NOTHING,
    }
    files: dict[str, object] = {
        "transformer/config.json": mmdit_json(config.transformer, sample_size=SIDE // latent.downscale),
        "scheduler/scheduler_config.json": flow_json(config.shift),
    }
    if config.vae is not None:
        files["vae/config.json"] = vae_json(config.vae, sample_size=SIDE, scale=latent.scale, shift=latent.shift)
    encoders = {
        CLIP_L: Encoder(config=_projected(config.text_encoder)),
        CLIP_G: Encoder(config=config.text_encoder_2, pad="zero"),
    }
    for name, encoder in encoders.items():
        files |= text_files(name, encoder)
        index |= text_index(name, encoder)
    if config.text_encoder_3 is not None:
        files[f"{T5_XXL}/config.json"] = t5_json(config.text_encoder_3)
    if config.speaks:
        files[f"{TOKENIZER_FOLDER}/tokenizer_config.json"] = t5_tokenizer_json()
    return {"model_index.json": index, **files}


def _projected(config: ClipTextConfig | None) -> ClipTextConfig | None:
    """A CLIP encoder as the folder's pipeline wants it: always with a projection."""
    return config if config is None else replace(config, projection=config.projection or config.width)


def metadata(config: Sd3Config, match: Match) -> Mapping[str, str]:
    """What a single file keeps of T5's tokenizer, so that it goes on being used: the text of its tokenizer.json."""
    if not config.speaks:
        return {}
    if not match.layout.folder:
        return {TOKENIZER_TEXT: match.header.metadata[TOKENIZER_TEXT]}
    path = match.header.path / TOKENIZER_FOLDER / "tokenizer.json"
    if not path.is_file() or path.stat().st_size > LARGEST_TEXT:
        return {}
    return {TOKENIZER_TEXT: path.read_text("utf-8", "replace")}


def mmdit_json(config: MmditConfig, *, sample_size: int) -> Json:
    """config.json of the transformer; `sample_size` is the latent's side."""
    return {
        "_class_name": "SD3Transformer2DModel",
        "_diffusers_version": VERSION,
        "attention_head_dim": config.width // config.heads,
        "caption_projection_dim": config.width,
        "dual_attention_layers": list(config.dual),
        "in_channels": config.in_channels,
        "joint_attention_dim": config.context,
        "num_attention_heads": config.heads,
        "num_layers": config.depth,
        "out_channels": config.out_channels,
        "patch_size": config.patch,
        "pooled_projection_dim": config.pooled,
        "pos_embed_max_size": config.positions,
        "qk_norm": "rms_norm" if config.norm else None,
        "sample_size": sample_size,
    }


def t5_json(config: T5Config) -> Json:
    """config.json of the T5 encoder."""
    return {
        "architectures": ["T5EncoderModel"],
        "d_ff": config.intermediate,
        "d_kv": config.inner // config.heads,
        "d_model": config.width,
        "decoder_start_token_id": 0,
        "dense_act_fn": "gelu_new",
        "dropout_rate": 0.1,
        "eos_token_id": 1,
        "feed_forward_proj": "gated-gelu",
        "is_encoder_decoder": True,
        "is_gated_act": True,
        "layer_norm_epsilon": 1e-06,
        "model_type": "t5",
        "num_decoder_layers": config.layers,
        "num_heads": config.heads,
        "num_layers": config.layers,
        "pad_token_id": 0,
        "relative_attention_max_distance": config.distance,
        "relative_attention_num_buckets": config.buckets,
        "tie_word_embeddings": False,
        "vocab_size": config.vocab_size,
    }


def t5_tokenizer_json() -> Json:
    """tokenizer_config.json of T5's tokenizer."""
    return {
        "eos_token": "</s>",
        "extra_ids": 100,
        "model_max_length": 512,
        "pad_token": "<pad>",
        "tokenizer_class": "T5Tokenizer",
        "unk_token": "<unk>",
    }


def flow_json(shift: float) -> Json:
    """scheduler_config.json of a rectified flow."""
    return {
        "_class_name": "FlowMatchEulerDiscreteScheduler",
        "_diffusers_version": VERSION,
        "num_train_timesteps": 1000,
        "shift": shift,
    }
