from __future__ import annotations

import pytest
import torch

from pinxit.models.common.ldm_unet import UNet, latent_sizes
from tests.models.common.golden import TOLERANCE, cases, filled, unet_config
from tests.reference import golden_arrays, golden_json

NAMES = [
    "unet_sd1",
    "unet_sd1_inpaint9",
    "unet_sd2",
    "unet_sd2_depth5",
    "unet_sdxl",
    "unet_refiner",
    "unet_unclip",
    "unet_x4_upscaler",
]


@pytest.mark.parametrize("name", NAMES)
def test_unet_gives_the_reference_outputs(name: str) -> None:
    facts = golden_json(f"goldens/tiny_models/{name}.json")
    arrays = golden_arrays(f"goldens/tiny_models/{name}.npz")
    unet = filled(UNet(unet_config(facts["ldm_config"])), facts["keys"])
    for case in cases(arrays):
        given = {key.split("/")[1]: torch.from_numpy(arrays[key]) for key in arrays if key.startswith(f"{case}/")}
        with torch.no_grad():
            out = unet(given["x"], given["t"], given["context"], given.get("y"))
        assert (out - given["out"]).abs().max() <= TOLERANCE, case


def test_unet_without_its_vector_says_what_is_missing() -> None:
    facts = golden_json("goldens/tiny_models/unet_sdxl.json")
    unet = UNet(unet_config(facts["ldm_config"]))
    with pytest.raises(ValueError, match="pass y"):
        unet(torch.zeros(1, 4, 8, 8), torch.zeros(1), torch.zeros(1, 77, 48))


def test_latent_sizes_round_up_as_the_network_does() -> None:
    assert latent_sizes(13, 3) == [13, 7, 4]
    assert latent_sizes(64, 4) == [64, 32, 16, 8]
