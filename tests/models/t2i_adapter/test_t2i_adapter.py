from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pinxit.models.t2i_adapter.config import config_from
from pinxit.models.t2i_adapter.kind import KIND
from pinxit.models.t2i_adapter.layout import FULL, FULL_FOLDER, LAYOUTS, LIGHT
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import identify
from pinxit.weights.layout import Layout
from tests.models.common.golden import TOLERANCE
from tests.models.derived_kinds import DERIVED, t2i_diffusers, table
from tests.models.kind_files import found_in, golden_state, loaded, written
from tests.reference import golden_arrays, golden_json
from tests.weights.files import header_of


@pytest.mark.parametrize("layout", [FULL, FULL_FOLDER], ids=lambda layout: layout.name)
@pytest.mark.parametrize("name", ["t2i_adapter_sd15", "t2i_adapter_sdxl"])
def test_it_gives_the_reference_features_from_every_spelling(name: str, layout: Layout, tmp_path: Path) -> None:
    state = golden_state(golden_json(f"goldens/tiny_models/{name}.json")["keys"])
    found = found_in(written(KIND, layout, state, tmp_path))
    assert found.match.layout is layout
    network = loaded(found)
    arrays = {name: torch.from_numpy(array) for name, array in golden_arrays(f"goldens/tiny_models/{name}.npz").items()}
    with torch.no_grad():
        features = network(arrays["x"])
    assert len(features) == 4
    for level, feature in enumerate(features):
        assert (feature - arrays[f"feature_{level}"]).abs().max() <= TOLERANCE


def test_the_folders_names_follow_the_references_rule() -> None:
    match = identify(header_of(table("t2iadapter/t2iadapter-sd15-1ch")), LAYOUTS)
    ours = dict(match.part("t2i-adapter").shapes)
    names = {name for entry in FULL_FOLDER.names_for("t2i-adapter", ours) for name in entry.theirs}
    assert names == set(t2i_diffusers("t2iadapter-sd15-1ch"))


def test_the_light_form_computes_what_its_layers_say() -> None:
    match = identify(header_of(DERIVED["t2i-light"]()), LAYOUTS)
    assert match.layout is LIGHT
    config = config_from(match)
    assert (config.inner, config.blocks, config.halves) == ((80, 160, 320, 320), 4, (False, True, True, True))
    network = KIND.network(config).eval()
    with torch.no_grad():
        features = network(torch.zeros(1, 3, 64, 128))
    assert [tuple(feature.shape[1:]) for feature in features] == [(320, 8, 16), (640, 4, 8), (1280, 2, 4), (1280, 1, 2)]


def test_odd_sizes_round_up_as_the_unets_do() -> None:
    network = KIND.network(config_from(identify(header_of(table("t2iadapter/t2iadapter-sd15-1ch")), LAYOUTS)))
    with torch.no_grad():
        features = network(torch.zeros(1, 1, 40, 24))
    assert [tuple(feature.shape[2:]) for feature in features] == [(5, 3), (3, 2), (2, 1), (1, 1)]


def test_a_picture_of_an_unknown_kind_is_told() -> None:
    shapes = {**table("t2iadapter/t2iadapter-sdxl"), "conv_in.weight": (320, 100, 3, 3)}
    with pytest.raises(BadModelFile, match="reads 100 channels; known: 64, 192, 256, 768"):
        config_from(identify(header_of(shapes), LAYOUTS))
    told = {"in_channels": 25, "downscale_factor": 2}
    config = config_from(identify(header_of(shapes, configs={"config.json": told}), LAYOUTS))
    assert (config.in_channels, config.unshuffle) == (25, 2)
