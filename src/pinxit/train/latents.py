"""Runs on latents: the U-Net, or a second one that refines, with the composed pictures that they learn from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.vae import AutoencoderKL
from pinxit.models.pinxit.config import REFINER_SIZES, SIZES
from pinxit.schema.errors import BadInput
from pinxit.train.autoencoder import encode_inner, is_outer_encoder_average, on_device
from pinxit.train.data.bank import Bank
from pinxit.train.data.captions import caption
from pinxit.train.data.composition import Composer
from pinxit.train.data.facts import SceneFacts
from pinxit.train.diffusion import DiffusionTask, Filled, LatentPool, unet_config
from pinxit.train.extras import base_unet
from pinxit.train.loop import Summary
from pinxit.train.recipe import Bucket, DiffusionRecipe, OnLatents, RefinerRecipe
from pinxit.train.samples import SAMPLES, Sampler
from pinxit.train.words import composer, load_text
from pinxit.train.workshop import Job, Report, begin_with, load_vae, needed, save_component, train_averaged

ENCODE_BATCH = 32
REFINER = "refiner"
"""What the second U-Net is called in a workshop."""
ADDED = "label_emb.0.0.weight"
"""What reads the pooled text and the sizes."""
ZOOM = 1.5
"""How much larger than its cut-out a picture is that is cropped."""


def run_diffusion(job: Job, recipe: DiffusionRecipe | RefinerRecipe, bank: Bank, report: Report) -> Summary:
    """Train the U-Net, or a second one that refines, on the workshop's autoencoder and text encoder."""
    task = diffusion_task(job, recipe, bank, report)
    paint = sampler(job, recipe, task, bank) if job.limits.samples_every else None
    summary = train_averaged(job, task, report, paint)
    if recipe.estimate and job.device.type == "cuda":
        report(f"measured {summary.rate:.0f} samples per second, where {recipe.estimate:.0f} were expected of a GPU")
    if job.workers.rank == 0:
        name = "unet"
        if isinstance(recipe, RefinerRecipe):
            name = REFINER
        else:
            save_component(job.workshop, "text", task.networks["text"], {"size": recipe.size})
        save_component(job.workshop, name, task.networks["unet"], {name: recipe.shape.model_dump(mode="json")})
    return summary


def diffusion_task(job: Job, recipe: DiffusionRecipe | RefinerRecipe, bank: Bank, report: Report) -> DiffusionTask:
    """What a run on latents trains, on the job's device. Raises BadInput for sizes that the networks cannot halve."""
    refines = isinstance(recipe, RefinerRecipe)
    vae = load_vae(job.workshop).to(job.device)
    text, tokenizer = load_text(job.workshop)
    config = unet_config(
        recipe.shape,
        z_channels=vae.config.z_channels,
        text_width=text.config.width,
        sizes=REFINER_SIZES if refines else SIZES,
    )
    _check_sizes(recipe, vae.downscale * 2 ** (len(recipe.shape.channel_mult) - 1))
    torch.manual_seed(recipe.optimisation.seed)
    unet = UNet(config, dropout=recipe.dropout)
    if refines:
        first = load_file(needed(job.workshop, "unet"))
        first[ADDED] = first[ADDED][:, : -(SIZES - REFINER_SIZES + 1) * recipe.shape.size_embedding]  # no score there
        begin_as(unet, first)
    begin_with(job.workshop, REFINER if refines else "unet", unet, recipe.shape)
    pool = LatentPool(
        Filler(bank, recipe, vae, seed=job.seed, report=report),
        [bucket.share for bucket in recipe.sizes],
        count=recipe.pool,
        refresh=recipe.refresh,
        seed=recipe.optimisation.seed,
    )
    for network in (unet, text):
        network.to(job.device)
    return DiffusionTask(recipe, unet, text, tokenizer, pool, seed=job.seed, computing=job.computing)


def sampler(job: Job, recipe: DiffusionRecipe | RefinerRecipe, task: DiffusionTask, bank: Bank) -> Sampler:
    """Sample grids of a run: prompts such as its captions, the same for every run of the recipe."""
    scenes, rng = composer(bank, recipe.data, recipe.composing, size=16), np.random.default_rng(0)
    return Sampler(
        task.networks,
        load_vae(job.workshop).to(job.device),
        task.tokenizer,
        [caption(scenes.compose(rng)[1], rng) for _ in range(SAMPLES)],
        size=(recipe.size, recipe.size),
        size_embedding=recipe.shape.size_embedding,
        base=base_unet(job.workshop).to(job.device) if isinstance(recipe, RefinerRecipe) else None,
        below=task.below,
    )


