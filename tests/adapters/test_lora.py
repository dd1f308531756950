"""What a file changes in a model, and what is said of one that does not fit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pinxit.adapters.contract import Base, Source, Strength
from pinxit.adapters.lora import BoundLora, bind
from pinxit.engine.plan import Resolved
from pinxit.models.kinds import About
from pinxit.schema.errors import BadModelFile, ModelError, NumericError
from pinxit.weights.header import read_header
from pinxit.weights.load import read_component
from tests.adapters.files import PEFT, random_lora, write
from tests.easel import Easels

FULL = Strength(image=1.0, text=1.0)
LAYER = "input_blocks.1.1.transformer_blocks.0.attn1.to_q"
IN_FOLDER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture
def sd1(easels: Easels) -> Resolved:
    return easels("sd1").resolve()


def bound(
    resolved: Resolved,
    path: Path,
    strength: Strength = FULL,
    about: About | None = None,
    made_for: str = "",
) -> BoundLora:
    base = Base(name=resolved.entry.name, family=resolved.family, match=resolved.match)
    source = Source(name=path.stem, header=read_header(path), about=about or About(), made_for=made_for)
    return bind(source, base, strength)


def weights(resolved: Resolved, component: str) -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in read_component(resolved.match, component)}


def merged(resolved: Resolved, adapter: BoundLora, component: str = "unet") -> dict[str, Tensor]:
    patch = adapter.patch(component)
    return {name: patch(name, tensor) for name, tensor in weights(resolved, component).items()}


@pytest.mark.parametrize(
    ("trainer", "suffixes"),
    [
        ("kohya", (".lora_up.weight", ".lora_down.weight")),
        ("kohya, original blocks", (".lora_up.weight", ".lora_down.weight")),
        ("diffusers", PEFT),
        ("diffusers", (".lora.up.weight", ".lora.down.weight")),
        ("PEFT", PEFT),
        ("SimpleTuner", (".lora_up.weight", ".lora_down.weight")),
        ("ComfyUI", (".lora_B.weight", ".lora_A.weight")),
    ],
)
def test_every_trainers_file_changes_the_same(
    sd1: Resolved, tmp_path: Path, trainer: str, suffixes: tuple[str, str]
) -> None:
    only = lambda target: not target.ours.startswith(("out.", "input_blocks.0", "time_embed"))  # noqa: E731
    first = write(tmp_path, "first", random_lora(sd1, only=only))
    other = write(tmp_path, "other", random_lora(sd1, trainer=trainer, suffixes=suffixes, only=only))
    expected, found = (merged(sd1, bound(sd1, path)) for path in (first, other))
    plain = weights(sd1, "unet")
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    changed = [name for name, tensor in plain.items() if not torch.equal(found[name], tensor)]
    assert len(changed) > 100
    assert all(found[name].dtype == torch.float32 for name in changed)


def test_strengths_are_those_of_each_part(sd1: Resolved, tmp_path: Path) -> None:
    path = write(tmp_path, "fur", random_lora(sd1, components=("unet", "text_encoder")))
    both = bound(sd1, path, Strength(image=0.5, text=-1.0))
    assert (both.strength("unet"), both.strength("text_encoder"), both.strength("vae")) == (0.5, -1.0, 0.0)
    name = "text_model.encoder.layers.0.self_attn.q_proj"
    factors = random_lora(sd1, components=("unet", "text_encoder"))
    key = "lora_te_" + name.replace(".", "_")
    delta = factors[f"{key}.lora_up.weight"] @ factors[f"{key}.lora_down.weight"] * 2 / 3
    plain = weights(sd1, "text_encoder")[f"{name}.weight"]
    assert torch.allclose(merged(sd1, both, "text_encoder")[f"{name}.weight"], plain - delta, atol=1e-6)
    assert both.notes == ("fur changes 131 tensors: 119 of the unet, 12 of the text encoder",)


def test_weights_biases_and_norms_may_change_too(sd1: Resolved, tmp_path: Path) -> None:
    plain = weights(sd1, "unet")
    tensors = {
        "lora_unet_conv_in.diff_b": torch.full((32,), 0.5),
        "lora_unet_conv_in.lora_up.weight": torch.ones(32, 1, 1, 1),
        "lora_unet_conv_in.lora_down.weight": torch.ones(1, 4, 3, 3),
        "lora_unet_conv_norm_out.w_norm": torch.full((32,), 0.25),
        "lora_unet_conv_norm_out.b_norm": torch.full((32,), -0.25),
        "lora_unet_conv_out.diff": torch.ones(4, 32, 3, 3),
        f"lora_unet_{IN_FOLDER.replace('.', '_')}.set_weight": torch.eye(32),
    }
    found = merged(sd1, bound(sd1, write(tmp_path, "all", tensors)))
    for name, more in {
        "input_blocks.0.0.weight": 1.0,
        "input_blocks.0.0.bias": 0.5,
        "out.0.weight": 0.25,
        "out.0.bias": -0.25,
        "out.2.weight": 1.0,
    }.items():
        assert torch.allclose(found[name], plain[name] + more, atol=1e-6), name
    assert torch.equal(found[f"{LAYER}.weight"], torch.eye(32))


def test_thirds_and_halves_of_joined_weights_are_found(easels: Easels, tmp_path: Path) -> None:
    sd3 = easels("sd3").resolve()
    plain = weights(sd3, "transformer")
    tensors = {
        "transformer.transformer_blocks.0.attn.to_v.lora_A.weight": torch.ones(1, 128),
        "transformer.transformer_blocks.0.attn.to_v.lora_B.weight": torch.ones(128, 1),
        "transformer.norm_out.linear.lora_A.weight": torch.ones(1, 128),
        "transformer.norm_out.linear.lora_B.weight": torch.cat([torch.ones(128, 1), torch.zeros(128, 1)]),
    }
    found = merged(sd3, bound(sd3, write(tmp_path, "v", tensors)), "transformer")
    joined = found["joint_blocks.0.x_block.attn.qkv.weight"] - plain["joint_blocks.0.x_block.attn.qkv.weight"]
    assert [float(third.mean().round()) for third in joined.chunk(3)] == [0, 0, 1]
    swapped = found["final_layer.adaLN_modulation.1.weight"] - plain["final_layer.adaLN_modulation.1.weight"]
    assert [float(half.mean().round()) for half in swapped.chunk(2)] == [0, 1]


def test_alphas_that_diffusers_keeps_apart_count(sd1: Resolved, tmp_path: Path) -> None:
    tensors = random_lora(sd1, trainer="diffusers", suffixes=PEFT, alpha=None)
    told = {"unet.r": 3, "unet.lora_alpha": 6, "unet.alpha_pattern": {"mid_block.attentions.0.proj_in": 12}}

    def scales(metadata: Mapping[str, str]) -> tuple[float, float]:
        adapter = bound(sd1, write(tmp_path, "told", tensors, metadata))
        first, second = (adapter.changes["unet"][f"{name}.weight"][0] for name in (LAYER, "middle_block.1.proj_in"))
        return first.scale, second.scale

    assert scales({}) == (1, 1)
    assert scales({"lora_adapter_metadata": json.dumps(told)}) == (2, 4)
    by_root = scales({"lora_adapter_metadata": json.dumps({**told, "unet.use_rslora": True})})
    assert by_root == pytest.approx((6 / math.sqrt(3), 12 / math.sqrt(3)))
    assert scales({"lora_adapter_metadata": "{"}) == scales({"lora_adapter_metadata": "[1]"}) == (1, 1)
    assert scales({"lora_adapter_metadata": '{"unet.lora_alpha": "6"}'}) == (1, 1)


def test_the_same_layer_of_text_encoders_has_two_names(sd1: Resolved, tmp_path: Path) -> None:
    for part in ("text_model.encoder", "encoder"):
        key = f"text_encoder.{part}.layers.0.mlp.fc1"
        tensors = {f"{key}.lora_A.weight": torch.ones(1, 64), f"{key}.lora_B.weight": torch.ones(64, 1)}
        adapter = bound(sd1, write(tmp_path, "short", tensors))
        assert list(adapter.changes["text_encoder"]) == ["text_model.encoder.layers.0.mlp.fc1.weight"]


def test_what_is_left_out_is_said(sd1: Resolved, tmp_path: Path) -> None:
    tensors = random_lora(sd1) | {
        "lora_unet_nowhere.lora_up.weight": torch.ones(2, 1),
        "lora_unet_nowhere.lora_down.weight": torch.ones(1, 2),
        "bundle_emb.cat.string_to_param.*": torch.ones(1, 64),
        "strange": torch.ones(1),
    }
    notes = bound(sd1, write(tmp_path, "fur", tensors), about=About(bases=("sdxl",))).notes
    assert notes[1:] == (
        "fur seems to be made for sdxl, but fits",
        "fur: 1 of its layers are not the model's and are left out, such as lora_unet_nowhere",
        "fur brings 1 tensors of embeddings, which are left out",
        "fur: 1 of its tensors change no layer and are left out",
    )


def test_another_familys_file_is_refused_by_both_names(easels: Easels, sd1: Resolved, tmp_path: Path) -> None:
    path = write(tmp_path, "xl", random_lora(easels("sdxl").resolve(), components=("unet", "text_encoder_2")))
    about = About(bases=("sdxl",), evidence=("of rank 3", "it changes two text encoders"))
    with pytest.raises(ModelError) as raised:
        bound(sd1, path, about=about, made_for="Stable Diffusion XL")
    assert str(raised.value) == (
        "xl was made for Stable Diffusion XL (it changes two text encoders), and sd1 is Stable Diffusion 1.x. "
        "Choose an adapter for Stable Diffusion 1.x, or a model that is Stable Diffusion XL."
    )


def test_a_file_of_which_nothing_or_little_fits_is_refused(sd1: Resolved, tmp_path: Path) -> None:
    nothing = {"lora_unet_x.lora_up.weight": torch.ones(2, 1), "lora_unet_x.lora_down.weight": torch.ones(1, 2)}
    with pytest.raises(ModelError) as raised:
        bound(sd1, write(tmp_path, "odd", nothing))
    assert str(raised.value) == (
        "odd changes 1 layers, and none of them are sd1's, such as lora_unet_x. "
        "It was made for another model than Stable Diffusion 1.x."
    )
    key = f"lora_unet_{IN_FOLDER.replace('.', '_')}"
    little = {f"{key}.lora_up.weight": torch.ones(32, 1), f"{key}.lora_down.weight": torch.ones(1, 32)}
    little |= {f"lora_unet_{x}.{role}": torch.ones(2, 2) for x in "ab" for role in ("diff",)}
    with pytest.raises(ModelError, match="little changes 3 layers, and only 1 of them are sd1's, such as lora_unet_a"):
        bound(sd1, write(tmp_path, "little", little))


def test_other_shapes_are_refused(sd1: Resolved, tmp_path: Path) -> None:
    tensors = random_lora(sd1)
    key = f"lora_unet_{IN_FOLDER.replace('.', '_')}"
    tensors[f"{key}.lora_down.weight"] = torch.ones(3, 31)
    with pytest.raises(ModelError) as raised:
        bound(sd1, write(tmp_path, "wide", tensors))
    assert str(raised.value) == (
        f"wide changes layers of other shapes than sd1 has: 1, such as {key} (down [3, 31], up [32, 3]), where sd1 has "
        "[32, 32]. It was made for another model."
    )


def test_missing_factors_are_told(sd1: Resolved, tmp_path: Path) -> None:
    tensors = random_lora(sd1)
    key = f"lora_unet_{IN_FOLDER.replace('.', '_')}"
    del tensors[f"{key}.lora_down.weight"]
    with pytest.raises(BadModelFile, match=f"half is incomplete: of {key} it holds only alpha, up. Download it again"):
        bound(sd1, write(tmp_path, "half", tensors))


def test_numbers_that_are_not_finite_are_told(sd1: Resolved, tmp_path: Path) -> None:
    tensors = random_lora(sd1)
    key = f"lora_unet_{IN_FOLDER.replace('.', '_')}"
    tensors[f"{key}.lora_down.weight"].fill_(float("inf"))
    adapter = bound(sd1, write(tmp_path, "hot", tensors))
    with pytest.raises(NumericError, match=rf"hot makes {LAYER}\.weight infinite or no number\. Lower its weight"):
        merged(sd1, adapter)


def test_a_file_that_changed_is_told(sd1: Resolved, tmp_path: Path) -> None:
    path = write(tmp_path, "fur", random_lora(sd1))
    adapter = bound(sd1, path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(BadModelFile, match="changed since it was looked at"):
        merged(sd1, adapter)


def test_ia3_on_the_wrong_side_is_told(sd1: Resolved, tmp_path: Path) -> None:
    key = f"lora_unet_{IN_FOLDER.replace('attn1.to_q', 'ff.net.0.proj').replace('.', '_')}"
    tensors = {f"{key}.weight": torch.ones(32), f"{key}.on_input": torch.tensor(0.0)}
    adapter = bound(sd1, write(tmp_path, "ia3", tensors))
    with pytest.raises(BadModelFile, match=f"ia3 is damaged: the factors of {key} do not fit together"):
        merged(sd1, adapter)
