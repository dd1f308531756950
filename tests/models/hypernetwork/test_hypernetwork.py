from __future__ import annotations

from typing import Any

import pytest

from pinxit.models.hypernetwork.kind import KIND
from pinxit.schema.errors import UnknownModelFormat
from pinxit.weights.layout import Shape
from tests.models.kind_files import KINDS, find_kind
from tests.reference import golden_json
from tests.weights.files import header_of


def shapes(widths: list[int]) -> dict[str, Shape]:
    """A hypernetwork of the usual structure, as its dictionary unfolds."""
    layers: dict[str, list[Any]] = golden_json("manifests/hypernetwork.json")[
        "per_dim_state_dict_default_layer_structure_1_2_1"
    ]
    return {
        f"{width}.{half}.{name}": tuple(2 * width if size == "2*dim" else width for size in shape)
        for width in widths
        for half in (0, 1)
        for name, shape in layers.items()
    }


@pytest.mark.parametrize(
    ("widths", "bases"),
    [([320, 640, 768, 1280], ("sd1",)), ([320, 640, 1024, 1280], ("sd2",)), ([320, 640], ())],
)
def test_hypernetworks_are_known_with_their_family(widths: list[int], bases: tuple[str, ...]) -> None:
    found = find_kind(header_of(shapes(widths)), KINDS)
    assert (found.kind, found.about.bases, found.config.widths) == (KIND, bases, tuple(widths))
    assert found.about.evidence == (f"changes keys and values {', '.join(map(str, widths))} wide",)


def test_the_oldest_names_count_and_others_do_not() -> None:
    old = {"768.0.linear1.weight": (1536, 768), "768.0.linear2.weight": (768, 1536)}
    assert find_kind(header_of(old), KINDS).kind is KIND
    with pytest.raises(UnknownModelFormat):
        find_kind(header_of({**old, "other": (3,)}), KINDS)
