from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pinxit.engine.catalog import Catalog
from pinxit.plugins.manager import build_catalog
from pinxit.studio.hashes import HashCache, compute_hashes
from pinxit.studio.inspect import inspect_file
from pinxit.studio.inspect.identity import LOOKS as KINDS_OF_LOOKS
from pinxit.studio.inspect.inspection import MOST_NAMES
from pinxit.weights.looks import LOOKS
from tests.reference import golden_json
from tests.weights.files import manifest, manifest_folder, sparse_file

KEYS = {
    "kind",
    "family",
    "variant",
    "prediction",
    "evidence",
    "layout",
    "components",
    "missing",
    "unexpected",
    "dtype",
    "hashes",
    "metadata",
    "licence",
    "commercial",
    "advice",
    "parameters",
    "size",
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return build_catalog()


def told(path: Path, catalog: Catalog) -> dict[str, Any]:
    found = inspect_file(path, catalog, hashes=False).to_json()
    assert set(found) >= KEYS
    return json.loads(json.dumps(found, allow_nan=False))


def tensors(rel: str) -> dict[str, Any]:
    return golden_json(f"manifests/{rel}.json")["tensors"]


@pytest.mark.parametrize(
    ("name", "family", "variant", "prediction"),
    [
        ("sd-v1", "sd1", "base", "epsilon"),
        ("sd-v1-inpainting", "sd1", "inpainting", "epsilon"),
        ("instruct-pix2pix", "sd1", "instruct", "epsilon"),
        ("sd-v2-base", "sd2", "base", "unknown, assuming epsilon"),
        ("sd-v2-768-v", "sd2", "base", "unknown, assuming epsilon"),
        ("sd-v2-depth", "sd2", "depth", "epsilon"),
    ],
)
def test_checkpoints_are_known(
    name: str, family: str, variant: str, prediction: str, catalog: Catalog, tmp_path: Path
) -> None:
    found = told(sparse_file(tmp_path / f"{name}.safetensors", manifest(name), dtype="F16"), catalog)
    assert (found["kind"], found["layout"]) == ("checkpoint", "single")
    assert (found["family"], found["variant"], found["prediction"]) == (family, variant, prediction)
    assert set(found["components"]) >= {"unet", "vae", "text_encoder"}
    assert (found["missing"], found["unexpected"]) == ([], [])
    assert found["dtype"]["unet"] == "F16"
    assert any("unet: " in line for line in found["evidence"])
    assert found["hashes"] == {}
    assert (found["licence"], found["commercial"]) == (None, "unknown")


def test_numbers_are_counted(catalog: Catalog, tmp_path: Path) -> None:
    found = told(sparse_file(tmp_path / "m.safetensors", manifest("sd-v1"), dtype="F16"), catalog)
    assert found["components"]["unet"] == {
        "tensors": 686,
        "parameters": 859_520_964,
        "bytes": 1_719_041_928,
        "dtypes": {"F16": 1_719_041_928},
    }
    assert found["parameters"] == sum(part["parameters"] for part in found["components"].values())
    assert found["scheduler"]["sigma_max"] == pytest.approx(14.6146, abs=1e-3)
    assert found["scheduler"]["zero_terminal_snr"] is False
    assert found["scheduler"]["width"] == 512


def test_a_marker_is_evidence(catalog: Catalog, tmp_path: Path) -> None:
    shapes = {**manifest("sd-v2-base"), "v_pred": [], "ztsnr": []}
    found = told(sparse_file(tmp_path / "m.safetensors", shapes, dtype="F16"), catalog)
    assert found["prediction"] == "v-prediction"
    assert "v_pred" in found["evidence"][0]
    assert found["scheduler"]["zero_terminal_snr"] is True


def test_a_file_beside_is_evidence(catalog: Catalog, tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "m.safetensors", manifest("sd-v2-base"), dtype="F16")
    (tmp_path / "m.yaml").write_text("model:\n  params:\n    parameterization: v\n    unet_config: x\n")
    assert told(path, catalog)["prediction"] == "v-prediction"
    (tmp_path / "m.json").write_text('{"prediction_type": "nonsense"}')
    found = told(path, catalog)
    assert found["prediction"] == "unknown"
    assert any("nonsense" in line for line in found["evidence"])


def test_missing_parts_are_told_with_where_they_come_from(catalog: Catalog, tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in manifest("sd-v1").items() if not name.startswith("first_stage_model.")}
    found = told(sparse_file(tmp_path / "m.safetensors", shapes, dtype="F16"), catalog)
    assert found["missing"] == ["vae"]
    assert found["advice"][0] == "The VAE is missing; it usually comes from stabilityai/sd-vae-ft-mse."
    assert not any("pinxit paint" in line for line in found["advice"])


def test_single_tensors_that_are_missing_or_too_many_are_told(catalog: Catalog, tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in manifest("sd-v1").items() if not name.endswith("out.2.bias")}
    shapes |= {f"extra.{number}": (1,) for number in range(70)}
    found = told(sparse_file(tmp_path / "m.safetensors", shapes), catalog)
    assert found["missing"] == ["model.diffusion_model.out.2.bias"]
    assert (len(found["unexpected"]), found["unexpected_count"]) == (MOST_NAMES, 70)
    assert found["advice"][0].startswith("1 tensors are missing")


def test_a_diffusers_folder_is_known(catalog: Catalog, tmp_path: Path) -> None:
    root = manifest_folder(tmp_path / "model", "sd21", dtype="F16")
    (root / "README.md").write_text("---\nlicense: openrail++\n---\n")
    for path in (root, root / "model_index.json"):
        found = told(path, catalog)
        assert (found["kind"], found["family"], found["layout"]) == ("diffusers", "sd2", "diffusers")
        assert found["prediction"] == "v-prediction"
        assert (found["licence"], found["commercial"]) == ("openrail++", "yes")
        assert "some uses are forbidden" in found["commercial_condition"]
        assert len(found["files"]) == 3


def test_a_part_of_a_folder_is_known(catalog: Catalog, tmp_path: Path) -> None:
    root = manifest_folder(tmp_path / "model", "sd15", dtype="F16")
    unet = told(root / "unet", catalog)
    assert (unet["kind"], unet["family"], unet["layout"]) == ("diffusers-part", "sd1", "diffusers")
    assert list(unet["components"]) == ["unet"]
    assert told(root / "unet" / "diffusion_pytorch_model.safetensors", catalog)["kind"] == "diffusers-part"
    assert told(root / "vae", catalog)["kind"] == "vae"
    assert told(root / "text_encoder", catalog)["kind"] == "text-encoder"


@pytest.mark.parametrize(
    ("rel", "kind"),
    [
        ("singlefile/vae-kl-f8", "vae"),
        ("singlefile/controlnet-sd15", "controlnet"),
        ("lora/kohya-sd15", "lora"),
        ("lora/kohya-sdxl-ldmnames", "lora"),
        ("lora/diffusers-peft-sdxl", "lora"),
        ("lora/diffusers-old-attnprocs-sd15", "lora"),
        ("ipadapter/ip-adapter_sd15", "ip-adapter"),
        ("t2iadapter/t2iadapter-sd15-3ch", "t2i-adapter"),
        ("upscalers/esrgan-x4-newkeys", "upscaler"),
        ("upscalers/realesrgan-x4plus", "upscaler"),
        ("diffusers/clip-vision-h", "clip-vision"),
    ],
)
def test_other_networks_are_known(rel: str, kind: str, catalog: Catalog, tmp_path: Path) -> None:
    found = told(sparse_file(tmp_path / "m.safetensors", tensors(rel), dtype="F16"), catalog)
    assert (found["kind"], found["prediction"]) == (kind, None)
    assert found["advice"]
    assert found["components"]


@pytest.mark.parametrize(
    ("shapes", "kind"),
    [
        ({"emb_params": (4, 768)}, "embedding"),
        ({"clip_l": (2, 768), "clip_g": (2, 1280)}, "embedding"),
        ({"lora_unet_x.hada_w1_a": (8, 4), "lora_unet_x.hada_w1_b": (4, 8)}, "lora"),
        ({"lora_unet_x.lokr_w1": (8, 4), "lora_unet_x.lokr_w2": (4, 8)}, "lora"),
        ({"768.0.linear.0.weight": (8, 8)}, "hypernetwork"),
        ({"double_blocks.0.img_attn.qkv.weight": (8, 8)}, "other-model"),
        ({"encoder.block.0.layer.0.SelfAttention.q.weight": (8, 8)}, "text-encoder"),
        ({"something.else": (8, 8)}, "unknown"),
        ({}, "empty"),
    ],
)
def test_small_files_are_told_by_their_names(
    shapes: dict[str, tuple[int, ...]], kind: str, catalog: Catalog, tmp_path: Path
) -> None:
    found = told(sparse_file(tmp_path / "m.safetensors", shapes, metadata={"format": "pt"}), catalog)
    assert found["kind"] == kind
    assert found["title"]


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("lora_unet_x.lora_up.weight", "lora"),
        ("unet.x.lora_A.weight", "lora"),
        ("lora_unet_x.hada_w2_b", "loha"),
        ("lora_unet_x.lokr_w1_a", "lokr"),
        ("lora_unet_x.oft_blocks", "oft"),
    ],
)
def test_the_sort_of_an_adapter_is_told(name: str, variant: str, catalog: Catalog, tmp_path: Path) -> None:
    shapes = {name: (8, 8), name.replace("up", "down").replace("w2_b", "w1_a").replace("_A", "_B"): (8, 8)}
    found = told(sparse_file(tmp_path / "m.safetensors", shapes), catalog)
    assert (found["kind"], found["variant"]) == ("lora", variant)


