from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pinxit.models.common.clip_vision import ClipVision
from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.models.common.ldm_unet import UNet
from pinxit.models.common.vision import ClipVisionConfig
from pinxit.models.sd1.config import Variant, config_from
from pinxit.models.sd1.family import FAMILY
from pinxit.models.sd1.layout import FOLDER, LAYOUTS, SINGLE_FILE
from pinxit.models.sd2.layout import LAYOUTS as SD2_LAYOUTS
from pinxit.schema.errors import BadModelFile, UnknownModelFormat
from pinxit.weights.folder import read_model
from pinxit.weights.identify import identify
from tests.models.checks import explains_everything, networks
from tests.models.derived_sd import variations
from tests.reference import golden_json
from tests.weights.files import header_of, manifest, manifest_folder, sparse_file

ALL = (*SD2_LAYOUTS, *LAYOUTS)
UNET = UNetConfig(
    in_channels=4,
    out_channels=4,
    model_channels=320,
    channel_mult=(1, 2, 4, 4),
    num_res_blocks=(2, 2, 2, 2),
    transformer_depth=(1, 1, 1, 0),
    transformer_depth_middle=1,
    transformer_depth_output=(1, 1, 1, 0),
    context_dim=768,
    num_heads=8,
)


@pytest.mark.parametrize(
    ("name", "variant", "channels"),
    [("sd-v1", "base", 4), ("sd-v1-inpainting", "inpainting", 9), ("instruct-pix2pix", "instruct", 8)],
)
def test_single_files(tmp_path: Path, name: str, variant: Variant, channels: int) -> None:
    document = golden_json(f"manifests/singlefile/{name}.json")
    dtypes = dict.fromkeys(document["non_float32"], "I64")
    path = sparse_file(tmp_path / "model.safetensors", manifest(name), dtypes=dtypes)
    match = identify(read_model(path), ALL)
    config = config_from(match)
    assert match.layout is SINGLE_FILE
    assert config.variant == variant
    assert config.unet == replace(UNET, in_channels=channels)
    assert config.vae == VaeConfig()
    assert config.text_encoder == ClipTextConfig()
    assert (config.prediction.kind, config.prediction.assumed) == ("epsilon", False)
    explains_everything(match, networks(config.unet, config.vae, config.text_encoder), match.header)
    assert len(match.dropped) == 13
    assert f"input channels: {channels}" in match.evidence
    assert match.axes["unet"]["levels"] == 4


def test_a_file_with_the_average_of_its_training() -> None:
    extra = {
        key: tuple(shape) for key, shape in golden_json("manifests/singlefile/sd-v1-ema-extra.json")["tensors"].items()
    }
    match = identify(header_of({**manifest("sd-v1"), **extra}), ALL)
    assert match.unexpected == match.missing == ()
    average = match.part("unet_average")
    assert dict(average.shapes) == dict(match.part("unet").shapes)
    assert average.entries[0].theirs == ("model_ema.diffusion_modeltime_embed0weight",)
    assert match.dropped["model_ema.decay"] == "state of the training's moving average"
    half = {name: shape for name, shape in extra.items() if "output" not in name}
    assert len(identify(header_of({**manifest("sd-v1"), **half}), ALL).missing) > 300


@pytest.mark.parametrize(
    ("name", "variant"), [("sd15", "base"), ("sd15-inpainting", "inpainting"), ("instruct-pix2pix", "instruct")]
)
def test_folders(tmp_path: Path, name: str, variant: Variant) -> None:
    match = identify(read_model(manifest_folder(tmp_path / "m", name)), ALL)
    config = config_from(match)
    assert match.layout is FOLDER
    assert config.variant == variant
    assert replace(config.unet, in_channels=4) == UNET
    explains_everything(match, networks(config.unet, config.vae, config.text_encoder), match.header)
    assert (config.vae is None) == (name == "instruct-pix2pix")


def test_old_spellings_of_a_folder() -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    for part, value in golden_json("manifests/diffusers/sd15.json")["components"].items():
        shapes.update({f"{part}/{name}": tuple(shape) for name, shape in value.get("tensors", {}).items()})
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def old(name: str) -> str:
        if name.startswith("vae/"):
            for new, before in names.items():
                name = name.replace(f".{new}.", f".{before}.")
        return name.replace("text_encoder/text_model.", "text_encoder/")

    extra = {"text_encoder/embeddings.position_ids": (1, 77), "safety_checker/visual.x": (1,)}
    match = identify(header_of({**{old(name): shape for name, shape in shapes.items()}, **extra}), ALL)
    assert match.layout is FOLDER
    assert match.missing == match.unexpected == ()
    assert set(match.dropped) == set(extra)


def test_parts_may_be_absent_and_strangers_are_named() -> None:
    unet = {name: shape for name, shape in manifest("sd-v1").items() if name.startswith("model.")}
    match = identify(
        header_of({**unet, "something.else": (3,), "model.diffusion_model.time_embed.stranger.weight": (1,)}), ALL
    )
    config = config_from(match)
    assert config.vae is config.text_encoder is None
    assert set(match.unexpected) == {"something.else", "model.diffusion_model.time_embed.stranger.weight"}
    with pytest.raises(BadModelFile, match="holds no vae; it holds unet"):
        match.part("vae")


