"""Training the U-Net, and with it the text encoder, on latents of composed pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from pinxit.engine.stages import NEGATIVE_SCORE, SCORE
from pinxit.models.common.clip import ClipText
from pinxit.models.common.configs import UNetConfig
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.pinxit.config import REFINER_SIZES, SIZES
from pinxit.prompts.tokenizer import ClipTokenizer
from pinxit.train.computing import Computing, onto
from pinxit.train.conditioning import added_embedding, token_rows
from pinxit.train.objective import TIMESTEPS, draw_timesteps, loss_weight, noised, zero_terminal_abar
from pinxit.train.recipe import DiffusionRecipe, RefinerRecipe, UNetShape

LOSS_BINS = 5
_SIZES_KEY = 1 << 41


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """Composed pictures of one size: latents [N,z,h,w], what is told of their sizes [N,6], and a caption for each."""

    latents: Tensor
    sizes: Tensor
    caption: Callable[[int, np.random.Generator], str]


class LatentPool:
    """Composed pictures as latents, by their size, with what each shows; composed anew every `refresh` steps.

    `fill(round, size, count)` composes for the size of that number, each size in its share of `count`. All samples of
    a step have one size, which is drawn by `shares`: the same one in every process, whose `seed` is their recipe's.
    """

    def __init__(
        self,
        fill: Callable[[int, int, int], Filled],
        shares: Sequence[float] = (1.0,),
        *,
        count: int,
        refresh: int,
        seed: int = 0,
    ) -> None:
        self.fill = fill
        self.shares = np.asarray(shares, np.float64) / sum(shares)
        self.count = count
        self.refresh = refresh
        self.seed = seed
        self._round = -1

    def batch(self, step: int, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, list[str]]:
        if (turn := step // self.refresh) != self._round:
            counts = [max(1, round(self.count * share)) for share in self.shares]
            self._filled = [self.fill(turn, at, some) for at, some in enumerate(counts)]
            self._round = turn
        filled = self._filled[self._size(step)]
        items = rng.integers(0, len(filled.latents), size=count)
        captions = [filled.caption(int(item), rng) for item in items]
        chosen = torch.from_numpy(items)
        return filled.latents[chosen.to(filled.latents.device)], filled.sizes[chosen], captions

    def _size(self, step: int) -> int:
        draw = np.random.Generator(np.random.Philox(key=[self.seed, _SIZES_KEY + step])).random()
        return int(np.searchsorted(np.cumsum(self.shares[:-1]), draw, side="right"))


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
        computing: Computing,
    ) -> None:
        self.recipe = recipe
        self.tokenizer = tokenizer
        self.pool = pool
        self.seed = seed
        self.computing = computing
        self.abar = zero_terminal_abar()
        self.below = recipe.below if isinstance(recipe, RefinerRecipe) else TIMESTEPS
        self.networks = nn.ModuleDict({"unet": unet, "text": text})
        self._unet = computing.ready(unet)
        self._next: _Batch | None = None

    def like(
        self, recipe: DiffusionRecipe | RefinerRecipe, networks: nn.ModuleDict, computing: Computing
    ) -> DiffusionTask:
        """The same task with other networks of its shape, learned in another way."""
        unet, text = cast(UNet, networks["unet"]), cast(ClipText, networks["text"])
        return DiffusionTask(recipe, unet, text, self.tokenizer, self.pool, seed=self.seed, computing=computing)

    def learning_rates(self, step: int) -> Mapping[str, float]:
        last = 0 if isinstance(self.recipe, RefinerRecipe) else self.recipe.freeze_text
        frozen = last is not None and step >= last
        return {"text": 0.0 if frozen else self.recipe.text_rate}

    def loss(self, step: int) -> Mapping[str, Tensor]:
        recipe, batch = self.recipe, self._next
        if batch is None or batch.step != step:
            batch = self._batch(step)
        abar = self.abar[batch.t]
        device = batch.z.device
        x, velocity = noised(batch.z, batch.noise, onto(abar, device))
        with self.computing.autocast(device):
            states = self.networks["text"](onto(batch.ids, device))
            y = added_embedding(states.projected, onto(batch.sizes, device), recipe.shape.size_embedding)
            x = x.contiguous(memory_format=self.computing.layout)
            guess = self._unet(x, onto(batch.t.float(), device), states.hidden[-2], y)
        error = (guess.float() - velocity).square().mean(dim=(1, 2, 3))
        loss = (error * onto(loss_weight(abar).float(), device)).mean()
        if device.type == "cuda" and step + 1 < recipe.optimisation.steps:
            self._next = self._batch(step + 1)  # while the GPU still computes
        return {"loss": loss, **_by_noise_level(error.detach(), batch.t * LOSS_BINS // self.below)}

    def _batch(self, step: int) -> _Batch:
        """What `step` learns from, a function of (seed, step) alone."""
        recipe = self.recipe
        count = recipe.optimisation.batch
        rng = np.random.Generator(np.random.Philox(key=[self.seed, step]))
        z, sizes, captions = self.pool.batch(step, count, rng)
        dropped = rng.random(count) < recipe.drop_caption
        words: Sequence[str] = ["" if gone else caption for gone, caption in zip(dropped, captions, strict=True)]
        if isinstance(recipe, RefinerRecipe):
            sizes = with_score(sizes, torch.from_numpy(dropped))
        seed = int(rng.integers(2**62))
        generator = torch.Generator().manual_seed(seed)
        t = draw_timesteps(count, terminal=recipe.terminal, lean=recipe.lean, below=self.below, generator=generator)
        if (device := next(self.networks.parameters()).device).type != "cpu":
            generator = torch.Generator(device).manual_seed(seed)
        noise = torch.randn(z.shape, generator=generator, device=device)
        ids = token_rows(self.tokenizer, words)
        return _Batch(step=step, z=z.to(device), noise=noise, t=t, sizes=sizes, ids=ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """The samples of one step: latents and noise [B,z,h,w] on the networks' device, the rest on the processor."""

    step: int
    z: Tensor
    noise: Tensor
    t: Tensor
    sizes: Tensor
    ids: Tensor


def with_score(sizes: Tensor, dropped: Tensor) -> Tensor:
    """What a refiner is told [B,5] in place of all six sizes: four of them and the score, low where the caption is
    dropped, as the engine tells it of the negative prompt.
    """
    score = torch.where(dropped, NEGATIVE_SCORE, SCORE).to(sizes.dtype)
    return torch.cat([sizes[:, : REFINER_SIZES - 1], score[:, None]], dim=1)


def _by_noise_level(error: Tensor, fifth: Tensor) -> dict[str, Tensor]:
    """The mean error in each fifth of the timesteps, for the log; a fifth without samples reports the batch's mean."""
    return {
        f"error_{number}": (error[onto(here, error.device)] if len(here) else error).mean()
        for number in range(LOSS_BINS)
        for here in [torch.nonzero(fifth == number)[:, 0]]
    }