@pytest.mark.parametrize(
    ("rel", "family"),
    [
        ("kohya-sd15", "sd1"),
        ("kohya-sd15-locon", "sd1"),
        ("kohya-sd21", "sd2"),
        ("kohya-sdxl-ldmnames", "sdxl"),
        ("kohya-sdxl-diffusersnames", "sdxl"),
        ("diffusers-peft-sd15", "sd1"),
        ("diffusers-peft-sdxl", "sdxl"),
        ("diffusers-mid-sd15", "sd1"),
        ("diffusers-old-attnprocs-sd15", "sd1"),
    ],
)
def test_what_a_lora_is_for_is_told(rel: str, family: str, catalog: Catalog, tmp_path: Path) -> None:
    found = told(sparse_file(tmp_path / "m.safetensors", tensors(f"lora/{rel}"), dtype="F16"), catalog)
    assert (found["kind"], found["family"]) == ("lora", family)
    assert found["variant"] == ("locon" if "locon" in rel else "lora")


@pytest.mark.parametrize(
    ("shapes", "metadata", "family"),
    [
        ({"emb_params": (4, 768)}, {}, "sd1"),
        ({"emb_params": (4, 1024)}, {}, "sd2"),
        ({"clip_l": (2, 768), "clip_g": (2, 1280)}, {}, "sdxl"),
        ({"768.0.linear.0.weight": (8, 8), "320.0.linear.0.weight": (8, 8)}, {}, "sd1"),
        ({"lora_unet_joint_blocks_0_x.lora_up.weight": (8, 8)}, {}, "sd3"),
        ({"lora_unet_x.lora_up.weight": (8, 8)}, {"ss_base_model_version": "sdxl_base_v1-0"}, "sdxl"),
        ({"lora_unet_x.lora_up.weight": (8, 8)}, {"modelspec.architecture": "stable-diffusion-v1/lora"}, "sd1"),
        ({"lora_unet_x.lora_up.weight": (8, 8)}, {"ss_base_model_version": "something"}, None),
        ({"<mine>": (768,)}, {}, "sd1"),
    ],
)
def test_what_an_addition_is_for_is_told(
    shapes: dict[str, tuple[int, ...]], metadata: dict[str, str], family: str | None, catalog: Catalog, tmp_path: Path
) -> None:
    found = told(sparse_file(tmp_path / "m.safetensors", shapes, metadata=metadata), catalog)
    assert found["family"] == family
    assert (family is None) == (found["advice"] == ["It is used beside a model, not in its place."])


