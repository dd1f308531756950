"""The preview decoder: a tiny network that shows a latent at half size, for the steps of a picture in the making.

It learns from the finished autoencoder alone: whatever latent it is given, it should show what that decodes to,
averaged to half size. Latents half way between two pictures are among them, since early estimates look like that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.common.vae import AutoencoderKL
from pinxit.models.contract import LatentSpec
from pinxit.models.kinds import About
from pinxit.models.taesd.config import TinyConfig
from pinxit.models.taesd.network import TinyAutoencoder
from pinxit.schema.errors import BadInput
from pinxit.train.autoencoder import encode_inner, on_device, pyramid_l1
from pinxit.train.crops import Crops
from pinxit.train.recipe import PreviewRecipe, PreviewShape
from pinxit.train.workshop import load_component, load_vae, read_shapes

DECODE_BATCH = 16
PREVIEW = "preview"
"""What the decoder is called in a workshop."""


def check_half_size(shape: PreviewShape, vae: AutoencoderKL) -> None:
    """Raise BadInput for a decoder that does not end at half the autoencoder's size."""
    wanted = len(vae.config.channel_mult) - 1
    if len(shape.blocks) != wanted:
        raise BadInput(
            f"A preview decoder of {len(shape.blocks)} levels does not show this autoencoder's latents at half size.",
            hint=f"Give shape.blocks {wanted} numbers.",
        )


def preview_decoder(shape: PreviewShape, *, z_channels: int) -> TinyAutoencoder:
    """A tiny decoder with random weights."""
    latent = LatentSpec(channels=z_channels, downscale=2 ** (len(shape.blocks) - 1))
    return TinyAutoencoder(
        TinyConfig(
            about=About(), latent=latent, channels=shape.channels, encoder=(), decoder=shape.blocks, assumed=False
        )
    )


def load_preview(workshop: Path) -> TinyAutoencoder:
    """The workshop's preview decoder. Raises Missing when it was never trained."""
    shape = PreviewShape.model_validate(read_shapes(workshop).get(PREVIEW, {}))
    decoder = preview_decoder(shape, z_channels=load_vae(workshop).config.z_channels)
    load_component(workshop, PREVIEW, decoder)
    return decoder.requires_grad_(False).eval()


@torch.no_grad()
def shown(vae: AutoencoderKL, z: Tensor) -> Tensor:
    """What latents decode to, in -1..1, averaged to half size, float32."""
    with torch.autocast(z.device.type, dtype=torch.bfloat16):
        picture = vae.decode(z)
    return F.avg_pool2d(picture.float().clamp(-1, 1), 2)


class PreviewPool:
    """Latents and what they decode to, made anew every `refresh` steps: a function of (seed, step)."""

    def __init__(
        self, recipe: PreviewRecipe, vae: AutoencoderKL, crops: Crops, *, seed: int, report: Callable[[str], None]
    ) -> None:
        self.recipe = recipe
        self.vae = vae
        self.crops = crops
        self.seed = seed
        self.report = report
        self._turn = -1

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        if (turn := step // self.recipe.refresh) != self._turn:
            self._pairs, self._turn = self._decoded(turn), turn
            self.report(f"decoded {self.recipe.pool} latents")
        return self._pairs

    @torch.no_grad()
    def _decoded(self, turn: int) -> tuple[Tensor, Tensor]:
        rng = np.random.Generator(np.random.Philox(key=[self.seed, 1_000_000 + turn]))
        latents: list[Tensor] = []
        pictures: list[Tensor] = []
        for start in range(0, self.recipe.pool, DECODE_BATCH):
            count = min(DECODE_BATCH, self.recipe.pool - start)
            x = on_device(self.crops(turn * self.recipe.pool + start, count), self.vae)
            with torch.autocast(x.device.type, dtype=torch.bfloat16):
                mean, _ = encode_inner(self.vae, x)
            z = mean.float()
            mixed = torch.from_numpy(rng.random(count) < self.recipe.mixed).to(z.device)
            share = torch.from_numpy(rng.random(count)).float().to(z.device) * mixed
            z = torch.lerp(z, z.roll(1, 0), share.view(-1, 1, 1, 1))
            latents.append(z)
            pictures.append(shown(self.vae, z))
        return torch.cat(latents), torch.cat(pictures)


class PreviewTask:
    """Show latents as the full decoder does."""

    def __init__(self, recipe: PreviewRecipe, decoder: TinyAutoencoder, pool: PreviewPool, *, seed: int) -> None:
        self.recipe = recipe
        self.decoder = decoder
        self.pool = pool
        self.seed = seed
        self.networks = nn.ModuleDict({PREVIEW: decoder})
        self.networks.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's overloads omit this form

    def learning_rates(self, step: int) -> Mapping[str, float]:  # noqa: ARG002 - every step alike
        return {}

    def loss(self, step: int) -> Mapping[str, Tensor]:
        latents, pictures = self.pool.at(step)
        rng = np.random.Generator(np.random.Philox(key=[self.seed, step]))
        items = torch.from_numpy(rng.integers(0, len(latents), size=self.recipe.optimisation.batch))
        z, wanted = latents[items].contiguous(memory_format=torch.channels_last), pictures[items]
        with torch.autocast(z.device.type, dtype=torch.bfloat16):
            guess = self.decoder.decode(z)
        guess = guess.float()
        l1 = (guess - wanted).abs().mean()
        psnr = -10 * torch.log10((guess.detach() - wanted).square().mean() / 4 + 1e-12)
        return {"loss": l1 + self.recipe.pyramid * pyramid_l1(guess, wanted), "l1": l1, "psnr": psnr}
