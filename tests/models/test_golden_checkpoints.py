"""The reference's tiny networks as whole checkpoints: the same outputs through every layout of their family.

Each is written as a single file and as a folder with its JSON, recognised among all families, measured, and loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from pinxit.models.common.vae import AutoencoderKL
from pinxit.plugins.manager import build_catalog
from pinxit.weights.folder import read_model
from pinxit.weights.header import Header
from pinxit.weights.identify import identify
from pinxit.weights.layout import Layout
from pinxit.weights.load import load_into
from pinxit.weights.save import save_model
from tests.models.common.golden import TOLERANCE, cases, det_weight
from tests.reference import golden_arrays, golden_json

CATALOG = build_catalog()
LAYOUTS = [layout for family in CATALOG.families for layout in family.layouts]


@dataclass(frozen=True, slots=True)
class Row:
    """A golden U-Net, the family whose checkpoints hold it, the golden VAE that lies beside it, and the layouts' names.

    The first layout is a single file; without names they are all the family's.
    """

    golden: str
    family: str
    vae: str = "vae_kl_f8"
    layouts: tuple[str, ...] = ()

    @property
    def all_layouts(self) -> list[Layout]:
        layouts = CATALOG.families.get(self.family).layouts
        return [layout for layout in layouts if not self.layouts or layout.name in self.layouts]


ROWS = (
    Row("unet_sd1", "sd1"),
    Row("unet_sd1_inpaint9", "sd1"),
    Row("unet_sd2", "sd2"),
    Row("unet_sd2_depth5", "sd2"),
    Row("unet_unclip", "unclip"),
    Row("unet_x4_upscaler", "upscale4", "vae_kl_f4"),
    Row("unet_sdxl", "sdxl", layouts=("sdxl", "sdxl-diffusers")),
    Row("unet_refiner", "sdxl", layouts=("sdxl-refiner", "sdxl-diffusers")),
)


def state_of(golden: str) -> dict[str, Tensor]:
    keys = golden_json(f"goldens/tiny_models/{golden}.json")["keys"]
    return {key: det_weight(key, shape) for key, shape in keys.items()}


def built(header: Header, component: str) -> nn.Module:
    """The network of `component` as its file says it is, with the file's weights."""
    match = identify(header, LAYOUTS)
    family = CATALOG.families.get(match.family)
    assert match.missing == match.unexpected == ()
    with torch.device("meta"):
        network = family.build(family.config_from(match), component)
    load_into(network, match, component, check_finite=True)
    return network.eval()


def written(states: Mapping[str, Mapping[str, Tensor]], row: Row, layout: Layout, folder: Path) -> Path:
    """The networks as a checkpoint; a folder gets the JSON of the configuration that the single file shows."""
    target = folder / (layout.name if layout.folder else f"{layout.name}.safetensors")
    if not layout.folder:
        save_model(states, layout, target)
        return target
    found = CATALOG.families.get(row.family)
    assert found.writing is not None
    config = found.config_from(identify(read_model(folder / f"{row.all_layouts[0].name}.safetensors"), LAYOUTS))
    save_model(states, layout, target, configs=dict(found.writing.files(config)))
    return target


def unet_agrees(unet: nn.Module, golden: str) -> None:
    arrays = golden_arrays(f"goldens/tiny_models/{golden}.npz")
    for case in cases(arrays):
        given = {key.split("/")[1]: torch.from_numpy(arrays[key]) for key in arrays if key.startswith(f"{case}/")}
        with torch.no_grad():
            out = unet(given["x"], given["t"], given["context"], given.get("y"))
        assert (out - given["out"]).abs().max() <= TOLERANCE, case


def vae_agrees(vae: AutoencoderKL, golden: str) -> None:
    arrays: dict[str, Any] = golden_arrays(f"goldens/tiny_models/{golden}.npz")
    for case in cases(arrays):
        given = {key.split("/")[1]: torch.from_numpy(arrays[key]) for key in arrays if key.startswith(f"{case}/")}
        with torch.no_grad():
            moments = torch.cat(vae.encode(given["image"]), dim=1)
            decoded = vae.decode(given["z"])
        assert (moments - given["moments"]).abs().max() <= TOLERANCE, case
        assert (decoded - given["decoded"]).abs().max() <= TOLERANCE, case


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.golden)
def test_the_reference_outputs_through_every_layout(row: Row, tmp_path: Path) -> None:
    states = {"unet": state_of(row.golden), "vae": state_of(row.vae)}
    for layout in row.all_layouts:
        header = read_model(written(states, row, layout, tmp_path))
        assert identify(header, LAYOUTS).layout is layout
        unet_agrees(built(header, "unet"), row.golden)
        vae_agrees(cast(AutoencoderKL, built(header, "vae")), row.vae)