def test_every_look_has_a_kind() -> None:
    import re

    for look in LOOKS:
        assert any(re.search(pattern, look.noun) for pattern, _ in KINDS_OF_LOOKS), look.noun


def test_the_nearest_families_of_a_stranger_are_named(catalog: Catalog, tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in manifest("sd-v1").items() if ".input_blocks." in name or ".4." in name}
    found = told(sparse_file(tmp_path / "m.safetensors", shapes), catalog)
    assert found["family"] is None
    assert "sd1" in found["candidates"]
    assert "are missing" in " ".join(found["evidence"])


def test_language_models_are_told_with_their_licences(catalog: Catalog, tmp_path: Path) -> None:
    shapes = {"gpt_neox.embed_in.weight": (50432, 6144), "gpt_neox.layers.0.input_layernorm.weight": (6144,)}
    found = told(sparse_file(tmp_path / "m.safetensors", shapes, dtype="F16"), catalog)
    assert (found["kind"], found["variant"]) == ("language-model", "StableLM alpha 7B")
    assert found["commercial"] == "unknown"
    assert "cc-by-nc-sa-4.0 (tuned)" in found["licence_evidence"][0]


def test_metadata_is_told_and_bounded(catalog: Catalog, tmp_path: Path) -> None:
    metadata = {f"ss_{number}": "\x1b[31m" + "x" * 5000 for number in range(500)}
    metadata |= {"ss_network_dim": "32", "ss_tag_frequency": '{"a":' * 3000}
    path = sparse_file(tmp_path / "m.safetensors", tensors("lora/kohya-sd15"), dtype="F16", metadata=metadata)
    found = told(path, catalog)
    assert found["kind"] == "lora"
    assert len(found["metadata"]) == 200
    assert len(json.dumps(found)) < 200_000
    assert "\x1b" not in json.dumps(found, ensure_ascii=False)
    assert found["training"] == {"rank": "32"}