def test_a_missing_tensor_is_named() -> None:
    shapes = manifest("sd-v1")
    del shapes["model.diffusion_model.middle_block.0.in_layers.2.bias"]
    assert identify(header_of(shapes), ALL).missing == ("model.diffusion_model.middle_block.0.in_layers.2.bias",)
    shapes = {name: shape for name, shape in manifest("sd-v1").items() if ".norm" not in name}
    with pytest.raises(UnknownModelFormat, match=r"sd1 \(\d+ of the \d+ tensors of its unet are missing\)"):
        identify(header_of(shapes), ALL)


def test_metadata_and_markers_can_name_another_prediction(tmp_path: Path) -> None:
    shapes = {**manifest("sd-v1"), "v_pred": (0,), "ztsnr": (0,)}
    path = sparse_file(tmp_path / "m.safetensors", shapes)
    prediction = config_from(identify(read_model(path), ALL)).prediction
    assert (prediction.kind, prediction.zero_terminal_snr) == ("velocity", True)
    assert prediction.evidence == "v-prediction: marker key v_pred; zero terminal SNR: marker key ztsnr"
    path = sparse_file(path, manifest("sd-v1"), metadata={"modelspec.prediction_type": "v"})
    assert config_from(identify(read_model(path), ALL)).prediction.evidence == "the file's metadata says velocity"
    path = sparse_file(path, manifest("sd-v1"), metadata={"modelspec.prediction_type": "strange"})
    assert config_from(identify(read_model(path), ALL)).prediction.kind == "epsilon"


@pytest.mark.parametrize("name", ["time_embed.cond_proj", "time_embedding.cond_proj"])
def test_a_distilled_model_brings_its_guidance(name: str) -> None:
    shapes = {**manifest("sd-v1"), f"model.diffusion_model.{name}.weight": (320, 256), "logvar": (1000,)}
    match = identify(header_of(shapes), ALL)
    assert match.missing == match.unexpected == ()
    config = config_from(match)
    assert config.unet == replace(UNET, guidance_dim=256)
    explains_everything(match, networks(config.unet, config.vae, config.text_encoder), match.header)


def test_only_the_average_of_the_training() -> None:
    extra = golden_json("manifests/singlefile/sd-v1-ema-extra.json")["tensors"]
    rest = {name: shape for name, shape in manifest("sd-v1").items() if not name.startswith("model.")}
    match = identify(header_of({**rest, **{name: tuple(shape) for name, shape in extra.items()}}), ALL)
    assert match.missing == match.unexpected == ()
    config = config_from(match)
    assert config.unet == UNET
    with torch.device("meta"):
        unet = UNet(config.unet)
    assert {name: tuple(tensor.shape) for name, tensor in unet.state_dict().items()} == dict(match.part("unet").shapes)
    assert match.part("unet").entries[0].theirs == ("model_ema.diffusion_modeltime_embed0weight",)


@pytest.mark.parametrize(
    ("before", "after"),
    [("model.diffusion_model.", ""), ("model.diffusion_model.", "diffusion_model."), ("", "")],
    ids=["bare", "short", "whole"],
)
def test_the_unet_alone(before: str, after: str) -> None:
    unet = {name: shape for name, shape in manifest("sd-v1").items() if name.startswith("model.")}
    match = identify(header_of({after + name.removeprefix(before): shape for name, shape in unet.items()}), ALL)
    assert match.missing == match.unexpected == ()
    facts = FAMILY.facts(config_from(match))
    assert (facts.components, facts.absent) == (("unet",), ("vae", "text_encoder"))


def test_a_folders_unet_alone() -> None:
    tensors = golden_json("manifests/diffusers/sd15.json")["components"]["unet"]["tensors"]
    match = identify(header_of({name: tuple(shape) for name, shape in tensors.items()}), ALL)
    assert match.layout is SINGLE_FILE
    assert match.missing == match.unexpected == ()
    assert config_from(match).unet == UNET


@pytest.mark.parametrize("part", ["first_stage_model.", "cond_stage_model."])
def test_files_without_one_part(part: str) -> None:
    shapes = {name: shape for name, shape in manifest("sd-v1").items() if not name.startswith(part)}
    match = identify(header_of(shapes), ALL)
    assert match.missing == match.unexpected == ()
    assert FAMILY.facts(config_from(match)).absent == ({"f": "vae", "c": "text_encoder"}[part[0]],)


def test_old_oddities_of_single_files(tmp_path: Path) -> None:
    """Text names without `text_model.`, position numbers as floats, a noise schedule in half precision."""
    shapes = {name.replace(".text_model.", "."): shape for name, shape in manifest("sd-v1").items()}
    position = "cond_stage_model.transformer.embeddings.position_ids"
    assert position in shapes
    path = sparse_file(tmp_path / "old.safetensors", shapes, dtypes={position: "F32", "alphas_cumprod": "F16"})
    match = identify(read_model(path), ALL)
    config = config_from(match)
    explains_everything(match, networks(config.unet, config.vae, config.text_encoder), match.header)
    assert {position, "alphas_cumprod"} <= set(match.dropped)


def test_image_variations_see_instead_of_reading() -> None:
    match = identify(header_of(variations()), ALL)
    config = config_from(match)
    assert (config.variant, config.text_encoder) == ("variations", None)
    assert config.image_encoder == ClipVisionConfig()
    facts = FAMILY.facts(config)
    assert (facts.components, facts.absent) == (("unet", "vae", "image_encoder"), ())
    assert facts.can_paint == "it varies a given picture, and reads no text"
    with torch.device("meta"):
        assert isinstance(FAMILY.build(config, "image_encoder"), ClipVision)
    assert match.dropped["cond_stage_model.model.ln_final.bias"] == "text half of the image encoder's CLIP"
