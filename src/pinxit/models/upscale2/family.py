"""The latent x2 upscaler: the enlarged latent lies beside the noisy one; text guides it a little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from pinxit.models.common.configs import VaeConfig
from pinxit.models.common.cost import vae_cost
from pinxit.models.common.ldm_family import clip_tokenizer, latent_size
from pinxit.models.contract import Cost, Defaults, Facts, Family, LatentSpec, Networks, Words, Writing
from pinxit.models.upscale2.config import HIGH_SIGMA, LOW_SIGMA, KUNetConfig, Upscale2Config, config_from
from pinxit.models.upscale2.folder import folder_files
from pinxit.models.upscale2.layout import LAYOUTS
from pinxit.prompts.chunks import Tokenizer
from pinxit.sampling.denoiser import Conditioning, Network
from pinxit.sampling.process import EDM
from pinxit.sampling.shortcuts import Shortcut
from pinxit.schema.errors import ModelError
from pinxit.weights.identify import Match

if TYPE_CHECKING:
    from torch import Tensor, nn

TEXT = "text_encoder"
LATENT = LatentSpec(channels=4, downscale=8, scale=0.18215)
DEFAULTS = Defaults(width=1024, height=1024, steps=20, sampler="euler", schedule="karras", guidance=1.0)
NOISE_WIDTH = 128
"""Width of the embedded noise of the small latent, half cosines and half sines: it carries none."""


def facts(config: Upscale2Config) -> Facts:
    parts = {"unet": config.unet, "vae": config.vae, TEXT: config.text_encoder}

    def decode(width: int, height: int) -> Cost:
        return vae_cost(config.vae or VaeConfig(), *latent_size(width, height, LATENT.downscale))

    return Facts(
        process=EDM(low=LOW_SIGMA, high=HIGH_SIGMA, sigma_data=1.0),
        latent=LATENT,
        defaults=DEFAULTS,
        prediction="edm",
        evidence="the latent x2 upscaler is preconditioned as EDM is, with data of deviation 1",
        components=tuple(name for name, part in parts.items() if part is not None),
        absent=tuple(name for name, part in parts.items() if part is None),
        denoise=lambda width, height: _cost(config.unet, *latent_size(width, height, LATENT.downscale)),
        decode=decode,
        can_paint="the latent x2 upscaler needs a small picture",
    )


def _cost(config: KUNetConfig, height: int, width: int) -> Cost:
    """Two operations per multiply-add of convolutions and attention, down and up alike."""
    flops = 0.0
    area = float(height * width)
    kept = 0.0
    for level, channels in enumerate(config.widths):
        size = area / 4**level
        attention = config.own[level] * (8 * channels**2 + 4 * channels * size) + config.cross[level] * 4 * channels**2
        flops += 2 * config.blocks[level] * size * (36 * channels**2 + attention)
        kept += 4.0 * size * channels
    return Cost(flops=flops, activation_bytes=4 * (kept + 10 * area * config.widths[0]))


def build(config: Upscale2Config, component: str) -> nn.Module:
    """The network of one component, without weights."""
    if component == "unet":
        from pinxit.models.upscale2.network import KUNet

        return KUNet(config.unet)
    if component == "vae" and config.vae is not None:
        from pinxit.models.common.vae import AutoencoderKL

        return AutoencoderKL(config.vae)
    if component == TEXT and config.text_encoder is not None:
        from pinxit.models.common.clip import ClipText

        return ClipText(config.text_encoder)
    raise ModelError(
        f"This checkpoint brings no {component.replace('_', ' ')}.",
        hint="Use a complete checkpoint, or a diffusers folder with every part.",
    )


def _tokenizers(config: Upscale2Config, match: Match) -> Mapping[str, Tokenizer]:
    if config.text_encoder is None:
        return {}
    return {TEXT: clip_tokenizer(match, folder="tokenizer", padding="eos")}


def _encode(config: Upscale2Config, networks: Networks, words: Words) -> Conditioning:
    """The last layer's state without the final norm; the pooled text behind the small latent's noise, which is none."""
    import torch

    from pinxit.models.common.clip import ClipText
    from pinxit.models.common.text import encode_words

    del config
    text = cast(ClipText, networks[TEXT])
    tokens, _ = encode_words(text, words, TEXT, skip=1, normalise=False)
    pooled = text(torch.tensor([words.chunks[TEXT][0].ids])).pooled.float()
    noise = torch.cat([torch.ones(NOISE_WIDTH // 2), torch.zeros(NOISE_WIDTH // 2)]).to(pooled)
    return Conditioning(tokens=tokens, pooled=torch.cat([noise[None], pooled], dim=1))


def _network(config: Upscale2Config, unet: nn.Module) -> Network:
    """The U-Net for a sampler; `concat` is the enlarged latent, scaled as the noisy one is."""

    def network(x: Tensor, t: float, conditioning: Conditioning, shortcut: Shortcut | None = None, /) -> Tensor:
        import torch

        del shortcut
        if conditioning.tokens is None or conditioning.pooled is None:
            raise ValueError("this U-Net needs token vectors and the pooled text")
        if conditioning.concat is None:
            raise ValueError("this U-Net needs the latent that it enlarges")
        batch = x.shape[0]
        x = torch.cat([x, conditioning.concat.to(x).expand(batch, -1, -1, -1)], dim=1)
        times = torch.full((batch,), t, device=x.device)
        told = (part.to(x.device).expand(batch, *part.shape[1:]) for part in (conditioning.tokens, conditioning.pooled))
        out: Tensor = unet(x, times, *told)
        return out[:, : LATENT.channels].float()

    del config
    return network


FAMILY = Family(
    name="upscale2",
    title="Stable Diffusion latent x2 upscaler",
    layouts=LAYOUTS,
    config_from=config_from,
    facts=facts,
    build=build,
    tokenizers=_tokenizers,
    encoders=(TEXT,),
    encode=_encode,
    network=_network,
    writing=Writing(files=lambda config: folder_files(config, LATENT)),
)
