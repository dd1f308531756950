"""Whole checkpoints of SD 1's and SD 2's relatives, put together from manifests of their parts.

Single files are names and shapes; folders are manifests as `manifests/diffusers` has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from pinxit.models.common.clip import ClipText
from pinxit.models.common.configs import ClipTextConfig
from pinxit.models.upscale2.config import KUNetConfig
from pinxit.models.upscale2.network import KUNet
from tests.reference import golden_json
from tests.weights.files import manifest

Shapes = dict[str, tuple[int, ...]]
Content = dict[str, Any]

LAYER = {
    "attn.in_proj_weight": (3, 1),
    "attn.in_proj_bias": (3,),
    "attn.out_proj.weight": (1, 1),
    "attn.out_proj.bias": (1,),
    "ln_1.weight": (1,),
    "ln_1.bias": (1,),
    "ln_2.weight": (1,),
    "ln_2.bias": (1,),
}
"""An OpenCLIP layer's tensors beside its feed-forward, in multiples of the width."""


def open_tower(name: str) -> Shapes:
    """The image tower `l` or `h` in OpenCLIP's spelling."""
    config = golden_json(f"manifests/diffusers/clip-vision-{name}.json")["config"]
    width, inner, layers = (config[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    patches = (config["image_size"] // config["patch_size"]) ** 2
    shapes: Shapes = {
        "class_embedding": (width,),
        "positional_embedding": (patches + 1, width),
        "conv1.weight": (width, 3, config["patch_size"], config["patch_size"]),
        "proj": (width, config["projection_dim"]),
    }
    shapes |= {f"{norm}.{kind}": (width,) for norm in ("ln_pre", "ln_post") for kind in ("weight", "bias")}
    for layer in range(layers):
        stem = f"transformer.resblocks.{layer}"
        shapes |= {f"{stem}.{leaf}": tuple(width * n for n in sizes) for leaf, sizes in LAYER.items()}
        shapes |= {f"{stem}.mlp.c_fc.weight": (inner, width), f"{stem}.mlp.c_fc.bias": (inner,)}
        shapes |= {f"{stem}.mlp.c_proj.weight": (width, inner), f"{stem}.mlp.c_proj.bias": (width,)}
    return shapes


def text_half(width: int) -> Shapes:
    """What is left of a CLIP whose text transformer was taken out."""
    return {
        "positional_embedding": (77, width),
        "text_projection": (width, width),
        "logit_scale": (),
        "token_embedding.weight": (49408, width),
        "ln_final.weight": (width,),
        "ln_final.bias": (width,),
    }


def unclip(name: str) -> Shapes:
    """An unCLIP file with its image tower and the augmentation's buffers."""
    width = {"l": 768, "h": 1024}[name]
    buffers = ("betas", "alphas_cumprod", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod")
    return {
        **manifest(f"sd21-unclip-{name}"),
        **{f"embedder.model.visual.{key}": shape for key, shape in open_tower(name).items()},
        **{f"embedder.model.{key}": shape for key, shape in text_half(width).items()},
        **{f"noise_augmentor.{key}": (1000,) for key in buffers},
        "noise_augmentor.data_mean": (1, width),
        "noise_augmentor.data_std": (1, width),
    }


def variations() -> Shapes:
    """An SD 1 that looks at pictures: OpenAI's ViT-L where the text encoder was."""
    kept = {name: shape for name, shape in manifest("sd-v1").items() if not name.startswith("cond_stage_model.")}
    stem = "cond_stage_model.model"
    return {
        **kept,
        **{f"{stem}.visual.{key}": shape for key, shape in open_tower("l").items()},
        **{f"{stem}.{key}": shape for key, shape in text_half(768).items()},
    }


def shapes_of(network: Callable[[], nn.Module]) -> Shapes:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in network().state_dict().items()}


def upscale2() -> Shapes:
    """The x2 upscaler under k-diffusion's names, with the other parts where SD 1 has them."""
    unet = shapes_of(lambda: KUNet(KUNetConfig()))
    text = shapes_of(lambda: ClipText(ClipTextConfig()))
    vae = {name: shape for name, shape in manifest("sd-v1").items() if name.startswith("first_stage_model.")}
    return {
        **{f"inner_model.{name}": shape for name, shape in unet.items()},
        **{f"cond_stage_model.transformer.{name}": shape for name, shape in text.items()},
        **vae,
    }


def folder(name: str, pipeline: str, *others: str, **more: Content) -> Content:
    """The manifest `name` as `pipeline`, without the parts `others`, with those of `more`."""
    content = golden_json(f"manifests/diffusers/{name}.json")
    components = {part: value for part, value in content["components"].items() if part not in others} | more
    index = {part: ["library", "Class"] for part in components}
    return {"model_index": {"_class_name": pipeline, **index}, "components": components}


def tower(name: str) -> Content:
    document = golden_json(f"manifests/diffusers/clip-vision-{name}.json")
    return {"config": document["config"], "weight_file": "model.safetensors", "tensors": document["tensors"]}


def variations_folder() -> Content:
    return folder(
        "sd15", "StableDiffusionImageVariationPipeline", "text_encoder", "tokenizer", image_encoder=tower("l")
    )


def unclip_folder(name: str) -> Content:
    width = {"l": 768, "h": 1024}[name]
    unet = golden_json("manifests/diffusers/sd21.json")["components"]["unet"]
    shapes = {
        "class_embedding.linear_1.weight": [1280, 2 * width],
        "class_embedding.linear_1.bias": [1280],
        "class_embedding.linear_2.weight": [1280, 1280],
        "class_embedding.linear_2.bias": [1280],
    }
    return folder(
        "sd21",
        "StableUnCLIPImg2ImgPipeline",
        unet={**unet, "tensors": {**unet["tensors"], **shapes}},
        image_encoder=tower(name),
        image_normalizer={
            "config": {"embedding_dim": width},
            "weight_file": "diffusion_pytorch_model.safetensors",
            "tensors": {"mean": [1, width], "std": [1, width]},
        },
        image_noising_scheduler={"scheduler_config": {"beta_schedule": "squaredcos_cap_v2"}},
    )


def upscale4_folder() -> Content:
    parts = golden_json("manifests/diffusers/derived-x4-upscaler.json")["components"]
    return folder("sd21", "StableDiffusionUpscalePipeline", **parts)


def upscale2_folder() -> Content:
    parts = golden_json("manifests/diffusers/derived-x2-upscaler-unet.json")["components"]
    schedule = {"scheduler_config": {"_class_name": "EulerDiscreteScheduler", "prediction_type": "sample"}}
    return folder("sd15", "StableDiffusionLatentUpscalePipeline", scheduler=schedule, **parts)


SINGLE: Mapping[str, Callable[[], Shapes]] = {
    "sd21-unclip-l-whole": lambda: unclip("l"),
    "sd21-unclip-h-whole": lambda: unclip("h"),
    "sd-image-variations": variations,
    "x2-upscaler": upscale2,
}
FOLDERS: Mapping[str, Callable[[], Content]] = {
    "sd-image-variations": variations_folder,
    "sd21-unclip-l": lambda: unclip_folder("l"),
    "sd21-unclip-h": lambda: unclip_folder("h"),
    "x4-upscaler": upscale4_folder,
    "x2-upscaler": upscale2_folder,
}
