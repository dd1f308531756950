"""Previews: what every step brings when asked, and that the picture does not know of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pinxit.engine.preview import BESIDE, TINY, preview_of
from pinxit.models.contract import LatentSpec
from pinxit.models.kinds import About
from pinxit.models.taesd.config import TinyConfig
from pinxit.models.taesd.network import TinyAutoencoder
from pinxit.schema.errors import Missing
from pinxit.schema.events import Event, ImageReady, Stepped
from pinxit.schema.request import GenerationRequest
from pinxit.studio import Studio
from pinxit.studio.library import Library
from pinxit.weights.save import save_tensors
from tests.tiny import make_pinxit

REQUEST = GenerationRequest(prompt="a cat", seed=1, steps=3)


@pytest.fixture(scope="module")
def decoder() -> TinyAutoencoder:
    """Latents of eight channels at f4, shown at half size."""
    torch.manual_seed(0)
    latent = LatentSpec(channels=8, downscale=2)
    return TinyAutoencoder(
        TinyConfig(about=About(), latent=latent, channels=4, encoder=(), decoder=(1, 1), assumed=False)
    )


@pytest.fixture(scope="module")
def studio(decoder: TinyAutoencoder, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = make_pinxit(tmp_path_factory.mktemp("models") / "pinxit")
    (folder / BESIDE).parent.mkdir()
    save_tensors(dict(decoder.state_dict()), folder / BESIDE)
    return Studio(library=Library([], builtin=folder))


def _painted(studio: Studio, *, previews: bool) -> list[Event]:
    return list(studio.paint(REQUEST, previews=previews))


def test_every_step_brings_a_picture_of_half_the_size(studio: Studio) -> None:
    steps = [event for event in _painted(studio, previews=True) if isinstance(event, Stepped)]
    sizes = [event.preview.size for event in steps if event.preview is not None]
    assert sizes == [(32, 32)] * 3
    assert "preview" not in steps[0].to_json()


def test_previews_change_nothing_about_the_picture(studio: Studio) -> None:
    with_them, without = (_painted(studio, previews=previews) for previews in (True, False))
    assert all(event.preview is None for event in without if isinstance(event, Stepped))
    first, second = (
        next(event for event in events if isinstance(event, ImageReady)) for events in (with_them, without)
    )
    assert first.pixels_sha256 == second.pixels_sha256


def test_a_preview_is_what_the_tiny_decoder_says(studio: Studio, decoder: TinyAutoencoder) -> None:
    show = preview_of(studio.plan(REQUEST).resolved, studio.catalog.kinds.get(TINY))
    z = torch.randn(1, 8, 6, 5)
    with torch.no_grad():
        wanted = (decoder.decode(z)[0] * 127.5 + 127.5).round().clamp(0, 255)
    shown = torch.tensor(list(show(z).get_flattened_data())).view(12, 10, 3).permute(2, 0, 1)
    assert show(z).size == (10, 12)
    assert (shown - wanted).abs().max() <= 1


def test_a_model_without_one_says_so(tmp_path: Path) -> None:
    studio = Studio(library=Library([], builtin=make_pinxit(tmp_path / "pinxit")))
    with pytest.raises(Missing, match="brings no decoder for previews") as caught:
        _painted(studio, previews=True)
    assert "preview/preview.safetensors" in caught.value.hint
