"""Every manifest of a real checkpoint, as a file of exactly its names and shapes and without numbers.

Each row must be recognised as what it is, every tensor of it mapped or dropped with a reason, no parameter of the
networks left without a value, and its names given back by writing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from pinxit.models.contract import AnyFamily
from pinxit.models.kinds import find_kind
from pinxit.plugins.manager import build_catalog
from pinxit.schema.errors import UnknownModelFormat
from pinxit.weights.folder import read_model
from pinxit.weights.header import Header
from pinxit.weights.identify import Match, identify
from tests.models import derived_sd
from tests.models.checks import explains_everything
from tests.models.derived import DERIVED
from tests.models.derived_kinds import DERIVED as DERIVED_KINDS
from tests.reference import golden_json
from tests.weights.files import header_of, manifest_folder, sparse_file, write_folder

CATALOG = build_catalog()


@dataclass(frozen=True, slots=True)
class Row:
    """One manifest and what it must be recognised as.

    It is `singlefile/NAME`, `diffusers/NAME`, `derived/NAME` or `derived-folder/NAME`.
    """

    manifest: str
    family: str
    variant: str = ""
    prediction: str = "epsilon"


FAMILIES = (
    Row("singlefile/sd-v1", "sd1", "base"),
    Row("singlefile/sd-v1-inpainting", "sd1", "inpainting"),
    Row("singlefile/instruct-pix2pix", "sd1", "instruct"),
    Row("singlefile/sd-v2-base", "sd2", "base"),
    Row("singlefile/sd-v2-768-v", "sd2", "base"),
    Row("singlefile/sd-v2-inpainting", "sd2", "inpainting"),
    Row("singlefile/sd-v2-depth", "sd2", "depth"),
    Row("singlefile/sd21-unclip-l", "unclip", "l", "velocity"),
    Row("singlefile/sd21-unclip-h", "unclip", "h", "velocity"),
    Row("singlefile/x4-upscaler", "upscale4", "", "velocity"),
    Row("derived/sd-image-variations", "sd1", "variations"),
    Row("derived/sd21-unclip-l-whole", "unclip", "l", "velocity"),
    Row("derived/sd21-unclip-h-whole", "unclip", "h", "velocity"),
    Row("derived/x2-upscaler", "upscale2", "", "edm"),
    Row("derived-folder/sd-image-variations", "sd1", "variations"),
    Row("derived-folder/sd21-unclip-l", "unclip", "l", "velocity"),
    Row("derived-folder/sd21-unclip-h", "unclip", "h", "velocity"),
    Row("derived-folder/x4-upscaler", "upscale4", "", "velocity"),
    Row("derived-folder/x2-upscaler", "upscale2", "", "edm"),
    Row("singlefile/sd3-medium", "sd3", "3-medium", "flow"),
    Row("singlefile/sd35-medium", "sd3", "3.5-medium", "flow"),
    Row("singlefile/sd35-large", "sd3", "3.5-large", "flow"),
    Row("diffusers/sd3-medium", "sd3", "3-medium", "flow"),
    Row("diffusers/sd35-medium", "sd3", "3.5-medium", "flow"),
    Row("diffusers/sd35-large", "sd3", "3.5-large", "flow"),
    Row("singlefile/sdxl-base", "sdxl", "base"),
    Row("singlefile/sdxl-refiner", "sdxl", "refiner"),
    Row("diffusers/sdxl-base", "sdxl", "base"),
    Row("diffusers/sdxl-refiner", "sdxl", "refiner"),
    Row("derived/ssd-1b", "sdxl", "base"),
    Row("derived/segmind-vega", "sdxl", "base"),
    Row("derived/koala-700m", "sdxl", "base"),
    Row("derived/koala-1b", "sdxl", "base"),
    Row("diffusers/sd15", "sd1", "base"),
    Row("diffusers/sd15-inpainting", "sd1", "inpainting"),
    Row("diffusers/instruct-pix2pix", "sd1", "instruct"),
    Row("diffusers/sd21", "sd2", "base", "velocity"),
    Row("diffusers/sd21-base", "sd2", "base"),
    Row("diffusers/sd2-inpainting", "sd2", "inpainting"),
    Row("diffusers/sd2-depth", "sd2", "depth"),
)


def written(row: Row, folder: Path) -> Path:
    """The row as a checkpoint on disk, all holes."""
    kind, _, name = row.manifest.partition("/")
    if kind == "diffusers":
        return manifest_folder(folder / name, name)
    if kind == "derived-folder":
        return write_folder(folder / name, derived_sd.FOLDERS[name]())
    path = folder / f"{name}.safetensors"
    if kind == "derived":
        return sparse_file(path, {**DERIVED, **derived_sd.SINGLE}[name]())
    document = golden_json(f"manifests/{row.manifest}.json")
    return sparse_file(path, document["tensors"], dtypes=dict.fromkeys(document.get("non_float32", ()), "I64"))


def recognised(header: Header) -> tuple[Match, AnyFamily]:
    match = identify(header, [layout for family in CATALOG.families for layout in family.layouts])
    return match, CATALOG.families.get(match.family)


def networks_of(family: AnyFamily, match: Match) -> Mapping[str, nn.Module]:
    """Every network of the checkpoint, without memory."""
    config = family.config_from(match)
    with torch.device("meta"):
        return {name: family.build(config, name) for name in family.facts(config).components}


@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.manifest)
def test_a_checkpoint_is_known_to_the_last_tensor(row: Row, tmp_path: Path) -> None:
    match, family = recognised(read_model(written(row, tmp_path)))
    config = family.config_from(match)
    facts = family.facts(config)
    assert match.family == family.name == row.family
    assert getattr(config, "variant", "") == row.variant
    assert facts.prediction == row.prediction
    assert facts.evidence
    explains_everything(match, networks_of(family, match), match.header)


@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.manifest)
def test_what_is_too_much_and_what_lacks_is_named(row: Row, tmp_path: Path) -> None:
    header = read_model(written(row, tmp_path))
    whole, family = recognised(header)
    lost = whole.part(family.denoiser).entries[0].theirs[0]
    shapes = {name: shape for name, shape in header.shapes.items() if name != lost}
    match, again = recognised(header_of({**shapes, "a.stranger": (3,)}, configs=header.configs))
    assert again is family
    assert match.unexpected == ("a.stranger",)
    assert match.missing == (lost,)


@dataclass(frozen=True, slots=True)
class Single:
    """One network file: `FOLDER/NAME`, `part/NAME/COMPONENT` of a diffusers folder, or `derived/NAME`."""

    manifest: str
    kind: str
    bases: tuple[str, ...] = ()
    variant: str = ""
    layout: str = ""


SINGLES = (
    Single("singlefile/vae-kl-f8", "vae", ("sd1", "sd2"), "kl-f8"),
    Single("derived/vae-prefixed", "vae", ("sd1", "sd2"), "kl-f8"),
    Single("derived/sdxl_vae", "vae", ("sdxl", "refiner"), "kl-f8-sdxl"),
    Single("part/sd15/vae", "vae", ("sd1", "sd2"), "kl-f8", "vae-diffusers"),
    Single("part/sdxl-base/vae", "vae", ("sdxl", "refiner"), "kl-f8-sdxl", "vae-diffusers"),
    Single("part/sd3-medium/vae", "vae", ("sd3",), "kl-f8-sd3", "vae-diffusers"),
    Single("derived/taesd", "taesd", ("sd1", "sd2"), "taesd"),
    Single("derived/taesdxl", "taesd", ("sdxl", "refiner"), "taesdxl"),
    Single("derived/taesd3", "taesd", ("sd3",), "taesd3", "taesd-diffusers"),
    Single("derived/tiny-diffusers", "taesd", ("sd1", "sd2"), "taesd", "taesd-diffusers"),
    Single("derived/taesd_encoder", "taesd", ("sd1", "sd2"), "taesd", "taesd-encoder"),
    Single("derived/taesd3_decoder", "taesd", ("sd3",), "taesd3", "taesd-decoder"),
    Single("singlefile/controlnet-sd15", "controlnet", ("sd1",)),
    Single("singlefile/controlnet-sd21", "controlnet", ("sd2",)),
    Single("part/controlnet-sd15/controlnet", "controlnet", ("sd1",), layout="controlnet-diffusers"),
    Single("part/controlnet-sdxl/controlnet", "controlnet", ("sdxl",), layout="controlnet-diffusers"),
    Single("t2iadapter/t2iadapter-sd15-1ch", "t2i-adapter", ("sd1",), "full"),
    Single("t2iadapter/t2iadapter-sd15-3ch", "t2i-adapter", ("sd1",), "full"),
    Single("t2iadapter/t2iadapter-sdxl", "t2i-adapter", ("sdxl",), "full"),
    Single("derived/t2i-prefixed", "t2i-adapter", ("sdxl",), "full"),
    Single("derived/t2i-diffusers", "t2i-adapter", ("sd1",), "full", "t2i-adapter-diffusers"),
    Single("derived/t2i-light", "t2i-adapter", ("sd1",), "light", "t2i-adapter-light"),
    Single("derived/t2i-light-diffusers", "t2i-adapter", ("sd1",), "light", "t2i-adapter-light-diffusers"),
    Single("ipadapter/ip-adapter_sd15", "ip-adapter", ("sd1",)),
    Single("ipadapter/ip-adapter_sdxl", "ip-adapter", ("sdxl",)),
    Single("ipadapter/ip-adapter_sdxl_vit-h", "ip-adapter", ("sdxl",)),
    Single("derived/ip-adapter-plus", "ip-adapter", ("sd1",), "plus"),
    Single("derived/ip-adapter-full", "ip-adapter", ("sd1",), "full"),
    Single("derived/ip-adapter-face", "ip-adapter", ("sd1",), "face"),
    Single("upscalers/esrgan-x4-newkeys", "esrgan", variant="x4"),
    Single("upscalers/esrgan-x4-oldkeys", "esrgan", variant="x4", layout="esrgan-2018"),
    Single("derived/esrgan-x2-old", "esrgan", variant="x2", layout="esrgan-2018"),
    Single("upscalers/realesrgan-x2plus", "esrgan", variant="x2", layout="real-esrgan"),
    Single("upscalers/realesrgan-x4plus", "esrgan", variant="x4", layout="real-esrgan"),
    Single("derived/real-esrgan-wrapped", "esrgan", variant="x4", layout="real-esrgan"),
    Single("part/clip-vision-l/image_encoder", "clip-vision", variant="L"),
    Single("part/clip-vision-h/image_encoder", "clip-vision", variant="H"),
    Single("part/clip-vision-bigg/image_encoder", "clip-vision", variant="bigG"),
    Single("derived/clip-vision-openclip", "clip-vision", variant="H", layout="clip-vision-openclip"),
    Single("part/sd15/text_encoder", "clip-text", ("sd1", "sdxl", "sd3"), "L"),
    Single("part/sd21/text_encoder", "clip-text", ("sd2",), "H"),
    Single("part/sdxl-base/text_encoder_2", "clip-text", ("sdxl", "refiner", "sd3"), "bigG"),
    Single("part/sd3-medium/text_encoder_3", "t5", ("sd3",), "XXL"),
)


def written_single(row: Single, folder: Path) -> Path:
    """The row as a file, or as the folder of one part, all holes."""
    source, _, name = row.manifest.partition("/")
    if source == "part":
        manifest, _, component = name.partition("/")
        document = golden_json(f"manifests/diffusers/{manifest}.json")
        value = document["components"][component] if "components" in document else document
        sparse_file(folder / component / value.get("weight_file", "model.safetensors").split()[0], value["tensors"])
        (folder / component / "config.json").write_text(json.dumps(value["config"]))
        return folder / component
    if source == "derived":
        return sparse_file(folder / f"{name}.safetensors", DERIVED_KINDS[name]())
    tensors = golden_json(f"manifests/{row.manifest}.json")["tensors"]
    return sparse_file(folder / f"{name}.safetensors", tensors)


@pytest.mark.parametrize("row", SINGLES, ids=lambda row: row.manifest)
def test_a_network_by_itself_is_known_to_the_last_tensor(row: Single, tmp_path: Path) -> None:
    found = find_kind(read_model(written_single(row, tmp_path)), CATALOG.kinds)
    assert (found.kind.name, found.about.bases, found.about.variant) == (row.kind, row.bases, row.variant)
    assert found.match.layout.name == (row.layout or row.kind)
    assert all(found.about.evidence)
    with torch.device("meta"):
        network = found.kind.network(found.config)
    explains_everything(found.match, {row.kind: network}, found.match.header)


@pytest.mark.parametrize("row", SINGLES, ids=lambda row: row.manifest)
def test_what_a_network_lacks_or_has_too_much_is_named(row: Single, tmp_path: Path) -> None:
    header = read_model(written_single(row, tmp_path))
    whole = find_kind(header, CATALOG.kinds)
    entries = whole.match.part(row.kind).entries
    lost = entries[len(entries) // 2].theirs[0]
    shapes = {name: shape for name, shape in header.shapes.items() if name != lost}
    match = find_kind(header_of({**shapes, "a.stranger": (3,)}, configs=header.configs), CATALOG.kinds).match
    assert match.layout is whole.match.layout
    assert match.unexpected == ("a.stranger",)
    assert match.missing == (lost,)


def test_no_whole_checkpoint_is_a_network_by_itself_nor_the_reverse(tmp_path: Path) -> None:
    layouts = [layout for family in CATALOG.families for layout in family.layouts]
    for row in SINGLES:
        with pytest.raises(UnknownModelFormat):
            identify(read_model(written_single(row, tmp_path / row.manifest)), layouts)
