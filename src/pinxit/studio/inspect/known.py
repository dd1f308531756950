"""Published files by their SHA-256, and language models by their sizes: facts, each from the model's own page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Known:
    """A published file: whose it is, what it is called, and under which licence it was released."""

    title: str
    file: str
    licence: str


_RAIL = "creativeml-openrail-m"
_RAIL_PLUS = "openrail++"
_COMMUNITY = "stabilityai-ai-community"

FILES: Mapping[str, Known] = MappingProxyType(
    {
        "fe4efff1e174c627256e44ec2991ba279b3816e364b49f9be2abc0b3ff3f8556": Known(
            "Stable Diffusion 1.4", "sd-v1-4.ckpt", _RAIL
        ),
        "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa": Known(
            "Stable Diffusion 1.5", "v1-5-pruned-emaonly.safetensors", _RAIL
        ),
        "cc6cb27103417325ff94f52b7a5d2dde45a7515b25c255d8e396c90014281516": Known(
            "Stable Diffusion 1.5", "v1-5-pruned-emaonly.ckpt", _RAIL
        ),
        "1a189f0be69d6106a48548e7626207dddd7042a418dbf372cefd05e0cdba61b6": Known(
            "Stable Diffusion 1.5", "v1-5-pruned.safetensors", _RAIL
        ),
        "d635794c1fedfdfa261e065370bea59c651fc9bfa65dc6d67ad29e11869a1824": Known(
            "Stable Diffusion 2.0 base", "512-base-ema.ckpt", _RAIL_PLUS
        ),
        "bfcaf0755797b0c30eb00a3787e8b423eb1f5decd8de76c4d824ac2dd27e139f": Known(
            "Stable Diffusion 2.0", "768-v-ema.ckpt", _RAIL_PLUS
        ),
        "2a208a7ded5d42dcb0c0ec908b23c631002091e06afe7e76d16cd11079f8d4e3": Known(
            "Stable Diffusion 2.0 inpainting", "512-inpainting-ema.ckpt", _RAIL_PLUS
        ),
        "88ecb782561455673c4b78d05093494b9c539fc6bfc08f3a9a4a0dd7b0b10f36": Known(
            "Stable Diffusion 2.1 base", "v2-1_512-ema-pruned.ckpt", _RAIL_PLUS
        ),
        "dcd690123cfc64383981a31d955694f6acf2072a80537fdb612c8e58ec87a8ac": Known(
            "Stable Diffusion 2.1", "v2-1_768-ema-pruned.safetensors", _RAIL_PLUS
        ),
        "ad2a33c361c1f593c4a1fb32ea81afce2b5bb7d1983c6b94793a26a3b54b08a0": Known(
            "Stable Diffusion 2.1", "v2-1_768-ema-pruned.ckpt", _RAIL_PLUS
        ),
        "1f697312617db511045698dbf419ae1e2999427d4e4423a321b461cc180d1a97": Known(
            "SDXL 0.9 base", "sd_xl_base_0.9.safetensors", "sdxl-0.9-research"
        ),
        "31e35c80fc4829d14f90153f4c74cd59c90b779f6afe05a74cd6120b893f7e5b": Known(
            "SDXL 1.0 base", "sd_xl_base_1.0.safetensors", _RAIL_PLUS
        ),
        "e6bb9ea85bbf7bf6478a7c6d18b71246f22e95d41bcdd80ed40aa212c33cfeff": Known(
            "SDXL 1.0 base with the VAE of 0.9", "sd_xl_base_1.0_0.9vae.safetensors", _RAIL_PLUS
        ),
        "7440042bbdc8a24813002c09b6b69b64dc90fded4472613437b7f55f9b7d9c5f": Known(
            "SDXL 1.0 refiner", "sd_xl_refiner_1.0.safetensors", _RAIL_PLUS
        ),
        "8d0ce6c016004cbdacd50f937dad381d8c396628d621a7f97191470532780164": Known(
            "SDXL 1.0 refiner with the VAE of 0.9", "sd_xl_refiner_1.0_0.9vae.safetensors", _RAIL_PLUS
        ),
        "e869ac7d6942cb327d68d5ed83a40447aadf20e0c3358d98b2cc9e270db0da26": Known(
            "SDXL Turbo", "sd_xl_turbo_1.0_fp16.safetensors", "sai-nc-community"
        ),
        "cc236278d28c8c3eccb8e21ee0a67ebed7dd6e9ce40aa9de914fa34e8282f191": Known(
            "Stable Diffusion 3 medium", "sd3_medium.safetensors", _COMMUNITY
        ),
        "11fe06e22364b823dfeedc275912336b932b32a293a0b2f35ffac071990cc4de": Known(
            "Stable Diffusion 3.5 medium", "sd3.5_medium.safetensors", _COMMUNITY
        ),
        "ffef7a279d9134626e6ce0d494fba84fc1c7e720b3c7df2d19a09dc3796d8f93": Known(
            "Stable Diffusion 3.5 large", "sd3.5_large.safetensors", _COMMUNITY
        ),
        "735e4c3a447a3255760d7f86845f09f937809baa529c17370d83e4c3758f3c75": Known(
            "VAE of Stable Diffusion 1, finer (MSE)", "vae-ft-mse-840000-ema-pruned.safetensors", "mit"
        ),
        "235745af8d86bf4a4c1b5b4f529868b37019a10f7c0b2e79ad0abca3a22bc6e1": Known(
            "VAE of SDXL 1.0", "sdxl_vae.safetensors", "mit"
        ),
    }
)
"""The weights that most people have. Licences are those of the pages that the files were released on."""


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A language model that is told by its table of words: `table` is that tensor's name, with its (rows, width).

    `licences` are those of its published versions; where they differ, a file's commercial use cannot be told by its
    contents.
    """

    title: str
    table: str
    shape: tuple[int, int]
    licences: tuple[str, ...]


_OWN = "Stability AI's own (its page refers to stability.ai/license for business)"

LANGUAGE_MODELS = (
    LanguageModel(
        "StableLM alpha 3B",
        "gpt_neox.embed_in.weight",
        (50688, 4096),
        ("cc-by-sa-4.0 (base)", "cc-by-nc-sa-4.0 (tuned)"),
    ),
    LanguageModel(
        "StableLM alpha 7B",
        "gpt_neox.embed_in.weight",
        (50432, 6144),
        ("cc-by-sa-4.0 (base)", "cc-by-nc-sa-4.0 (tuned)"),
    ),
    LanguageModel("StableLM 3B 4E1T", "model.embed_tokens.weight", (50304, 2560), ("cc-by-sa-4.0 (base)",)),
    LanguageModel("StableLM 2 1.6B", "model.embed_tokens.weight", (100352, 2048), (_OWN,)),
    LanguageModel("StableLM 2 12B", "model.embed_tokens.weight", (100352, 5120), (_OWN,)),
)
