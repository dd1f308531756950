"""The x4 upscaler: what it is told beside the text, its own noise table, and what it says when asked to paint."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pinxit.models.common.configs import VaeConfig
from pinxit.models.upscale4.config import config_from
from pinxit.models.upscale4.family import FAMILY, noise_levels
from pinxit.models.upscale4.layout import LAYOUTS
from pinxit.sampling.denoiser import Conditioning
from pinxit.schema.errors import ModelError
from pinxit.weights.folder import read_model
from pinxit.weights.identify import identify
from pinxit.weights.load import load_into
from tests.easel import Easels
from tests.weights.files import header_of, manifest


def test_the_public_file() -> None:
    match = identify(header_of(manifest("x4-upscaler")), LAYOUTS)
    config = config_from(match)
    assert config.unet.channel_mult == (1, 2, 2, 4)
    assert (config.unet.model_channels, config.unet.num_classes, config.unet.num_heads) == (256, 1000, 8)
    assert config.unet.disable_self_attention == (False, True, True, False)
    assert config.vae == VaeConfig(channel_mult=(1, 2, 4))
    facts = FAMILY.facts(config)
    assert (facts.latent.downscale, facts.latent.scale) == (4, 0.08333)
    assert (facts.prediction, facts.evidence) == ("velocity", "the x4 upscaler predicts velocity")
    assert match.dropped["low_scale_model.betas"] == "noise schedule of the small picture: computed"


def test_its_noise_levels_are_its_own() -> None:
    betas = np.linspace(1e-4**0.5, 2e-2**0.5, 1000) ** 2
    abar = np.cumprod(1 - betas)
    assert np.allclose(noise_levels(), np.sqrt((1 - abar) / abar))
    assert FAMILY.facts(config_from(identify(header_of(manifest("x4-upscaler")), LAYOUTS))).process.sigma_max > 30


def test_it_says_what_it_needs(easels: Easels) -> None:
    easel = easels("upscale4")
    with pytest.raises(ModelError) as raised:
        easel.resolve()
    assert str(raised.value) == (
        "upscale4 cannot paint from a prompt alone: the x4 upscaler needs a small picture. Choose another model."
    )


def test_the_network_takes_the_small_picture_and_its_noise(easels: Easels) -> None:
    match = identify(read_model(easels.model("upscale4")), LAYOUTS)
    config = config_from(match)
    assert config.unet.disable_self_attention == (False, True, False)
    with torch.device("meta"):
        unet = FAMILY.build(config, "unet")
    load_into(unet, match, "unet", dtype=torch.float32)
    network = FAMILY.network(config, unet.eval())
    x, tokens, picture = torch.zeros(2, 4, 8, 12), torch.zeros(1, 77, 64), torch.rand(1, 3, 8, 12)
    with torch.inference_mode():
        told = Conditioning(tokens=tokens, concat=picture, noise_level=20)
        out = network(x, 500.0, told)
        more = network(x, 500.0, Conditioning(tokens=tokens, concat=picture, noise_level=300))
        assert (out.shape, out.dtype) == (x.shape, torch.float32)
        assert not torch.allclose(out, more)
        with pytest.raises(ValueError, match="this U-Net needs 7 channels, it was given 4"):
            network(x, 500.0, Conditioning(tokens=tokens, noise_level=20))
        with pytest.raises(ValueError, match="needs the noise level of the picture"):
            network(x, 500.0, Conditioning(tokens=tokens, concat=picture))
        with pytest.raises(ValueError, match="needs token vectors"):
            network(x, 500.0, Conditioning(concat=picture))
