from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pinxit.models.taesd.config import TinyConfig, config_from
from pinxit.models.taesd.kind import KIND
from pinxit.models.taesd.layout import DIFFUSERS, FOLDER, LAYOUTS, OURS, WHOLE
from pinxit.models.taesd.network import TinyAutoencoder
from pinxit.schema.errors import BadModelFile
from pinxit.weights.folder import read_model
from pinxit.weights.identify import identify
from pinxit.weights.layout import Layout, View
from tests.models.derived_kinds import DERIVED, Shapes, tiny, tiny_decoder, tiny_encoder
from tests.models.kind_files import found_in, golden_state, loaded, written
from tests.weights.files import header_of, sparse_file


def config(shapes: Shapes) -> TinyConfig:
    return config_from(identify(header_of(shapes), LAYOUTS))


@pytest.mark.parametrize("layout", [WHOLE, FOLDER], ids=lambda layout: layout.name)
def test_every_spelling_holds_the_same_network(layout: Layout, tmp_path: Path) -> None:
    state = golden_state(tiny("encoder.", "decoder."))
    network = loaded(found_in(written(KIND, layout, state, tmp_path)))
    assert isinstance(network, TinyAutoencoder)
    x = torch.linspace(-1, 1, 3 * 16 * 24).view(1, 3, 16, 24)
    with torch.no_grad():
        z, spread = network.encode(x)
        picture = network.decode(z)
    assert (z.shape, picture.shape) == ((1, 4, 2, 3), x.shape)
    assert (spread == -30).all()
    direct = KIND.network(config(tiny("encoder.", "decoder.")))
    direct.load_state_dict(state)
    assert isinstance(direct, TinyAutoencoder)
    with torch.no_grad():
        assert torch.equal(direct.decode(z), picture)


def test_halves_load_by_themselves_and_say_what_they_lack(tmp_path: Path) -> None:
    state = golden_state(tiny("encoder.", "decoder."))
    whole = KIND.network(config(tiny("encoder.", "decoder.")))
    whole.load_state_dict(state)
    assert isinstance(whole, TinyAutoencoder)
    for layout, half, other in ((LAYOUTS[2], "encoder", "decoder"), (LAYOUTS[3], "decoder", "encoder")):
        own = {name: tensor for name, tensor in state.items() if name.startswith(half)}
        network = loaded(found_in(written(KIND, layout, own, tmp_path, name=half)))
        assert isinstance(network, TinyAutoencoder)
        x = torch.zeros(1, 3, 8, 8) if half == "encoder" else torch.ones(1, 4, 1, 1)
        with torch.no_grad():
            if half == "encoder":
                assert torch.equal(network.encode(x)[0], whole.encode(x)[0])
            else:
                assert torch.equal(network.decode(x), whole.decode(x))
            with pytest.raises(ValueError, match=f"this tiny autoencoder has no {other}"):
                (network.decode if half == "encoder" else network.encode)(x)


@pytest.mark.parametrize(
    ("name", "channels", "variant", "assumed"),
    [
        ("taesd_decoder", 4, "taesd", False),
        ("taesdxl_decoder", 4, "taesdxl", False),
        ("decoder", 4, "taesd", True),
        ("taef1_decoder", 16, "taef1", False),
        ("decoder-16", 16, "taesd3", True),
        ("tiny-8", 8, "", True),
    ],
)
def test_its_name_tells_whose_latents_it_knows(
    name: str, channels: int, variant: str, assumed: bool, tmp_path: Path
) -> None:
    path = sparse_file(tmp_path / f"{name}.safetensors", tiny_decoder("", channels))
    found = config_from(identify(read_model(path), LAYOUTS))
    assert (found.about.variant, found.assumed, found.latent.channels) == (variant, assumed, channels)
    assert (found.latent.downscale, found.latent.scale) == (8, 1.0)


def test_halves_that_do_not_fit_each_other_are_told() -> None:
    with pytest.raises(BadModelFile, match=r"halves of the tiny autoencoder have latents of \[4, 16\] channels"):
        config(tiny_encoder("encoder.", 16) | tiny_decoder("decoder.", 4))
    short = {name: shape for name, shape in tiny_encoder("encoder.", 4).items() if _before(name, 11)}
    with pytest.raises(BadModelFile, match="halves 2 times and doubles 3 times"):
        config(short | tiny_decoder("decoder.", 4))


def _before(name: str, number: int) -> bool:
    return int(name.split(".")[1]) < number


def test_rows_of_layers_that_are_something_else_are_not_taken_for_one() -> None:
    measure = LAYOUTS[2].parts[0].places[0]
    assert measure.table.measure(View({"0.weight": (3, 3), "2.weight": (3, 3), "2.bias": (3,)})) is None
    assert measure.table.measure(View({"0.weight": (3, 3), "1.bias": (3,)})) is None
    assert OURS.clamp != DIFFUSERS.clamp
    assert set(DERIVED) >= {"taesd", "taesd3"}
