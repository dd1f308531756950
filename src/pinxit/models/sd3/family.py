"""Stable Diffusion 3 and 3.5 (Esser et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pinxit.models.common.configs import VaeConfig
from pinxit.models.common.cost import mmdit_cost, mmdit_flops, vae_cost
from pinxit.models.common.distilled import Distilled
from pinxit.models.common.ldm_family import clip_tokenizer, latent_size
from pinxit.models.contract import Cost, Defaults, Facts, Family, LatentSpec, Networks, Shorter, Words, Writing
from pinxit.models.sd3.config import TOKENIZER_FOLDER, TOKENIZER_TEXT, Sd3Config, Variant, config_from
from pinxit.models.sd3.folder import IDENTITIES, folder_files, metadata
from pinxit.models.sd3.layout import CLIP_G, CLIP_L, LAYOUTS, T5_XXL, TRANSFORMER
from pinxit.prompts.chunks import Tokenizer
from pinxit.prompts.t5 import T5Tokenizer
from pinxit.sampling.denoiser import Conditioning, Network
from pinxit.sampling.process import Flow
from pinxit.sampling.shortcuts import Caching, Merging, Shortcut
from pinxit.schema.errors import ModelError
from pinxit.weights.identify import Match

if TYPE_CHECKING:
    from torch import Tensor, nn

LATENT = LatentSpec(channels=16, downscale=8, scale=1.5305, shift=0.0609)
SIDE = 1024
USUAL: dict[Variant, tuple[int, float]] = {"3-medium": (28, 5.0), "3.5-medium": (40, 4.5), "3.5-large": (28, 4.5)}
"""Steps and guidance of each model."""


def facts(config: Sd3Config) -> Facts:
    steps, guidance = USUAL[config.variant]
    parts = {
        TRANSFORMER: config.transformer,
        "vae": config.vae,
        CLIP_L: config.text_encoder,
        CLIP_G: config.text_encoder_2,
        T5_XXL: config.text_encoder_3 if config.speaks else None,
    }

    def denoise(width: int, height: int) -> Cost:
        return mmdit_cost(config.transformer, *latent_size(width, height, LATENT.downscale))

    def decode(width: int, height: int) -> Cost:
        return vae_cost(config.vae or VaeConfig(), *latent_size(width, height, LATENT.downscale))

    def flops(width: int, height: int, caching: Caching | None, merging: Merging | None) -> float:
        return mmdit_flops(config.transformer, *latent_size(width, height, LATENT.downscale), caching, merging)

    usual = Defaults(
        width=SIDE, height=SIDE, steps=steps, sampler="dpmpp_2m", schedule=None, guidance=guidance, spacing="sd3"
    )
    return Facts(
        process=Flow(shift=config.shift),
        latent=LATENT,
        defaults=usual if config.distilled is None else _few_steps(usual, config.distilled),
        prediction="flow",
        evidence=config.evidence,
        components=tuple(name for name, part in parts.items() if part is not None),
        absent=tuple(name for name, part in parts.items() if part is None),
        denoise=denoise,
        decode=decode,
        notes=(*((config.distilled.note,) if config.distilled is not None else ()), *config.notes),
        shorter=Shorter(caches=("block",), branches=0, merges=False, flops=flops),
    )


def _few_steps(usual: Defaults, distilled: Distilled) -> Defaults:
    """What a distilled model gets: its steps without guidance, along the straight lines of the flow."""
    return replace(usual, steps=distilled.steps, sampler="euler", guidance=1.0)


def _build(config: Sd3Config, component: str) -> nn.Module:
    """The network of one component, without weights."""
    if component == TRANSFORMER:
        from pinxit.models.common.mmdit import MMDiT

        return MMDiT(config.transformer)
    if component == "vae" and config.vae is not None:
        from pinxit.models.common.vae import AutoencoderKL

        return AutoencoderKL(config.vae)
    if component == T5_XXL and config.text_encoder_3 is not None:
        from pinxit.models.common.t5 import T5Encoder

        return T5Encoder(config.text_encoder_3)
    clip = {CLIP_L: config.text_encoder, CLIP_G: config.text_encoder_2}.get(component)
    if clip is not None:
        from pinxit.models.common.clip import ClipText

        return ClipText(clip)
    raise ModelError(
        f"This checkpoint brings no {component.replace('_', ' ')}.",
        hint="Use a complete checkpoint, or a diffusers folder with every part.",
    )


def _tokenizers(config: Sd3Config, match: Match) -> Mapping[str, Tokenizer]:
    found: dict[str, Tokenizer] = {}
    if config.text_encoder is not None:
        found[CLIP_L] = clip_tokenizer(match, folder="tokenizer", padding="eos")
    if config.text_encoder_2 is not None:
        found[CLIP_G] = clip_tokenizer(match, folder="tokenizer_2", padding="zero")
    if config.text_encoder_3 is not None and config.speaks:
        found[T5_XXL] = _t5_tokenizer(match, config.text_encoder_3.vocab_size)
    return found


def _t5_tokenizer(match: Match, vocab_size: int) -> T5Tokenizer:
    if match.layout.folder:
        return T5Tokenizer.from_folder(match.header.path / TOKENIZER_FOLDER, vocab_size=vocab_size)
    return T5Tokenizer.from_text(match.header.metadata[TOKENIZER_TEXT], vocab_size=vocab_size)


def _encode(config: Sd3Config, networks: Networks, words: Words) -> Conditioning:
    from pinxit.models.sd3.text import encode

    return encode(config, networks, words)


def _network(config: Sd3Config, transformer: nn.Module) -> Network:
    del config

    def network(x: Tensor, t: float, conditioning: Conditioning, shortcut: Shortcut | None = None, /) -> Tensor:
        import torch

        tokens, pooled = conditioning.tokens, conditioning.pooled
        if tokens is None or pooled is None:
            raise ValueError("this transformer needs token vectors and the pooled text")
        batch = x.shape[0]
        times = torch.full((batch,), t, device=x.device)
        words, vector = tokens.to(x.device).expand(batch, -1, -1), pooled.to(x.device).expand(batch, -1)
        return transformer(x, times, words, vector, shortcut=shortcut).float()

    return network


FAMILY = Family(
    name="sd3",
    title="Stable Diffusion 3",
    layouts=LAYOUTS,
    config_from=config_from,
    facts=facts,
    build=_build,
    tokenizers=_tokenizers,
    encoders=(CLIP_L, CLIP_G, T5_XXL),
    encode=_encode,
    network=_network,
    denoiser=TRANSFORMER,
    optional=(T5_XXL,),
    wide=(T5_XXL,),
    writing=Writing(files=lambda config: folder_files(config, LATENT), identities=IDENTITIES, metadata=metadata),
    aliases=("sd3.5", "sd35"),
)
