from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.vae import AutoencoderKL
from pinxit.schema.errors import BadInput
from pinxit.train.autoencoder import is_outer_encoder_average, make_outer_encoder_average, vae_config
from pinxit.train.checkpoint import load_state, save_state
from pinxit.train.data.bank import Bank
from pinxit.train.diffusion import Filled, LatentPool, unet_config, with_score
from pinxit.train.latents import Filler, diffusion_task
from pinxit.train.loop import Limits, Trainer
from pinxit.train.recipe import Bucket, DiffusionRecipe, Optimisation, UNetShape
from pinxit.train.workshop import Job
from tests.train.shapes import RECIPES, VAE, trained

WIDE = (Bucket(width=64, height=64, share=3), Bucket(width=128, height=64))


@pytest.fixture(scope="module")
def workshop(drawings: Bank, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("latents"), drawings, "inner", "outer", "text")


def _recipe(**changes: object) -> DiffusionRecipe:
    recipe = RECIPES["unet"].model_copy(update=changes)
    assert isinstance(recipe, DiffusionRecipe)
    return recipe


def _filler(drawings: Bank, *, averages: bool, **changes: object) -> Filler:
    torch.manual_seed(0)
    vae = AutoencoderKL(vae_config(VAE))
    if averages:
        make_outer_encoder_average(vae)
    return Filler(drawings, _recipe(**changes), vae, seed=3, report=lambda _: None)


def _vae_job(drawings: Bank, workshop: Path, recipe: DiffusionRecipe) -> Job:
    return Job(name="unet", recipe=recipe, bank=drawings.folder, workshop=workshop, limits=Limits())


@pytest.mark.parametrize("averages", [True, False])
def test_sizes_are_composed_and_told(drawings: Bank, *, averages: bool) -> None:
    filler = _filler(drawings, averages=averages, buckets=WIDE)
    assert is_outer_encoder_average(filler.vae) is averages
    for at, size in enumerate(((4, 4), (4, 8))):
        filled = filler(0, at, 5)
        assert filled.latents.shape == (5, VAE.z_channels, *size)
        told = [16.0 * size[0], 16.0 * size[1]]
        assert filled.sizes.tolist() == [[*told, 0, 0, *told]] * 5
        assert filled.caption(4, np.random.default_rng(0))
        assert torch.equal(filler(0, at, 5).latents, filled.latents)
        assert not torch.equal(filler(1, at, 5).latents, filled.latents)


@pytest.mark.parametrize("averages", [True, False])
def test_a_cut_out_says_where_it_lay(drawings: Bank, *, averages: bool) -> None:
    filled = _filler(drawings, averages=averages, crop=1.0, buckets=WIDE)(0, 1, 12)
    assert filled.latents.shape == (12, VAE.z_channels, 4, 8)
    original, corner, target = filled.sizes.view(12, 3, 2).unbind(1)
    assert original.tolist() == [[96, 192]] * 12
    assert target.tolist() == [[64, 128]] * 12
    assert bool((corner >= 0).all())
    assert bool((corner <= original - target).all())
    assert len({tuple(place) for place in corner.tolist()}) > 3
    told = with_score(filled.sizes, torch.tensor([True] + [False] * 11))
    assert told[:, :4].tolist() == filled.sizes[:, :4].tolist()
    assert told[:2, 4].tolist() == [2.5, 6.0]


def test_only_a_share_is_cut_out(drawings: Bank) -> None:
    sizes = _filler(drawings, averages=True, crop=0.3)(0, 0, 60).sizes
    assert 8 <= int((sizes[:, 0] > 64).sum()) <= 30


def test_every_process_has_the_same_size_in_a_step() -> None:
    def fill(turn: int, at: int, count: int) -> Filled:
        return Filled(
            latents=torch.full((count, 1), float(at)),
            sizes=torch.zeros(count, 6),
            caption=lambda item, _: f"{at} {item}",
        )

    sizes: list[list[int]] = []
    for rank in range(2):
        pool = LatentPool(fill, [3.0, 1.0], count=40, refresh=1000)
        rng = np.random.default_rng(rank)
        seen: list[Tensor] = [pool.batch(step, 3, rng)[0] for step in range(400)]
        assert all(bool((latents == latents[0]).all()) for latents in seen)
        sizes.append([int(latents[0]) for latents in seen])
    assert sizes[0] == sizes[1]
    assert 60 < sum(sizes[0]) < 140


def test_a_run_of_several_sizes_learns_and_resumes(drawings: Bank, workshop: Path, tmp_path: Path) -> None:
    """Through a file, which forgets how weights and their moments lie in memory."""
    optimisation = Optimisation(steps=6, batch=2, learning_rate=1e-3, warmup=1)
    recipe = _recipe(buckets=WIDE, crop=0.5, refresh=100, optimisation=optimisation)
    job = _vae_job(drawings, workshop, recipe)
    whole, first = (Trainer(diffusion_task(job, recipe, drawings, lambda _: None), optimisation) for _ in range(2))
    for _ in range(4):
        whole.advance()
    for _ in range(2):
        first.advance()
    second = Trainer(diffusion_task(job, recipe, drawings, lambda _: None), optimisation)
    save_state(tmp_path, first.state("x"))
    state = load_state(tmp_path, recipe="x")
    assert state is not None
    second.restore(state)
    for parameter in second.task.networks.parameters():
        assert second.optimizer.state[parameter]["exp_avg"].stride() == parameter.stride()
    for _ in range(2):
        second.advance()
    theirs = second.averaged()
    assert all(torch.equal(value, theirs[name]) for name, value in whole.averaged().items())


def test_sizes_that_cannot_be_halved_are_refused(drawings: Bank, workshop: Path) -> None:
    recipe = _recipe(buckets=(Bucket(width=80, height=64),))
    with pytest.raises(BadInput, match="80 x 64 cannot be halved") as caught:
        diffusion_task(_vae_job(drawings, workshop, recipe), recipe, drawings, lambda _: None)
    assert "multiples of 32" in caught.value.hint


def test_widths_between_multiples() -> None:
    shape = UNetShape(model_channels=64, channel_mult=(1, 2.5), transformer_depth=(0, 1), size_embedding=8)
    config = unet_config(shape, z_channels=4, text_width=32)
    assert config.widths == (64, 160)
    network: nn.Module = UNet(config)
    assert network.get_parameter("input_blocks.3.0.out_layers.3.weight").shape[0] == 160
