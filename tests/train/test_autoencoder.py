from __future__ import annotations

import torch

from pinxit.models.common.vae import AutoencoderKL
from pinxit.train.autoencoder import (
    AutoencoderTask,
    decode_inner,
    encode_inner,
    finish_outer,
    fold_statistics,
    make_outer_encoder_average,
    vae_config,
)
from pinxit.train.recipe import Optimisation, VaeRecipe, VaeShape
from tests.tiny import seeded

SHAPE = VaeShape(channel_mult=(1, 1, 2), z_channels=4)


def _vae() -> AutoencoderKL:
    vae = AutoencoderKL(vae_config(SHAPE))
    seeded(vae)
    return vae


def test_two_stages_are_one_autoencoder() -> None:
    """The inner path at half size is exactly the whole network behind 2x2 averaging."""
    vae = _vae()
    make_outer_encoder_average(vae)
    picture = torch.rand(2, 3, 32, 32) * 2 - 1
    half = torch.nn.functional.avg_pool2d(picture, 2)
    with torch.no_grad():
        whole, inner = vae.encode(picture), encode_inner(vae, half)
        decoded = vae.decode(whole[0])
        staged = finish_outer(vae, decode_inner(vae, whole[0]))
    torch.testing.assert_close(whole[0], inner[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole[1], inner[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(decoded, staged, rtol=0, atol=0)


def test_folding_changes_the_latents_and_not_the_pictures() -> None:
    vae = _vae()
    picture = torch.rand(8, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        before, logvar = vae.encode(picture)
        decoded = vae.decode(before)
        flat = before.transpose(0, 1).flatten(1)
        fold_statistics(vae, flat.mean(dim=1), flat.std(dim=1))
        after, spread = vae.encode(picture)
        again = vae.decode(after)
    flat = after.transpose(0, 1).flatten(1)
    torch.testing.assert_close(flat.mean(dim=1), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(flat.std(dim=1), torch.ones(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(decoded, again, atol=1e-4, rtol=1e-3)
    ratio = (logvar - spread).exp().sqrt() * after / before
    assert bool(torch.isfinite(ratio).all())


def test_stages_train_their_own_part_only() -> None:
    optimisation = Optimisation(steps=1, batch=2, learning_rate=1e-3)

    def pictures(step: int, count: int) -> torch.Tensor:
        return torch.full((count, 3, 64, 64), 50 + step, dtype=torch.uint8)

    trained: dict[str, set[str]] = {}
    for stage in ("inner", "outer", "whole"):
        vae = _vae()
        recipe = VaeRecipe(kind="vae", stage=stage, shape=SHAPE, size=64, optimisation=optimisation)
        task = AutoencoderTask(recipe, vae, pictures)
        terms = task.loss(0)
        terms["loss"].backward()
        assert {"loss", "l1", "psnr"} <= set(terms)
        trained[stage] = {name for name, parameter in vae.named_parameters() if parameter.grad is not None}
    assert not trained["inner"] & trained["outer"]
    assert all(
        name.startswith(("decoder.up.0", "decoder.up.1.upsample", "decoder.norm_out", "decoder.conv_out"))
        for name in trained["outer"]
    )
    assert trained["inner"] | trained["outer"] < trained["whole"]
    assert not any(name.startswith(("encoder.conv_in", "encoder.down.0")) for name in trained["inner"])
