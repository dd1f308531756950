"""The JSON files of a whole diffusers folder: what lies beside the weights, written from our configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.models.common.diffusers_json import VERSION, clip_json, scheduler_json, unet_json, vae_json
from pinxit.models.common.prediction import Prediction
from pinxit.models.contract import LatentSpec

Json = dict[str, object]
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
TOKENIZERS: Mapping[str, str] = {
    "text_encoder": "tokenizer",
    "text_encoder_2": "tokenizer_2",
    "text_encoder_3": "tokenizer_3",
}
"""The folder of each text encoder's tokenizer."""
NOTHING = [None, None]
"""A part in model_index.json that the pipeline knows and the folder does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """A CLIP text encoder of a pipeline. `pad` is what its tokenizer fills up with: the end mark, or id 0."""

    config: ClipTextConfig | None
    pad: Literal["eos", "zero"] = "eos"


def pipeline_files(
    pipeline: str,
    *,
    unet: UNetConfig,
    vae: VaeConfig | None,
    encoders: Mapping[str, Encoder],
    prediction: Prediction,
    latent: LatentSpec,
    side: int,
    scheduler: str = "DDIMScheduler",
) -> dict[str, Json]:
    """Every JSON file of the diffusers pipeline `pipeline`, by relative path.

    `side` is the edge of the pictures that the model was trained on, in pixels. Parts that are None become null.
    """
    files: dict[str, Json] = {
        "unet/config.json": unet_json(unet, sample_size=max(side // latent.downscale, 1)),
        "scheduler/scheduler_config.json": scheduler_json(prediction, name=scheduler),
    }
    index: Json = {
        "_class_name": pipeline,
        "_diffusers_version": VERSION,
        "scheduler": ["diffusers", scheduler],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"] if vae is not None else NOTHING,
    }
    if vae is not None:
        files["vae/config.json"] = vae_json(vae, sample_size=side, scale=latent.scale, shift=latent.shift)
    for name, encoder in encoders.items():
        files |= text_files(name, encoder)
        index |= text_index(name, encoder)
    files["model_index.json"] = index
    return files


def text_files(name: str, encoder: Encoder) -> dict[str, Json]:
    """The JSON files of one text encoder and its tokenizer; none where the checkpoint has no such encoder."""
    if encoder.config is None:
        return {}
    tokenizer = TOKENIZERS[name]
    return {
        f"{name}/config.json": clip_json(encoder.config),
        f"{tokenizer}/tokenizer_config.json": clip_tokenizer_json(encoder.pad),
        f"{tokenizer}/special_tokens_map.json": {
            "bos_token": BOS,
            "eos_token": EOS,
            "pad_token": _filler(encoder.pad),
            "unk_token": EOS,
        },
    }


def text_index(name: str, encoder: Encoder) -> Json:
    """The entries of one text encoder and its tokenizer in model_index.json."""
    if encoder.config is None:
        return {name: NOTHING, TOKENIZERS[name]: NOTHING}
    projected = encoder.config.projection is not None
    kind = "CLIPTextModelWithProjection" if projected else "CLIPTextModel"
    return {name: ["transformers", kind], TOKENIZERS[name]: ["transformers", "CLIPTokenizer"]}


def clip_tokenizer_json(pad: Literal["eos", "zero"]) -> Json:
    """tokenizer_config.json of a CLIP tokenizer."""
    return {
        "add_prefix_space": False,
        "bos_token": BOS,
        "do_lower_case": True,
        "eos_token": EOS,
        "errors": "replace",
        "model_max_length": 77,
        "pad_token": _filler(pad),
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": EOS,
    }


def _filler(pad: Literal["eos", "zero"]) -> str:
    """The token that fills up; `!` has the id 0."""
    return EOS if pad == "eos" else "!"


def without_parts(files: Mapping[str, object], written: set[str]) -> dict[str, object]:
    """`files` without those of parts that are not written, and their model_index.json saying so."""
    index = files.get("model_index.json")
    entries = dict(index) if isinstance(index, Mapping) else {}
    absent = {
        name
        for name, value in entries.items()
        if isinstance(value, list) and name in ("unet", "transformer", "vae", "image_encoder", *TOKENIZERS)
    } - written
    absent |= {TOKENIZERS[name] for name in absent if name in TOKENIZERS}
    kept = {path: value for path, value in files.items() if path.split("/", maxsplit=1)[0] not in absent}
    kept["model_index.json"] = {name: (NOTHING if name in absent else value) for name, value in entries.items()}
    return kept


def markers(prediction: Prediction) -> tuple[str, ...]:
    """The empty tensors by which a single file says what it predicts where nothing else in it does."""
    if prediction.kind == "edm":
        return "edm_mean", "edm_std"
    velocity = ("v_pred",) if prediction.kind == "velocity" else ()
    return (*velocity, "ztsnr") if prediction.zero_terminal_snr else velocity
