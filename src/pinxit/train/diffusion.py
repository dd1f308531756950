"""Training the U-Net, and with it the text encoder, on latents of composed pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pinxit.engine.stages import NEGATIVE_SCORE, SCORE
from pinxit.models.common.clip import ClipText
from pinxit.models.common.configs import UNetConfig
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.pinxit.config import REFINER_SIZES, SIZES
from pinxit.prompts.tokenizer import ClipTokenizer
from pinxit.train.conditioning import added_embedding, token_rows
from pinxit.train.objective import TIMESTEPS, draw_timesteps, loss_weight, noised, zero_terminal_abar
from pinxit.train.recipe import DiffusionRecipe, RefinerRecipe, UNetShape

LOSS_BINS = 5


class LatentPool:
    """Composed pictures as latents, with what each shows; composed anew every `refresh` steps.

    `fill(round, count)` gives latents [count,z,h,w], sizes [count,6] and a caption function `(item, rng) -> str`.
    """

    def __init__(
        self,
        fill: Callable[[int, int], tuple[Tensor, Tensor, Callable[[int, np.random.Generator], str]]],
        *,
        count: int,
        refresh: int,
    ) -> None:
        self.fill = fill
        self.count = count
        self.refresh = refresh
        self._round = -1

    def batch(self, step: int, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, list[str]]:
        if (turn := step // self.refresh) != self._round:
            self._latents, self._sizes, self._caption = self.fill(turn, self.count)
            self._round = turn
        items = rng.integers(0, len(self._latents), size=count)
        captions = [self._caption(int(item), rng) for item in items]
        chosen = torch.from_numpy(items)
        return self._latents[chosen].float(), self._sizes[chosen], captions


def unet_config(shape: UNetShape, *, z_channels: int, text_width: int, sizes: int = SIZES) -> UNetConfig:
    """The U-Net of a recipe, which is told `sizes` numbers beside the text."""
    return UNetConfig(
        in_channels=z_channels,
        out_channels=z_channels,
        model_channels=shape.model_channels,
        channel_mult=shape.channel_mult,
        num_res_blocks=(shape.num_res_blocks,) * len(shape.channel_mult),
        transformer_depth=shape.transformer_depth,
        transformer_depth_middle=shape.transformer_depth[-1],
        transformer_depth_output=shape.transformer_depth,
        context_dim=text_width,
        head_width=shape.head_width,
        linear_projections=True,
        adm_in_channels=text_width + sizes * shape.size_embedding,
    )


class DiffusionTask:
    """Predict velocity from noisy latents, captions and sizes."""

    def __init__(
        self,
        recipe: DiffusionRecipe | RefinerRecipe,
        unet: UNet,
        text: ClipText,
        tokenizer: ClipTokenizer,
        pool: LatentPool,
        *,
        seed: int,
    ) -> None:
        self.recipe = recipe
        self.tokenizer = tokenizer
        self.pool = pool
        self.seed = seed
        self.abar = zero_terminal_abar()
        self.below = recipe.below if isinstance(recipe, RefinerRecipe) else TIMESTEPS
        self.networks = nn.ModuleDict({"unet": unet, "text": text})
        self.networks.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's overloads omit this form

    def learning_rates(self, step: int) -> Mapping[str, float]:
        last = 0 if isinstance(self.recipe, RefinerRecipe) else self.recipe.freeze_text
        frozen = last is not None and step >= last
        return {"text": 0.0 if frozen else self.recipe.text_rate}

    def loss(self, step: int) -> Mapping[str, Tensor]:
        recipe = self.recipe
        count = recipe.optimisation.batch
        rng = np.random.Generator(np.random.Philox(key=[self.seed, step]))
        z, sizes, captions = self.pool.batch(step, count, rng)
        dropped = rng.random(count) < recipe.drop_caption
        words: Sequence[str] = ["" if gone else caption for gone, caption in zip(dropped, captions, strict=True)]
        if isinstance(recipe, RefinerRecipe):
            sizes = with_score(sizes, torch.from_numpy(dropped))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        unet, text = self.networks["unet"], self.networks["text"]
        device = next(unet.parameters()).device
        t = draw_timesteps(count, terminal=recipe.terminal, lean=recipe.lean, below=self.below, generator=generator)
        abar = self.abar[t].to(device)
        noise = torch.randn(z.shape, generator=generator).to(device)
        x, velocity = noised(z.to(device), noise, abar)
        t, sizes = t.to(device), sizes.to(device)
        ids = token_rows(self.tokenizer, words).to(device)
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            states = text(ids)
            y = added_embedding(states.projected, sizes, recipe.shape.size_embedding)
            x = x.contiguous(memory_format=torch.channels_last)
            guess = unet(x, t.float(), states.hidden[-2], y)
        error = (guess.float() - velocity).square().mean(dim=(1, 2, 3))
        loss = (error * loss_weight(abar).float()).mean()
        return {"loss": loss, **_by_noise_level(error.detach(), t, self.below)}


def with_score(sizes: Tensor, dropped: Tensor) -> Tensor:
    """What a refiner is told [B,5] in place of all six sizes: four of them and the score, low where the caption is
    dropped, as the engine tells it of the negative prompt.
    """
    score = torch.where(dropped, NEGATIVE_SCORE, SCORE).to(sizes.dtype)
    return torch.cat([sizes[:, : REFINER_SIZES - 1], score[:, None]], dim=1)


def _by_noise_level(error: Tensor, t: Tensor, below: int) -> dict[str, Tensor]:
    """The mean error in each fifth of the timesteps, for the log; a fifth without samples reports the batch's mean."""
    fifth = t * LOSS_BINS // below
    return {
        f"error_{number}": error[fifth == number].mean() if bool((fifth == number).any()) else error.mean()
        for number in range(LOSS_BINS)
    }
