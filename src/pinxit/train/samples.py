"""Sample grids while a U-Net trains: always the same prompts and seeds, painted from the averaged weights.

They are painted as the model is used: DPM++ 2M, 16 steps, guidance in its interval. Nothing is drawn from a global
generator and no trained network is touched, so a run with samples ends with the same bytes as one without.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.vae import AutoencoderKL
from pinxit.prompts.tokenizer import ClipTokenizer
from pinxit.train.conditioning import added_embedding, token_rows
from pinxit.train.diffusion import with_score
from pinxit.train.distillation import Grid, Teacher, Told, guided_model
from pinxit.train.objective import TIMESTEPS
from pinxit.train.recipe import Guidance

SAMPLES, COLUMNS = 16, 4
STEPS = 16


class Sampler:
    """Paints a grid of `prompts`, each with its own seed, at `size` (width, height).

    Where the trained U-Net is a refiner, `base` paints the steps from timestep `below` on.
    """

    def __init__(
        self,
        networks: nn.ModuleDict,
        vae: AutoencoderKL,
        tokenizer: ClipTokenizer,
        prompts: Sequence[str],
        *,
        size: tuple[int, int],
        size_embedding: int,
        base: UNet | None = None,
        below: int = TIMESTEPS,
    ) -> None:
        self.networks = networks
        self.vae = vae
        self.tokenizer = tokenizer
        self.prompts = tuple(prompts)
        self.size = size
        self.size_embedding = size_embedding
        self.base = None if base is None else base.to(torch.bfloat16)
        self.below = below
        self.grid = Grid.of(STEPS, STEPS)

    @torch.no_grad()
    def __call__(self, average: Mapping[str, Tensor]) -> Image.Image:
        networks = copy.deepcopy(self.networks).requires_grad_(False).eval()
        for name, parameter in networks.named_parameters():
            parameter.copy_(average[name])
        unet, text = networks["unet"].to(torch.bfloat16), networks["text"]
        width, height = self.size
        shape = (self.vae.config.z_channels, height // self.vae.downscale, width // self.vae.downscale)
        pictures: list[Tensor] = []
        for start in range(0, len(self.prompts), COLUMNS):
            prompts = self.prompts[start : start + COLUMNS]
            noise = torch.stack(
                [torch.randn(shape, generator=torch.Generator().manual_seed(start + at)) for at in range(len(prompts))]
            )
            pictures.append(self._painted(unet, text, prompts, noise))
        return tiled(torch.cat(pictures))

    def _painted(self, unet: nn.Module, text: nn.Module, prompts: Sequence[str], noise: Tensor) -> Tensor:
        device, handed = self.vae.quant_conv.weight.device, self._handed()
        z = noise.to(device) * self.grid.levels[0]
        spans: list[tuple[nn.Module, bool, int, int]] = [(unet, self.base is not None, handed, self.grid.steps)]
        if self.base is not None and handed:
            spans.insert(0, (self.base, False, 0, handed))
        for network, refines, start, end in spans:
            told, nothing = (self._told(text, words, refines) for words in (prompts, [""]))
            teacher = Teacher(guided_model(network, Guidance(), nothing, self.grid), self.grid, multistep=True)
            z = teacher.path(z, told, start, end - start)[-1]
        with torch.autocast(device.type, dtype=torch.bfloat16):
            return self.vae.decode(z).float().clamp(-1, 1).cpu()

    def _handed(self) -> int:
        """The step from which the trained network paints: all of them, unless it is a refiner."""
        times = [self.grid.process.timestep(level) for level in self.grid.levels[:-1]]
        return next(at for at, time in enumerate(times) if time < self.below)

    def _told(self, text: nn.Module, prompts: Sequence[str], refines: bool) -> Told:
        device = self.vae.quant_conv.weight.device
        with torch.autocast(device.type, dtype=torch.bfloat16):
            states = text(token_rows(self.tokenizer, prompts).to(device))
        width, height = self.size
        sizes = torch.tensor([[height, width, 0, 0, height, width]]).float().expand(len(prompts), -1)
        if refines:
            sizes = with_score(sizes, torch.tensor([not prompt for prompt in prompts]))
        added = added_embedding(states.projected.float(), sizes.to(device), self.size_embedding)
        return states.hidden[-2].to(torch.bfloat16), added


def tiled(pictures: Tensor) -> Image.Image:
    """Pictures [N,3,H,W] in -1..1 as a grid of `COLUMNS` columns."""
    count, _, height, width = pictures.shape
    rows = -(-count // COLUMNS)
    sheet = np.zeros((rows * height, COLUMNS * width, 3), np.uint8)
    for at, picture in enumerate(((pictures + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()):
        top, left = at // COLUMNS * height, at % COLUMNS * width
        sheet[top : top + height, left : left + width] = picture
    return Image.fromarray(sheet)
