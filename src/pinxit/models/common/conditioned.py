"""A latent-diffusion U-Net that is told more than words: channels beside the latent, a class number, a vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.models.common.ldm_family import LdmConfig, beside, told_guidance
from pinxit.sampling.denoiser import Conditioning, Network
from pinxit.sampling.shortcuts import Shortcut

if TYPE_CHECKING:
    from torch import Tensor, nn


def conditioned_network(config: LdmConfig, unet: nn.Module) -> Network:
    """The U-Net for a sampler; what it is told beside the text depends on its own configuration.

    `concat` fills the input channels beside the latent's: mask and masked picture, depth, a small picture.
    `noise_level` is the number of the class, where there are classes. `pooled` is the vector of the added embedding,
    zeros where it is not given, as a part of unCLIP's training had it. Calls raise ValueError for what is missing.
    """

    def network(x: Tensor, t: float, conditioning: Conditioning, shortcut: Shortcut | None = None, /) -> Tensor:
        import torch

        if conditioning.tokens is None:
            raise ValueError("a U-Net needs token vectors")
        x, batch = beside(x, conditioning, config.unet.in_channels), x.shape[0]
        times = torch.full((batch,), t, device=x.device)
        tokens = conditioning.tokens.to(x.device).expand(batch, -1, -1)
        told = told_guidance(x, conditioning, config.unet)
        vector = _vector(config, x, conditioning)
        return unet(x, times, tokens, vector, **told, shortcut=shortcut).float()

    return network


def _vector(config: LdmConfig, x: Tensor, conditioning: Conditioning) -> Tensor | None:
    import torch

    if config.unet.num_classes is not None:
        if conditioning.noise_level is None:
            raise ValueError("this U-Net needs the noise level of the picture that it is given")
        return torch.full((x.shape[0],), round(conditioning.noise_level), dtype=torch.long, device=x.device)
    if config.unet.adm_in_channels is None:
        return None
    if conditioning.pooled is None:
        return x.new_zeros(x.shape[0], config.unet.adm_in_channels)
    return conditioning.pooled.to(x.device).expand(x.shape[0], -1)
