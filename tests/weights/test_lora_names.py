"""Every trainer's names of a model's layers, compared with manifests that a trainer's own network class confirmed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from pinxit.models.common.layouts import CLIP_HF
from pinxit.models.common.transformer_layouts import MMDIT_DIFFUSERS
from pinxit.models.common.unet_layouts import UNET_DIFFUSERS
from pinxit.weights.layout import Op, Shape
from pinxit.weights.lora_names import NAMINGS, SUFFIXES, Target, modules, read_modules, split_name, targets
from tests.reference import golden_json
from tests.weights.files import manifest

UNET = "model.diffusion_model."
UNETS = {"sd15": "sd-v1", "sd21": "sd-v2-768-v", "sdxl": "sdxl-base"}


def component(folder: str, part: str) -> dict[str, Shape]:
    tensors = golden_json(f"manifests/diffusers/{folder}.json")["components"][part]["tensors"]
    return {name: tuple(shape) for name, shape in tensors.items()}


def below(prefix: str, name: str) -> dict[str, Shape]:
    return {key.removeprefix(prefix): shape for key, shape in manifest(name).items() if key.startswith(prefix)}


@cache
def shapes_of(model: str) -> dict[str, dict[str, Shape]]:
    """Every network that adapters change, under our names."""
    texts = {"sd15": ("sd15", ["text_encoder"]), "sd21": ("sd21", ["text_encoder"])}
    folder, parts = texts.get(model, ("sdxl-base", ["text_encoder", "text_encoder_2"]))
    return {"unet": below(UNET, UNETS[model]), **{part: component(folder, part) for part in parts}}


@cache
def layers(model: str) -> tuple[Target, ...]:
    found: list[Target] = []
    for name, shapes in shapes_of(model).items():
        found += targets(name, UNET_DIFFUSERS if name == "unet" else CLIP_HF, shapes)
    return tuple(found)


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("kohya-sd15", "sd15"),
        ("kohya-sd15-locon", "sd15"),
        ("kohya-sd21", "sd21"),
        ("kohya-sdxl-ldmnames", "sdxl"),
        ("kohya-sdxl-diffusersnames", "sdxl"),
    ],
)
def test_every_module_means_the_weights_that_the_reference_says(path: str, model: str) -> None:
    oracle: dict[str, dict[str, str | None]] = golden_json(f"manifests/lora/{path}.json")["module_to_weight"]
    known = modules(layers(model))

    def said(module: str) -> dict[str, str | None]:
        target = known[module]
        original = UNET + target.ours if target.component == "unet" else None
        return {"ldm": original, "diffusers_or_te": target.theirs}

    assert {module: said(module) for module in oracle} == oracle


EVERY = (
    ("kohya-sd15", "sd15"),
    ("kohya-sd15-locon", "sd15"),
    ("kohya-sd21", "sd21"),
    ("kohya-sdxl-ldmnames", "sdxl"),
    ("kohya-sdxl-diffusersnames", "sdxl"),
    ("diffusers-peft-sd15", "sd15"),
    ("diffusers-mid-sd15", "sd15"),
    ("diffusers-old-attnprocs-sd15", "sd15"),
    ("diffusers-peft-sdxl", "sdxl"),
)


@pytest.mark.parametrize(("path", "model"), EVERY)
def test_every_tensor_of_a_file_belongs_to_a_layer_of_its_shape(path: str, model: str) -> None:
    tensors: dict[str, list[int]] = golden_json(f"manifests/lora/{path}.json")["tensors"]
    found, strangers = read_modules(tensors)
    known = modules(layers(model))
    assert strangers == ()
    assert not set(found) - set(known)
    for name, module in found.items():
        assert module.algorithm == "lora"
        assert {"up", "down"} <= set(module.tensors) <= {"up", "down", "alpha"}
        target = known[name]
        out, into, *kernel = shapes_of(model)[target.component][target.ours]
        up, down = (tensors[module.tensors[role]] for role in ("up", "down"))
        assert (up[0], down[1], down[2:]) == (out, into, kernel)
        assert up[1] == down[0]


def test_no_name_means_two_layers() -> None:
    for model in UNETS:
        known = modules(layers(model))
        assert len(known) > 3 * len(layers(model))
    twice = (Target(component="unet", ours="a.weight", theirs="x.y.weight"),)
    other = (Target(component="unet", ours="b.weight", theirs="x_y.weight"),)
    with pytest.raises(ValueError, match="lora_unet_x_y names a as well as b".replace(" a ", r" a\.weight ")):
        modules((*twice, *other))


def test_a_folders_thirds_of_a_joined_weight_are_told() -> None:
    ours = below(UNET, "sd3-medium")
    known = modules(targets("transformer", MMDIT_DIFFUSERS, ours))
    whole = known["lora_unet_joint_blocks_0_x_block_attn_qkv"]
    third = known["transformer.transformer_blocks.0.attn.to_v"]
    assert (whole.ours, whole.piece) == ("joint_blocks.0.x_block.attn.qkv.weight", None)
    assert (third.ours, third.piece) == (whole.ours, (2, 3))
    assert known["diffusion_model.joint_blocks.0.x_block.attn.qkv"] == whole
    assert "transformer.transformer_blocks.0.attn.processor.to_q" in known
    assert known["transformer.norm_out.linear"].op is Op.SWAP
    assert known["lora_unet_final_layer_adaLN_modulation_1"].op is None


@pytest.mark.parametrize(
    "name",
    [
        "lycoris_mid_block_attentions_0_proj_in",
        "diffusion_model.middle_block.1.proj_in",
        "base_model.model.mid_block.attentions.0.proj_in",
        "unet.mid_block.attentions.0.proj_in",
        "lora_unet_mid_block_attentions_0_proj_in",
        "lora_unet_middle_block_1_proj_in",
    ],
)
def test_one_layer_under_every_trainers_name(name: str) -> None:
    assert modules(layers("sd15"))[name].ours == "middle_block.1.proj_in.weight"


def test_the_suffixes_are_those_of_the_reference() -> None:
    patterns: dict[str, Any] = golden_json("manifests/lora/patterns.json")

    def listed() -> Iterator[str]:
        for group in patterns["suffixes"].values():
            for text in group:
                yield from (word for word in text.split("(")[0].split("[")[0].replace("/", " ").split())

    assert {word for word in listed() if word.startswith((".", "_"))} <= set(SUFFIXES)
    for prefix in patterns["prefixes"]:
        if prefix in {"lora_prior_", "bundle_emb.", "lora_unet_joint_blocks_"}:
            continue
        assert any(prefix in starts for naming in NAMINGS for starts in naming.prefixes.values()), prefix


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("lora_unet_x.lora_up.weight", ("lora_unet_x", "lora", "up")),
        ("unet.x.processor.to_q_lora.down.weight", ("unet.x.processor.to_q", "lora", "down")),
        ("unet.x.to_q.lora_A.default.weight", ("unet.x.to_q", "lora", "down")),
        ("x.lora_magnitude_vector.weight", ("x", "dora", "magnitude")),
        ("lora_unet_x.hada_t1", ("lora_unet_x", "loha", "t1")),
        ("lora_unet_x.lokr_w2_b", ("lora_unet_x", "lokr", "w2_b")),
        ("lora_unet_x.b1.weight", ("lora_unet_x", "glora", "b1")),
        ("bundle_emb.cat.string_to_param.*", None),
        ("something", None),
    ],
)
def test_a_name_is_taken_apart(name: str, parts: tuple[str, str, str] | None) -> None:
    assert split_name(name) == parts


def test_modules_are_told_by_what_they_hold() -> None:
    names = ["a.lora_up.weight", "a.lora_down.weight", "a.dora_scale", "b.weight", "b.on_input", "c.weight", "d.alpha"]
    found, strangers = read_modules([*names, "bundle_emb.x.clip_l", "e.oft_blocks", "e.alpha"])
    assert {name: module.algorithm for name, module in found.items()} == {"a": "dora", "b": "ia3", "e": "oft"}
    assert found["e"].tensors == {"blocks": "e.oft_blocks", "alpha": "e.alpha"}
    assert set(strangers) == {"c.weight", "d.alpha", "bundle_emb.x.clip_l"}
