from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pinxit.models.embedding.kind import KIND
from pinxit.schema.errors import UnknownModelFormat
from pinxit.weights.layout import Shape
from tests.models.kind_files import KINDS, find_kind
from tests.reference import golden_json
from tests.weights.files import header_of

VECTORS = 5


def referred(name: str) -> dict[str, Shape]:
    """An embedding of the reference's description, of five vectors."""
    keys: Mapping[str, Any] = golden_json("manifests/textual_inversion.json")[name]["keys"]
    return {
        key: tuple(VECTORS if size == "n_vectors" else int(size) for size in shape)
        for key, shape in keys.items()
        if isinstance(shape, list)
    }


@pytest.mark.parametrize(
    ("shapes", "base", "vectors"),
    [
        (referred("safetensors_sd15"), "sd1", 5),
        (referred("safetensors_sd2"), "sd2", 5),
        (referred("safetensors_sdxl"), "sdxl", 5),
        (referred("diffusers_bin"), "sd1", 1),
        ({"text_encoders_0": (2, 768), "text_encoders_1": (2, 1280)}, "sdxl", 2),
        ({"string_to_param.*": (8, 768)}, "sd1", 8),
        ({"my-cat": (3, 768)}, "sd1", 3),
        ({"clip_g": (1, 1280)}, "sdxl", 1),
    ],
)
def test_embeddings_are_known_with_their_family(shapes: dict[str, Shape], base: str, vectors: int) -> None:
    found = find_kind(header_of(shapes), KINDS)
    assert (found.kind, found.about.bases) == (KIND, (base,))
    assert found.about.evidence[0].startswith(f"{vectors} vectors, ")


@pytest.mark.parametrize(
    "shapes",
    [
        {"emb_params": (2, 3, 768)},
        {"emb_params": ()},
        {"emb_params": (49408, 768)},
        {"embed.weight": (4, 768)},
        {"one": (4, 768), "two": (4, 768)},
        {"cat": (4, 100)},
    ],
)
def test_what_only_resembles_one_is_none(shapes: dict[str, Shape]) -> None:
    with pytest.raises(UnknownModelFormat):
        find_kind(header_of(shapes), KINDS)
