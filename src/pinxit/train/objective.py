"""What the denoiser is taught: velocity under a schedule that ends in pure noise.

Legend: abar the cumulative signal share alpha-bar_t, alpha = sqrt(abar), sigma = sqrt(1 - abar), z the latent.
"""

from __future__ import annotations

import torch
from torch import Tensor

TIMESTEPS = 1000
TERMINAL_ABAR = 4.8973451890853435e-08


def zero_terminal_abar() -> Tensor:
    """alpha-bar [1000] in float64: the scaled-linear schedule of SD, rescaled to zero terminal SNR.

    Lin et al. 2023 (arXiv 2305.08891), algorithm 1; the last value is the field's tiny stand-in for zero.
    """
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, TIMESTEPS, dtype=torch.float64) ** 2
    root = (1 - betas).cumprod(0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    abar = root**2
    abar[-1] = TERMINAL_ABAR
    return abar


def loss_weight(abar: Tensor, *, gamma: float = 5.0) -> Tensor:
    """Weight of a velocity error at signal share `abar`: min(SNR + 1, gamma) / (SNR + 1).

    One at high noise, where layout and background are decided, and falling at low noise (min-SNR-gamma of Hang et al.
    2023 with one added to the SNR, so that the terminal step still counts).
    """
    snr_plus_one = 1 / (1 - abar)
    return snr_plus_one.clamp(max=gamma) / snr_plus_one


def draw_timesteps(
    count: int, *, terminal: float, lean: float = 1.0, below: int = TIMESTEPS, generator: torch.Generator
) -> Tensor:
    """`count` timesteps 0..`below` - 1, stratified; a share `terminal` of them is moved to the last one.

    They are spread as u ** lean for even u: below 1 they lean towards high noise, where a prompt decides most.
    """
    strata = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    t = (strata**lean * below).long().clamp(max=below - 1)
    t = t[torch.randperm(count, generator=generator)]
    last = torch.rand(count, generator=generator) < terminal
    return torch.where(last, torch.full_like(t, below - 1), t)


def noised(z: Tensor, noise: Tensor, abar: Tensor) -> tuple[Tensor, Tensor]:
    """The noisy latent and the velocity to predict, alpha*noise - sigma*z (Salimans & Ho 2022). `abar` is [B]."""
    shape = (-1,) + (1,) * (z.ndim - 1)
    alpha = abar.sqrt().to(z.dtype).view(shape)
    sigma = (1 - abar).sqrt().to(z.dtype).view(shape)
    return alpha * z + sigma * noise, alpha * noise - sigma * z
