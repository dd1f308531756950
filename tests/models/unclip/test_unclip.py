"""unCLIP: its parts, what it is told about a picture, and that it paints without one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pinxit.models.common.clip_vision import ClipVision
from pinxit.models.common.conditioned import conditioned_network
from pinxit.models.unclip.config import config_from
from pinxit.models.unclip.layout import LAYOUTS
from pinxit.models.unclip.network import ImageNormalizer, augmentation_abar
from pinxit.nn import sinusoidal
from pinxit.sampling.denoiser import Conditioning
from pinxit.schema.errors import UnknownModelFormat
from pinxit.weights.identify import identify
from tests.easel import Easels
from tests.models.derived_sd import unclip
from tests.weights.files import header_of, manifest


@pytest.mark.parametrize(("variant", "activation", "width"), [("l", "quick_gelu", 768), ("h", "gelu", 1024)])
def test_the_image_tower_and_its_statistics_are_parts(variant: str, activation: str, width: int) -> None:
    match = identify(header_of(unclip(variant)), LAYOUTS)
    config = config_from(match)
    assert (config.variant, config.embedding, config.unet.adm_in_channels) == (variant, width, 2 * width)
    assert config.image_encoder is not None
    assert (config.image_encoder.activation, config.image_encoder.projection) == (activation, width)
    assert config.normalizer == (1, width)
    reasons = {match.dropped[name] for name in ("embedder.model.token_embedding.weight", "noise_augmentor.betas")}
    assert reasons == {"text half of the image encoder's CLIP", "noise schedule of the augmentation: computed"}
    assert config.prediction.evidence == "SD 2.1 unCLIP predicts velocity"


def test_sdxl_is_no_unclip() -> None:
    with pytest.raises(UnknownModelFormat, match=r"unclip \(attention at the largest size: 0, not 1\)"):
        identify(header_of(manifest("sdxl-refiner")), LAYOUTS)


def test_the_augmentation_follows_its_formula() -> None:
    width, level = 6, 640
    normalizer = ImageNormalizer((1, width))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        normalizer.mean.copy_(torch.randn(1, width, generator=generator))
        normalizer.std.copy_(torch.rand(1, width, generator=generator) + 0.5)
    embedding, eps = torch.randn(2, width, generator=generator), torch.randn(2, width, generator=generator)
    with torch.no_grad():
        vector = normalizer.vector(embedding, level, eps)
    steps = np.arange(level + 1)
    abar = np.prod(1 - np.minimum(1 - _level((steps + 1) / 1000) / _level(steps / 1000), 0.999))
    assert augmentation_abar()[level] == pytest.approx(abar)
    mean, std = normalizer.mean.detach(), normalizer.std.detach()
    noised = (abar**0.5 * (embedding - mean) / std + (1 - abar) ** 0.5 * eps) * std + mean
    assert torch.allclose(vector[:, :width], noised, atol=1e-6)
    assert torch.equal(vector[:, width:], sinusoidal(torch.tensor([level, level]), width))
    with torch.no_grad():
        plain = ImageNormalizer((1, width)).vector(embedding, 0, torch.zeros_like(eps))
    assert torch.allclose(plain[:, :width], augmentation_abar()[0] ** 0.5 * embedding)


def _level(t: np.ndarray) -> np.ndarray:
    return np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2


def test_it_sees_pictures_and_paints_without(easels: Easels) -> None:
    easel = easels("unclip")
    resolved = easel.resolve()
    assert {"image_encoder", "image_normalizer"} <= set(resolved.facts.components)
    assert (resolved.facts.prediction, resolved.facts.can_paint) == ("velocity", "")
    tower = easel.residency.network(resolved, "image_encoder")
    normalizer = easel.residency.network(resolved, "image_normalizer")
    assert isinstance(tower, ClipVision)
    assert isinstance(normalizer, ImageNormalizer)
    network = conditioned_network(resolved.config, easel.residency.network(resolved, "unet"))
    tokens, x = torch.zeros(1, 77, 64), torch.zeros(2, 4, 8, 8)
    with torch.inference_mode():
        seen = tower(torch.zeros(1, 3, 64, 64)).embedded
        assert seen is not None
        told = normalizer.vector(seen, 0, torch.zeros_like(seen))
        without = network(x, 500.0, Conditioning(tokens=tokens))
        nothing = network(x, 500.0, Conditioning(tokens=tokens, pooled=torch.zeros(1, 64)))
        varied = network(x, 500.0, Conditioning(tokens=tokens, pooled=told))
    assert torch.equal(without, nothing)
    assert not torch.allclose(without, varied)
    assert len(easel.paint()) == 1