def test_hashes_are_told_and_remembered(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sparse_file(tmp_path / "m.safetensors", {"emb_params": (4, 768)})
    cache = HashCache(tmp_path / "hashes.json")
    known = compute_hashes(path)
    assert inspect_file(path, catalog).to_json()["hashes"] == known.to_json()
    assert inspect_file(path, catalog, hashes=False, cache=cache).files[0].hashes is None
    assert inspect_file(path, catalog, cache=cache).files[0].hashes == known
    again = inspect_file(path, catalog, hashes=False, cache=HashCache(tmp_path / "hashes.json"))
    assert again.files[0].hashes == known


def test_the_hashes_of_several_files_are_told_by_name(catalog: Catalog, tmp_path: Path) -> None:
    for number in (1, 2):
        sparse_file(tmp_path / f"m-0000{number}-of-00002.safetensors", {f"part.{number}": (4,)})
    index = {"weight_map": {f"part.{number}": f"m-0000{number}-of-00002.safetensors" for number in (1, 2)}}
    path = tmp_path / "m.safetensors.index.json"
    path.write_text(json.dumps(index))
    found = inspect_file(path, catalog).to_json()
    assert isinstance(found["hashes"], dict)
    assert set(found["hashes"]) == {"m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"}
    assert "2 shards" in str(found["evidence"])


def test_advice_is_said_in_chinese(catalog: Catalog, tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "my model.safetensors", manifest("sd-v1"), dtype="F32")
    found = inspect_file(path, catalog, hashes=False, folders=(tmp_path / "models",))
    chinese = [str(line) for line in found.to_json("zh-CN")["advice"]]  # pyright: ignore[reportGeneralTypeIssues] - a list
    assert chinese[0].startswith("用它作画：pinxit paint")
    assert f"'{path}'" in chinese[0]
    assert chinese[1] == f"放进 {tmp_path / 'models'}，就能用名称调用它。"
    assert "--dtype f16" in chinese[2]


WATCHED = """
import sys
from pathlib import Path
from pinxit.plugins.manager import build_catalog
from pinxit.studio.inspect import inspect_file
found = inspect_file(Path(sys.argv[1]), build_catalog())
print(found.kind, found.family, "torch" in sys.modules)
"""


def test_torch_stays_away(tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "m.safetensors", tensors("singlefile/vae-kl-f8"), dtype="F16")
    done = subprocess.run([sys.executable, "-c", WATCHED, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["vae", "sd1", "False"]