def _check_sizes(recipe: OnLatents, step: int) -> None:
    for bucket in recipe.sizes:
        if bucket.width % step or bucket.height % step:
            raise BadInput(
                f"Pictures of {bucket.width} x {bucket.height} cannot be halved often enough for these networks.",
                hint=f"Give sizes that are multiples of {step}.",
            )


@torch.no_grad()
def begin_as(network: torch.nn.Module, state: Mapping[str, Tensor]) -> None:
    """Take over what fits of another network's weights; of one that differs in its inputs, those that both have.

    Inputs that the other network lacks begin as ignored.
    """
    for name, parameter in network.named_parameters():
        theirs = state.get(name)
        if theirs is None or theirs.shape[:1] != parameter.shape[:1] or theirs.shape[2:] != parameter.shape[2:]:
            continue
        if theirs.shape == parameter.shape:
            parameter.copy_(theirs)
        else:
            shared = min(theirs.shape[1], parameter.shape[1])
            parameter.zero_()
            parameter[:, :shared] = theirs[:, :shared]


class Filler:
    """Composes pictures of each of a recipe's sizes and encodes them, for a LatentPool.

    Where the autoencoder only averages on its outermost level, pictures are composed at half their size.
    """

    def __init__(self, bank: Bank, recipe: OnLatents, vae: AutoencoderKL, *, seed: int, report: Report) -> None:
        self.recipe = recipe
        self.vae = vae
        self.seed = seed
        self.report = report
        self.smaller = 2 if is_outer_encoder_average(vae) else 1
        self.whole = [self._composer(bank, bucket, 1.0) for bucket in recipe.sizes]
        self.larger = [self._composer(bank, bucket, ZOOM) for bucket in recipe.sizes if recipe.crop]

    def _composer(self, bank: Bank, bucket: Bucket, zoom: float) -> Composer:
        width, height = (round(side / self.smaller * zoom) for side in (bucket.width, bucket.height))
        return composer(bank, self.recipe.data, self.recipe.composing, size=(width, height))

    def __call__(self, turn: int, at: int, count: int) -> Filled:
        """`count` pictures of the size number `at`: always the same for the same `turn`."""
        rng = np.random.Generator(np.random.Philox(key=[self.seed, 1_000_000 + turn + (at << 32)]))
        latents: list[Tensor] = []
        sizes: list[tuple[int, ...]] = []
        facts: list[SceneFacts] = []
        for start in range(0, count, ENCODE_BATCH):
            pictures: list[NDArray[np.uint8]] = []
            for _ in range(min(ENCODE_BATCH, count - start)):
                picture, shown, told = self._compose(at, rng)
                pictures.append(picture.transpose(2, 0, 1))
                facts.append(shown)
                sizes.append(told)
            latents.append(self._encode(torch.from_numpy(np.stack(pictures))))
        bucket = self.recipe.sizes[at]
        self.report(f"composed {count} pictures of {bucket.width} x {bucket.height}")
        told = torch.tensor(sizes).float()
        return Filled(latents=torch.cat(latents), sizes=told, caption=lambda item, draw: caption(facts[item], draw))

    def _compose(self, at: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], SceneFacts, tuple[int, ...]]:
        """A picture [H, W, 3], its facts, and what SDXL is told of it: original size, crop (top, left), target size."""
        bucket, crop = self.recipe.sizes[at], self.recipe.crop
        size = (bucket.height, bucket.width)
        if not crop or rng.random() >= crop:
            return *self.whole[at].compose(rng), (*size, 0, 0, *size)
        picture, facts = self.larger[at].compose(rng)
        height, width = self.whole[at].height, self.whole[at].width
        left, top, right, bottom = facts.objects[int(rng.integers(len(facts.objects)))].box
        original = picture.shape[:2]
        corner = [
            min(max(round(middle * whole - part / 2 + rng.uniform(-0.2, 0.2) * part), 0), whole - part)
            for middle, whole, part in (
                ((top + bottom) / 2, original[0], height),
                ((left + right) / 2, original[1], width),
            )
        ]
        window = picture[corner[0] : corner[0] + height, corner[1] : corner[1] + width]
        return window, facts, (*(self.smaller * pixels for pixels in (*original, *corner)), *size)

    @torch.no_grad()
    def _encode(self, pictures: Tensor) -> Tensor:
        """Latent means, float32, where the autoencoder is, of composed uint8 pictures [B, 3, H, W]."""
        x = on_device(pictures, self.vae)
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            mean, _ = encode_inner(self.vae, x) if self.smaller == 2 else self.vae.encode(x)
        return mean.float()
