from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from pinxit.models.lora.config import LoraFile
from pinxit.models.lora.kind import KIND
from pinxit.weights.layout import Shape
from tests.models.derived_kinds import table
from tests.models.kind_files import KINDS, find_kind
from tests.weights.files import header_of, manifest


def lora(shapes: Mapping[str, Shape], metadata: Mapping[str, str] | None = None) -> LoraFile:
    found = find_kind(replace(header_of(shapes), metadata=metadata or {}), KINDS)
    assert found.kind is KIND
    assert found.match.evidence[0].endswith("layers are changed")
    return found.config


@pytest.mark.parametrize(
    ("name", "base", "variant", "rank"),
    [
        ("kohya-sd15", "sd1", "lora", 8),
        ("kohya-sd15-locon", "sd1", "locon", 8),
        ("kohya-sd21", "sd2", "lora", 8),
        ("kohya-sdxl-ldmnames", "sdxl", "lora", 8),
        ("kohya-sdxl-diffusersnames", "sdxl", "lora", 8),
        ("diffusers-peft-sd15", "sd1", "lora", 8),
        ("diffusers-mid-sd15", "sd1", "lora", 8),
        ("diffusers-old-attnprocs-sd15", "sd1", "lora", 8),
        ("diffusers-peft-sdxl", "sdxl", "lora", 8),
    ],
)
def test_every_trainers_file_is_known_with_its_family(name: str, base: str, variant: str, rank: int) -> None:
    config = lora(table(f"lora/{name}"))
    assert (config.about.bases, config.about.variant, config.ranks[0]) == ((base,), variant, rank)
    assert f"of rank {rank}" in config.about.evidence[0]


CROSS = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.mark.parametrize(
    ("shapes", "base", "variant"),
    [
        ({f"{CROSS}.hada_w1_a": (320, 4), f"{CROSS}.hada_w1_b": (4, 768)}, ("sd1",), "loha"),
        ({f"{CROSS}.lokr_w1": (16, 16), f"{CROSS}.lokr_w2": (20, 128)}, ("sdxl",), "lokr"),
        ({f"{CROSS}.lokr_w1": (8, 16), f"{CROSS}.lokr_w2_a": (9, 4), f"{CROSS}.lokr_w2_b": (4, 64)}, ("sd2",), "lokr"),
        ({f"{CROSS}.oft_blocks": (4, 80, 80), f"{CROSS}.alpha": ()}, (), "oft"),
        ({f"{CROSS}.oft_blocks": (2, 4, 80, 80)}, (), "boft"),
        ({f"{CROSS}.diff": (320, 768)}, ("sd1",), "full"),
        ({f"{CROSS}.weight": (320,), f"{CROSS}.on_input": ()}, (), "ia3"),
        ({f"{CROSS}.lora_A.weight": (4, 768), f"{CROSS}.lora_B.weight": (320, 4), f"{CROSS}.dora_scale": (320, 1)},
         ("sd1",), "dora"),
        ({"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (4, 1024)}, ("sd2",), "lora"),
        ({"lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight": (4, 1536)}, ("sd3",), "lora"),
        ({"transformer.transformer_blocks.0.attn.add_q_proj.lora_A.weight": (4, 1536)}, ("sd3",), "lora"),
        ({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (4, 3072)}, (), "lora"),
        ({"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (4, 1280)}, ("sdxl",), "lora"),
        ({"lora_unet_input_blocks_7_1_transformer_blocks_9_ff_net_2.oft_blocks": (4, 5, 5)}, ("sdxl",), "oft"),
        ({"lora_unet_out_2.w_norm": (320,)}, (), "norm"),
    ],
)  # fmt: skip
def test_its_algorithm_and_family_are_told_by_its_tensors(
    shapes: Mapping[str, Shape], base: tuple[str, ...], variant: str
) -> None:
    about = lora(shapes).about
    assert (about.bases, about.variant) == (base, variant)


@pytest.mark.parametrize(
    ("metadata", "base"),
    [
        ({"ss_base_model_version": "sd_v1"}, ("sd1",)),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, ("sdxl",)),
        ({"ss_base_model_version": "sd_v2_768", "ss_v2": "True"}, ("sd2",)),
        ({"modelspec.architecture": "stable-diffusion-v1/lora"}, ("sd1",)),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-refiner/lora"}, ("refiner",)),
        ({"modelspec.architecture": "stable-diffusion-3-medium/lora"}, ("sd3",)),
        ({"pinxit.family": "pinxit", "ss_base_model_version": "sd_v1"}, ("pinxit",)),
        ({"modelspec.architecture": "something else"}, ()),
        ({}, ()),
    ],
)
def test_where_tensors_do_not_tell_its_trainer_does(metadata: Mapping[str, str], base: tuple[str, ...]) -> None:
    assert lora({"lora_unet_x.oft_blocks": (4, 5, 5)}, metadata).about.bases == base


def test_embeddings_may_come_with_it() -> None:
    config = lora({**table("lora/kohya-sd15"), "bundle_emb.cat.string_to_param.*": (4, 768)})
    assert config.bundled == ("bundle_emb.cat.string_to_param.*",)
    assert len(config.modules) == 264


def test_a_few_changes_in_another_file_do_not_make_it_one() -> None:
    few = {"lora_unet_x.lora_up.weight": (4, 4), "lora_unet_x.lora_down.weight": (4, 4)}
    assert find_kind(header_of({**manifest("vae-kl-f8"), **few}), KINDS).kind.name == "vae"
