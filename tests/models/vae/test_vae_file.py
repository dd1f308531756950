from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pinxit.models.common.diffusers_json import vae_json
from pinxit.models.contract import LatentSpec
from pinxit.models.vae.config import VaeFile, config_from
from pinxit.models.vae.kind import KIND
from pinxit.models.vae.layout import LAYOUTS
from pinxit.weights.folder import read_model
from pinxit.weights.identify import identify
from pinxit.weights.layout import Layout
from tests.models.common.golden import TOLERANCE, cases
from tests.models.derived_kinds import component
from tests.models.kind_files import found_in, golden_state, loaded, written
from tests.reference import golden_arrays, golden_json
from tests.weights.files import header_of, manifest, sparse_file


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize(("name", "variant"), [("vae_kl_f8", "kl-f8"), ("vae_kl_f4", "kl-f4")])
def test_it_gives_the_reference_outputs_from_every_spelling(
    name: str, variant: str, layout: Layout, tmp_path: Path
) -> None:
    state = golden_state(golden_json(f"goldens/tiny_models/{name}.json")["keys"])
    found = found_in(written(KIND, layout, state, tmp_path))
    assert (found.match.layout, found.about.variant) == (layout, variant)
    vae: Any = loaded(found)
    arrays = {key: torch.from_numpy(array) for key, array in golden_arrays(f"goldens/tiny_models/{name}.npz").items()}
    for case in cases(golden_arrays(f"goldens/tiny_models/{name}.npz")):
        with torch.no_grad():
            mean, logvar = vae.encode(arrays[f"{case}/image"])
            decoded = vae.decode(arrays[f"{case}/z"])
        assert (torch.cat([mean, logvar], dim=1) - arrays[f"{case}/moments"]).abs().max() <= TOLERANCE
        assert (decoded - arrays[f"{case}/decoded"]).abs().max() <= TOLERANCE


def of_file(path: Path, *, metadata: dict[str, str] | None = None, json: str = "") -> VaeFile:
    sparse_file(path, manifest("vae-kl-f8"), metadata=metadata)
    if json:
        path.with_suffix(".json").write_text(json)
    return config_from(identify(read_model(path), LAYOUTS))


@pytest.mark.parametrize(
    ("name", "variant", "evidence"),
    [
        ("vae-ft-mse-840000-ema-pruned", "kl-f8", "the file's name names kl-f8"),
        ("sdxl_vae", "kl-f8-sdxl", "the file's name names kl-f8-sdxl"),
        ("xlVAEC_e7", "kl-f8-sdxl", "the file's name names kl-f8-sdxl"),
        ("orangemix.vae", "kl-f8", "scale unknown, assuming 0.18215"),
    ],
)
def test_the_name_of_a_file_tells_its_latents(name: str, variant: str, evidence: str, tmp_path: Path) -> None:
    config = of_file(tmp_path / f"{name}.safetensors")
    assert (config.about.variant, config.about.evidence[1]) == (variant, evidence)
    assert config.assumed == ("unknown" in evidence)
    scale = 0.18215 if variant == "kl-f8" else 0.13025
    assert config.latent == LatentSpec(channels=4, downscale=8, scale=scale)


def test_what_lies_beside_a_file_and_in_it_comes_before_its_name(tmp_path: Path) -> None:
    config = of_file(tmp_path / "sdxl_vae.safetensors", metadata={"modelspec.title": "sd-v1 finetune"})
    assert config.about.evidence[1] == "the file's modelspec.title names kl-f8"
    config = of_file(tmp_path / "other-xl-vae.safetensors", json='{"scaling_factor": 0.18215}')
    assert (config.about.bases, config.assumed) == (("sd1", "sd2"), False)
    assert config.about.evidence[1] == "other-xl-vae.json says a scale of 0.18215"
    strange = of_file(tmp_path / "playground-vae.safetensors", json='{"scaling_factor": 0.5, "shift_factor": 0.1}')
    assert (strange.about.bases, strange.about.variant) == ((), "kl-f8")
    assert (strange.latent.scale, strange.latent.shift) == (0.5, 0.1)


def test_sixteen_channels_are_sd3s_or_fluxs(tmp_path: Path) -> None:
    shapes = component("sd3-medium", "vae")
    assert config_from(identify(header_of(shapes), LAYOUTS)).about.evidence[1] == "scale unknown, assuming 1.5305"
    path = sparse_file(tmp_path / "flux_ae.safetensors", shapes)
    config = config_from(identify(read_model(path), LAYOUTS))
    assert (config.about.variant, config.about.bases) == ("kl-f8-flux", ())
    assert not config.network.quant


def test_one_of_no_known_form_is_said_to_be_unknown() -> None:
    state = golden_json("goldens/tiny_models/vae_kl_f4.json")["keys"]
    shapes = {name: tuple(shape) for name, shape in state.items()}
    shapes["decoder.conv_in.weight"] = (128, 3, 3, 3)
    shapes["encoder.conv_out.weight"] = (6, 128, 3, 3)
    config = config_from(identify(header_of(shapes), LAYOUTS))
    assert config.about.evidence == (
        "latents of 3 channels, 4 pixels to a side",
        "scale unknown, assuming 1",
    )


def test_the_json_of_a_vae_without_quantisation_says_so() -> None:
    config = config_from(identify(header_of(component("sd3-medium", "vae")), LAYOUTS))
    written_json = vae_json(config.network, sample_size=1024, scale=1.5305, shift=0.0609)
    theirs = golden_json("manifests/diffusers/sd3-medium.json")["components"]["vae"]["config"]
    assert {key: theirs[key] for key in written_json if key in theirs and not key.startswith("_")} == {
        key: value for key, value in written_json.items() if key in theirs and not key.startswith("_")
    }


def test_the_json_of_an_old_folder_names_no_scale() -> None:
    header = header_of(component("sd15", "vae"), configs={"config.json": {"_class_name": "AutoencoderKL"}})
    config = config_from(identify(header, LAYOUTS))
    assert config.about.evidence[1] == "config.json names no scale, which means 0.18215"
    assert (config.about.variant, config.assumed) == ("kl-f8", False)
