from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pinxit.models.esrgan.config import config_from
from pinxit.models.esrgan.kind import KIND
from pinxit.models.esrgan.layout import LAYOUTS
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import identify
from pinxit.weights.layout import Layout
from tests.models.common.golden import TOLERANCE
from tests.models.derived_kinds import Shapes, table
from tests.models.kind_files import found_in, golden_state, loaded, written
from tests.reference import golden_arrays, golden_json
from tests.weights.files import header_of

LATER, EARLIER, REAL = LAYOUTS


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_it_gives_the_reference_picture_from_every_spelling(layout: Layout, tmp_path: Path) -> None:
    state = golden_state(golden_json("goldens/tiny_models/esrgan_x4.json")["keys"])
    found = found_in(written(KIND, layout, state, tmp_path))
    assert found.match.layout is layout
    assert (found.config.scale, found.config.blocks, found.config.growth) == (4, 2, 16)
    arrays = golden_arrays("goldens/tiny_models/esrgan_x4.npz")
    with torch.no_grad():
        picture = loaded(found)(torch.from_numpy(arrays["x"]))
    assert (picture - torch.from_numpy(arrays["out"])).abs().max() <= TOLERANCE


@pytest.mark.parametrize(
    ("source", "target", "path", "key"),
    [
        (LATER, EARLIER, "esrgan-x4-oldkeys", "new_to_old"),
        (EARLIER, REAL, "realesrgan-x4plus", "old_to_this"),
    ],
)
def test_the_spellings_are_those_of_the_reference(source: Layout, target: Layout, path: str, key: str) -> None:
    oracle: dict[str, str] = golden_json(f"manifests/upscalers/{path}.json")[key]
    ours = dict(identify(header_of(table("upscalers/esrgan-x4-newkeys")), LAYOUTS).part("esrgan").shapes)
    left, right = (
        {entry.ours[0]: entry.theirs[0] for entry in layout.names_for("esrgan", ours)} for layout in (source, target)
    )
    assert {left[name]: right[name] for name in ours} == oracle


def test_squares_of_pixels_make_a_smaller_scale() -> None:
    config = config_from(identify(header_of(table("upscalers/realesrgan-x2plus")), LAYOUTS))
    assert (config.scale, config.unshuffle, config.in_channels) == (2, 2, 3)
    small = {name: shape for name, shape in table("upscalers/realesrgan-x2plus").items() if _early(name)}
    network = KIND.network(config_from(identify(header_of(small), LAYOUTS)))
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 6, 4)).shape == (1, 3, 12, 8)


def _early(name: str) -> bool:
    return not name.startswith("body.") or name.startswith("body.0.")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"conv_first.weight": (64, 5, 3, 3)}, "reads 5 channels; known: 1, 3, 4, 12, 16, 48"),
        ({f"conv_up{n}.weight": (64, 64, 3, 3) for n in range(3, 8)}, "doubles 7 times"),
    ],
)
def test_sizes_that_contradict_each_other_are_told(change: Shapes, told: str) -> None:
    with pytest.raises(BadModelFile, match=told):
        config_from(identify(header_of({**table("upscalers/realesrgan-x4plus"), **change}), LAYOUTS))
