from __future__ import annotations

import numpy as np
import pytest
import torch

from pinxit.models.common.configs import VaeConfig
from pinxit.models.common.vae import AutoencoderKL
from tests.models.common.golden import TOLERANCE, cases, filled
from tests.reference import golden_arrays, golden_json


@pytest.mark.parametrize("name", ["vae_kl_f8", "vae_kl_f4"])
def test_autoencoder_gives_the_reference_outputs(name: str) -> None:
    facts = golden_json(f"goldens/tiny_models/{name}.json")
    arrays = golden_arrays(f"goldens/tiny_models/{name}.npz")
    ldm = facts["ldm_ddconfig"]
    config = VaeConfig(
        z_channels=ldm["z_channels"],
        channels=ldm["ch"],
        channel_mult=tuple(ldm["ch_mult"]),
        num_res_blocks=ldm["num_res_blocks"],
    )
    vae = filled(AutoencoderKL(config), facts["keys"])
    assert isinstance(vae, AutoencoderKL)
    assert vae.downscale == 2 ** (len(ldm["ch_mult"]) - 1)
    for case in cases(arrays):
        given = {key.split("/")[1]: np.asarray(arrays[key]) for key in arrays if key.startswith(f"{case}/")}
        with torch.no_grad():
            mean, logvar = vae.encode(torch.from_numpy(given["image"]))
            decoded = vae.decode(torch.from_numpy(given["z"]))
        moments = torch.cat([mean, logvar], dim=1)
        assert (moments - torch.from_numpy(given["moments"])).abs().max() <= TOLERANCE, case
        assert (decoded - torch.from_numpy(given["decoded"])).abs().max() <= TOLERANCE, case
