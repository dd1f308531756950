from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pinxit.models.common.configs import ClipTextConfig, VaeConfig
from pinxit.models.sd1.layout import LAYOUTS as SD1_LAYOUTS
from pinxit.models.sd2.config import WITNESS, Variant, config_from
from pinxit.models.sd2.layout import FOLDER, LAYOUTS, SINGLE_FILE
from pinxit.schema.errors import BadModelFile, UnknownModelFormat
from pinxit.weights.folder import read_model
from pinxit.weights.header import read_header
from pinxit.weights.identify import identify
from tests.models.checks import explains_everything, networks
from tests.weights.files import header_of, manifest, manifest_folder, sparse_file

ALL = (*SD1_LAYOUTS, *LAYOUTS)
NAME = f"model.diffusion_model.{WITNESS}"


def witnessed(path: Path, spread: float, dtype: str = "F32") -> Path:
    """A file of SD 2's U-Net whose telling bias has the standard deviation `spread`."""
    unet = {name: shape for name, shape in manifest("sd-v2-base").items() if name.startswith("model.")}
    sparse_file(path, unet, dtype=dtype)
    values = np.tile(np.array([spread, -spread], dtype=np.float32), 160)
    if dtype == "BF16":
        data = (values.view("<u4") >> 16).astype("<u2").tobytes()
    else:
        data = values.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()
    with path.open("r+b") as stream:
        stream.seek(read_header(path).tensors[NAME].start)
        stream.write(data)
    return path


@pytest.mark.parametrize(
    ("name", "variant", "channels"),
    [
        ("sd-v2-base", "base", 4),
        ("sd-v2-768-v", "base", 4),
        ("sd-v2-inpainting", "inpainting", 9),
        ("sd-v2-depth", "depth", 5),
    ],
)
def test_single_files(tmp_path: Path, name: str, variant: Variant, channels: int) -> None:
    shapes = {**manifest(name), "cond_stage_model.model.attn_mask": (77, 77)}
    if name == "sd-v2-depth":
        shapes["depth_model.model.pretrained.cls_token"] = (1, 1, 768)
    match = identify(read_model(sparse_file(tmp_path / "model.safetensors", shapes)), ALL)
    config = config_from(match)
    assert match.layout is SINGLE_FILE
    assert config.variant == variant
    assert config.unet.in_channels == channels
    assert (config.unet.num_heads, config.unet.head_width) == (None, 64)
    assert (config.unet.context_dim, config.unet.linear_projections) == (1024, True)
    assert config.vae == VaeConfig()
    assert config.text_encoder == ClipTextConfig(
        width=1024, intermediate=4096, layers=24, heads=16, activation="gelu", projection=1024, pad_id=0
    )
    assert config.prediction.kind == "epsilon"
    assert config.prediction.assumed == (variant == "base")
    explains_everything(match, networks(config.unet, config.vae, config.text_encoder), match.header)


@pytest.mark.parametrize(
    ("name", "variant", "kind"),
    [
        ("sd21", "base", "velocity"),
        ("sd21-base", "base", "epsilon"),
        ("sd2-depth", "depth", "epsilon"),
        ("sd2-inpainting", "inpainting", "epsilon"),
    ],
)
def test_folders(tmp_path: Path, name: str, variant: Variant, kind: str) -> None:
    match = identify(read_model(manifest_folder(tmp_path / "m", name, dtype="F16")), ALL)
    config = config_from(match)
    assert match.layout is FOLDER
    assert (config.variant, config.prediction.kind, config.unet.head_width) == (variant, kind, 64)
    explains_everything(match, networks(config.unet, config.vae, config.text_encoder), match.header)
    if name == "sd21":
        assert config.prediction.evidence == "scheduler/scheduler_config.json says velocity"
        assert config.text_encoder is not None
        assert (config.text_encoder.layers, config.text_encoder.projection) == (23, None)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize(("spread", "kind"), [(0.125, "velocity"), (0.0625, "epsilon")])
def test_the_prediction_is_seen_in_one_bias(tmp_path: Path, dtype: str, spread: float, kind: str) -> None:
    header = read_model(witnessed(tmp_path / "m.safetensors", spread, dtype))
    prediction = config_from(identify(header, ALL)).prediction
    assert (prediction.kind, prediction.assumed) == (kind, False)
    assert prediction.evidence == f"{WITNESS} spreads by {spread:.3f}; velocity models lie above 0.09"


