from __future__ import annotations

from dataclasses import replace

import pytest

from pinxit.schema.errors import BadModelFile, UnknownModelFormat
from pinxit.weights.identify import Match, identify, match_layout
from pinxit.weights.layout import ShapeFact, SizeFact
from tests.weights.files import Shape, header_of
from tests.weights.tiny import FOLDER, LAYOUTS, OWN, SINGLE, on_meta

OURS = {name: tuple(tensor.shape) for name, tensor in on_meta().state_dict().items()}


def named(prefix: str = "model.") -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for entry in SINGLE.names_for("net", OURS):
        theirs = entry.theirs_shapes(tuple(OURS[name] for name in entry.ours))
        shapes.update(
            {prefix + name.removeprefix("model."): shape for name, shape in zip(entry.theirs, theirs, strict=True)}
        )
    return shapes


def test_the_best_layout_wins() -> None:
    assert identify(header_of(named()), LAYOUTS).layout is SINGLE
    assert identify(header_of(named("net/")), LAYOUTS).layout is FOLDER
    match = identify(header_of(OURS), LAYOUTS)
    assert match.layout is OWN
    assert match.family == "tiny"
    assert match.axes == {"net": {"n": 2}}
    assert dict(match.part("net").shapes) == OURS


def test_what_is_left_is_reported() -> None:
    shapes = {**named(), "model.betas": (1000,), "model.new": (1,), "else": (2,)}
    del shapes["model.layers.1.mix.bias"]
    match = identify(header_of(shapes), LAYOUTS)
    assert match.missing == ("model.layers.1.mix.bias",)
    assert match.unexpected == ("model.new", "else")
    assert match.dropped == {"model.betas": "noise schedule"}
    assert "blocks.0.mix.bias" not in match.part("net").shapes


def test_ties_name_both() -> None:
    twin = replace(SINGLE, name="twin")
    with pytest.raises(UnknownModelFormat, match="fits tiny and twin equally well") as caught:
        identify(header_of(named()), (*LAYOUTS, twin))
    assert caught.value.hint == "Name the family yourself."
    closer = replace(SINGLE, name="closer", drops=())
    assert identify(header_of({**named(), "model.betas": (1,)}), (closer, SINGLE)).layout is SINGLE


def test_facts_decide_and_speak() -> None:
    def with_fact(fact: ShapeFact | SizeFact) -> Match | str:
        return match_layout(header_of(named()), replace(SINGLE, facts=(fact,)))

    holds = with_fact(ShapeFact("net", "blocks.0.mix.weight", 0, (6,), "mixed channels"))
    assert isinstance(holds, Match)
    assert holds.evidence[-1] == "mixed channels: 6"
    assert isinstance(with_fact(ShapeFact("net", "blocks.0.mix.weight", None, (4,), "axes")), Match)
    assert isinstance(with_fact(SizeFact("net", "n", (1, 2), "blocks")), Match)
    assert isinstance(with_fact(SizeFact("other", "n", (1,), "others")), Match)
    assert (
        with_fact(ShapeFact("net", "blocks.0.mix.weight", 0, (4, 5), "mixed channels"))
        == "mixed channels: 6, not 4 or 5"
    )
    assert with_fact(ShapeFact("net", "blocks.0.q.bias", 1, (4,), "width")) == "width: 0, not 4"
    assert with_fact(ShapeFact("net", "gone", 1, (4,), "width")) == "width cannot be seen: gone is missing"
    assert with_fact(SizeFact("net", "n", (3,), "blocks")) == "blocks: 2, not 3"


def test_a_file_of_mostly_strangers_is_not_this_layout() -> None:
    strangers: dict[str, Shape] = {f"x{n}": (1,) for n in range(60)}
    with pytest.raises(UnknownModelFormat, match="it leaves 60 of 86 tensors unexplained"):
        identify(header_of({**named(), **strangers}), LAYOUTS)


def test_measuring_a_tensor_that_cannot_be() -> None:
    match = identify(header_of(named()), LAYOUTS)
    assert match.part("net").dim("blocks.0.mix.weight", 2) == 1
    with pytest.raises(BadModelFile, match=r"The net lacks the tensor blocks.9.x"):
        match.part("net").dim("blocks.9.x", 0)
    with pytest.raises(BadModelFile, match=r"has the shape \[4\], which has too few axes"):
        match.part("net").dim("blocks.0.q.bias", 1)
    with pytest.raises(BadModelFile, match=r"model.safetensors holds no vae; it holds net"):
        match.part("vae")


@pytest.mark.parametrize(
    ("names", "noun"),
    [
        (["ip_adapter.1.to_k_ip.weight"], "an IP-Adapter"),
        (["control_model.time_embed.0.weight"], "a ControlNet"),
        (["controlnet_cond_embedding.conv_in.weight", "down_blocks.0.resnets.0.norm1.weight"], "a ControlNet"),
        (["body.0.block1.weight"], "a T2I-Adapter"),
        (["model.1.sub.0.RDB1.conv1.0.weight"], "an upscaler"),
        (["double_blocks.0.img_attn.norm.key_norm.scale"], "a Flux model"),
        (["model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"], "a Stable Diffusion 3 model"),
        (["clip_txt_mapper.weight"], "a Stable Cascade model"),
        (["model.diffusion_model.input_blocks.0.0.weight"], "a Stable Diffusion model in one file"),
        (["unet/down_blocks.0.resnets.0.norm1.weight"], "a diffusers folder"),
        (
            ["down_blocks.0.resnets.0.norm1.weight", "mid_block.resnets.0.norm1.weight"],
            "the U-Net of a diffusers folder",
        ),
        (["input_blocks.0.0.weight"], "a U-Net without its text encoder and VAE"),
        (["first_stage_model.encoder.down.0.block.0.norm1.weight"], "a VAE"),
        (["encoder.mid_block.attentions.0.to_q.weight"], "a VAE"),
        (["encoder.block.0.layer.0.SelfAttention.q.weight"], "a T5 text encoder"),
        (["vision_model.embeddings.class_embedding"], "a CLIP vision encoder"),
        (["text_model.encoder.layers.0.layer_norm1.bias"], "a CLIP text encoder"),
        (["model.layers.0.self_attn.q_proj.weight"], "a language model"),
        (["what.is.this"], "nothing that is known (1 tensors, such as 'what.is.this')"),
        ([], "a file without any tensors"),
    ],
)
def test_unknown_files_are_described(names: list[str], noun: str) -> None:
    with pytest.raises(UnknownModelFormat) as caught:
        identify(header_of(dict.fromkeys(names, (1,))), LAYOUTS)
    assert f"a healthy file, but no known model: it looks like {noun}" in caught.value.message
    assert caught.value.hint


def test_a_lone_shard_is_sent_to_its_index() -> None:
    header = header_of({"a": (1,)})
    lone = replace(header, path=header.path.with_name("model-00002-of-00004.safetensors"))
    with pytest.raises(UnknownModelFormat, match=r"it looks like shard 2 of 4. Give the .safetensors.index.json"):
        identify(lone, LAYOUTS)
