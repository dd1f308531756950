"""What the families of latent diffusion share: how their parts are built, called and priced."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.models.common.cost import unet_cost, unet_flops, vae_cost
from pinxit.models.common.distilled import Distilled
from pinxit.models.common.prediction import Prediction
from pinxit.models.contract import Cost, Defaults, Facts, LatentSpec, Micro, Shorter
from pinxit.prompts.tokenizer import ClipTokenizer, Padding
from pinxit.sampling.denoiser import Conditioning, Network
from pinxit.sampling.process import NoiseProcess
from pinxit.sampling.shortcuts import Caching, Merging, Shortcut
from pinxit.sampling.tables import standard_levels, zero_terminal_levels
from pinxit.sampling.targets import process_for
from pinxit.schema.errors import ModelError
from pinxit.weights.identify import Match

if TYPE_CHECKING:
    from torch import Tensor, nn


class LdmConfig(Protocol):
    """What every family's configuration offers."""

    @property
    def unet(self) -> UNetConfig: ...
    @property
    def vae(self) -> VaeConfig | None: ...
    @property
    def text_encoder(self) -> ClipTextConfig | None: ...
    @property
    def prediction(self) -> Prediction: ...


def process_of(prediction: Prediction) -> NoiseProcess:
    """The noise process of a model, with SD's table of 1000 levels where it has one."""
    return process_for(
        prediction.kind,
        table=zero_terminal_levels() if prediction.zero_terminal_snr else standard_levels(),
        sigmas=prediction.sigmas,
        sigma_data=prediction.sigma_data,
        shift=prediction.shift,
    )


def facts_of(
    config: LdmConfig,
    *,
    latent: LatentSpec,
    defaults: Defaults,
    text: str | Mapping[str, ClipTextConfig | None],
    can_paint: str = "",
    distilled: Distilled | None = None,
) -> Facts:
    """The facts of a latent-diffusion model. `text` are its text encoders, or the component of its only one."""
    texts = {text: config.text_encoder} if isinstance(text, str) else text
    parts = {"unet": config.unet, "vae": config.vae, **texts}

    def denoise(width: int, height: int) -> Cost:
        return unet_cost(config.unet, *latent_size(width, height, latent.downscale))

    def decode(width: int, height: int) -> Cost:
        return vae_cost(config.vae or VaeConfig(), *latent_size(width, height, latent.downscale))

    def flops(width: int, height: int, caching: Caching | None, merging: Merging | None) -> float:
        return unet_flops(config.unet, *latent_size(width, height, latent.downscale), caching, merging)

    return Facts(
        process=process_of(config.prediction),
        latent=latent,
        defaults=defaults if distilled is None else distilled.over(defaults),
        prediction=config.prediction.kind,
        evidence=config.prediction.evidence,
        components=tuple(name for name, part in parts.items() if part is not None),
        absent=tuple(name for name, part in parts.items() if part is None),
        denoise=denoise,
        decode=decode,
        can_paint=can_paint,
        tells_guidance=config.unet.guidance_dim is not None,
        notes=() if distilled is None else (distilled.note,),
        shorter=Shorter(
            caches=("deep", "block"),
            branches=config.unet.branches,
            merges=bool(config.unet.self_attending),
            flops=flops,
        ),
    )


def latent_size(width: int, height: int, downscale: int) -> tuple[int, int]:
    """Height and width of the latent that covers a picture, rounded up."""
    return math.ceil(height / downscale), math.ceil(width / downscale)


def build_part(config: LdmConfig, component: str) -> nn.Module:
    """The network of one component, without weights."""
    if component == "unet":
        from pinxit.models.common.ldm_unet import UNet

        return UNet(config.unet)
    if component == "vae" and config.vae is not None:
        from pinxit.models.common.vae import AutoencoderKL

        return AutoencoderKL(config.vae)
    if component.startswith("text_encoder") and config.text_encoder is not None:
        from pinxit.models.common.clip import ClipText

        return ClipText(config.text_encoder)
    raise ModelError(
        f"This checkpoint brings no {component.replace('_', ' ')}.",
        hint="Use a complete checkpoint, or a diffusers folder with every part.",
    )


def clip_tokenizer(match: Match, *, folder: str, padding: Padding) -> ClipTokenizer:
    """CLIP's own tokenizer for a single file; for a folder the one that lies in it, where it does."""
    if match.layout.folder:
        path = match.header.path / folder
        if (path / "vocab.json").is_file() and (path / "merges.txt").is_file():
            return ClipTokenizer.from_folder(path, cleaning="fast", padding=padding)
        return ClipTokenizer.openai(cleaning="fast", padding=padding)
    return ClipTokenizer.openai(padding=padding)


def _common(x: Tensor, t: float, conditioning: Conditioning) -> tuple[Tensor, Tensor]:
    import torch

    if conditioning.tokens is None:
        raise ValueError("a U-Net needs token vectors")
    batch = x.shape[0]
    tokens = conditioning.tokens.to(x.device)
    if tokens.shape[0] != batch:  # the same tensor in every step is known to the layers that read it
        tokens = tokens.expand(batch, -1, -1)
    return torch.full((batch,), t, device=x.device), tokens


def size_ids(micro: Micro) -> tuple[float, ...]:
    """The six numbers that SDXL is told: height before width, of the original, of the crop's corner, of the target."""
    (wide, high), (target_wide, target_high) = micro.original, micro.target
    return tuple(map(float, (high, wide, *micro.crop, target_high, target_wide)))


def beside(x: Tensor, conditioning: Conditioning, channels: int) -> Tensor:
    """The latent and the channels that the conditioning puts beside it. Raises ValueError unless it has `channels`."""
    import torch

    if conditioning.concat is not None:
        x = torch.cat([x, conditioning.concat.to(x).expand(x.shape[0], -1, -1, -1)], dim=1)
    if x.shape[1] != channels:
        raise ValueError(f"this U-Net needs {channels} channels, it was given {x.shape[1]}")
    return x


def told_guidance(x: Tensor, conditioning: Conditioning, config: UNetConfig) -> dict[str, Tensor]:
    """The guidance for each picture of the batch as the U-Net's argument; nothing for a U-Net that is not told."""
    import torch

    if config.guidance_dim is None or conditioning.guidance is None:
        return {}
    return {"guidance": torch.full((x.shape[0],), conditioning.guidance, device=x.device)}


def sized_network(config: UNetConfig, unet: nn.Module, *, size_width: int) -> Network:
    """A U-Net that is also told the pooled text and several sizes, each embedded `size_width` wide (SDXL)."""

    def network(x: Tensor, t: float, conditioning: Conditioning, shortcut: Shortcut | None = None, /) -> Tensor:
        import torch

        from pinxit.nn import sinusoidal

        if conditioning.pooled is None:
            raise ValueError("this U-Net needs the pooled text")
        ids = torch.tensor([conditioning.time_ids]).to(x.device, non_blocking=True)  # waiting would empty a GPU's queue
        sizes = sinusoidal(ids, size_width).flatten(1)
        parts = (conditioning.pooled.to(x.device), sizes)
        y = torch.cat([part.expand(x.shape[0], -1) for part in parts], dim=1)
        told = told_guidance(x, conditioning, config)
        return unet(
            beside(x, conditioning, config.in_channels), *_common(x, t, conditioning), y, **told, shortcut=shortcut
        ).float()

    return network