def test_what_lies_beside_the_file_wins(tmp_path: Path) -> None:
    path = witnessed(tmp_path / "m.safetensors", 0.01)
    match = identify(read_model(path), ALL)
    beside = tmp_path / "m.yaml"
    beside.write_text('model:\n  params:\n    parameterization: "v"  # velocity\n    unet_config: x\n')
    assert config_from(match).prediction.evidence == "m.yaml says velocity"
    beside.write_text("model:\n  params:\n    unet_config:\n      target: x\n")
    assert config_from(match).prediction.evidence == "m.yaml says epsilon"
    beside.write_text("a note about this model\n")
    assert "spreads by 0.010" in config_from(match).prediction.evidence
    notes = tmp_path / "m.json"
    notes.write_text(json.dumps({"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}))
    prediction = config_from(match).prediction
    assert (prediction.evidence, prediction.zero_terminal_snr) == ("m.json says velocity with zero terminal SNR", True)
    notes.write_text(json.dumps({"description": "by another tool", "prediction_type": 7}))
    assert "spreads by" in config_from(match).prediction.evidence
    notes.write_text("not json")
    assert "spreads by" in config_from(match).prediction.evidence
    notes.write_text(json.dumps({"prediction_type": "sample"}))
    with pytest.raises(BadModelFile, match=r"m.json names the prediction type 'sample'; known: epsilon"):
        config_from(match)


def test_without_the_bias_the_prediction_is_assumed(tmp_path: Path) -> None:
    path = witnessed(tmp_path / "m.safetensors", 0.0)
    prediction = config_from(identify(read_model(path), ALL)).prediction
    assert prediction.assumed
    assert prediction.evidence == f"unknown, assuming epsilon: {WITNESS} is constant or not finite"
    shapes = {name: shape for name, shape in manifest("sd-v2-base").items() if name != NAME}
    prediction = config_from(identify(header_of(shapes), ALL)).prediction
    assert prediction.assumed
    assert "the U-Net has no" in prediction.evidence


def test_other_places_of_the_text_encoder() -> None:
    shapes = {
        name.replace("cond_stage_model.model.", "conditioner.embedders.0.model."): shape
        for name, shape in manifest("sd-v2-inpainting").items()
    }
    match = identify(header_of(shapes), ALL)
    assert match.unexpected == match.missing == ()
    assert match.part("text_encoder").place.prefix == "conditioner.embedders.0.model."


def test_relatives_are_not_mistaken_for_sd2() -> None:
    with pytest.raises(UnknownModelFormat, match=r"sd2 \(input channels: 7, not 4 or 5 or 9\)"):
        identify(header_of(manifest("x4-upscaler")), ALL)
    with pytest.raises(UnknownModelFormat, match=r"sd2 \(size embeddings: 1, not 0\)"):
        identify(header_of(manifest("sdxl-base")), ALL)


def test_contradicting_settings_and_shapes(tmp_path: Path) -> None:
    root = manifest_folder(tmp_path / "m", "sd21")
    match = identify(read_model(root), ALL)
    for file, key, value, expected in (
        ("unet/config.json", "attention_head_dim", [5, 10], "does not fit levels of"),
        ("unet/config.json", "attention_head_dim", "8", "expected a whole number"),
        ("text_encoder/config.json", "num_attention_heads", 7, "1024 wide cannot have 7 heads"),
        ("text_encoder/config.json", "hidden_act", "relu", "hidden_act 'relu' is unknown"),
        ("scheduler/scheduler_config.json", "prediction_type", "x0", "names the prediction type 'x0'"),
    ):
        changed = json.loads((root / file).read_text()) | {key: value}
        header = read_model(root)
        broken = type(header)(path=header.path, tensors=header.tensors, configs={**header.configs, file: changed})
        with pytest.raises(BadModelFile, match=expected):
            config_from(identify(broken, ALL))
    assert config_from(match).unet.head_width == 64


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("model.diffusion_model.input_blocks.4.0.out_layers.3.weight", (333, 640, 3, 3), "no multiples of its 320"),
        ("model.diffusion_model.input_blocks.4.0.out_layers.3.weight", (), "has too few axes"),
        ("first_stage_model.encoder.down.1.block.0.conv2.weight", (100, 256, 3, 3), "no multiples of its 128"),
        (
            "first_stage_model.encoder.conv_out.weight",
            (12, 512, 3, 3),
            "gives 12 channels for a latent of 4; expected 8",
        ),
    ],
)
def test_shapes_that_cannot_belong_together(name: str, shape: tuple[int, ...], expected: str) -> None:
    header = header_of({**manifest("sd-v2-inpainting"), name: shape})
    with pytest.raises(BadModelFile, match=expected):
        config_from(identify(header, ALL))


def test_a_truncated_model_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    path = witnessed(tmp_path / "m.safetensors", 0.01)
    size = path.stat().st_size
    with path.open("r+b") as stream:
        stream.truncate(size - 1)
    with pytest.raises(BadModelFile, match="it is cut off"):
        read_model(path)
