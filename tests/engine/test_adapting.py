"""Adapters from the request to the pixels: found, bound, merged when a network is loaded, and gone without a trace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pinxit.adapters.contract import DEFAULT_FIELDS
from pinxit.engine.adapting import identity
from pinxit.models.contract import Defaults
from pinxit.schema.errors import BadInput, Missing, ModelError, PinxitError, UnknownName
from pinxit.schema.picture import read_record
from pinxit.schema.request import GenerationRequest
from pinxit.studio.library import Library
from tests.adapters.files import random_lora, write
from tests.easel import Easel, Easels, easel_for

BASE = "sd1"


@pytest.fixture(scope="module")
def shelf(easels: Easels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, and two adapters of it: `fur` of the U-Net and `words` of the text encoder."""
    folder = tmp_path_factory.mktemp("shelf")
    (folder / "loras").mkdir()
    for name in (BASE, "sd2", "sdxl"):
        (folder / f"{name}.safetensors").symlink_to(easels.model(name))
    resolved = easels(BASE).resolve()
    write(folder / "loras", "fur", random_lora(resolved))
    write(folder / "loras", "ink", random_lora(resolved, seed=1))
    write(folder / "loras", "words", random_lora(resolved, components=("text_encoder",)))
    write(folder / "loras", "xl", random_lora(easels("sdxl").resolve(), components=("text_encoder_2",)))
    return folder


@pytest.fixture
def easel(shelf: Path) -> Easel:
    return easel_for(shelf, BASE)


def state(easel: Easel, component: str = "unet", **given: object) -> dict[str, Tensor]:
    network = easel.residency.network(easel.resolve(**given), component)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_a_picture_changes_with_the_adapter_and_not_after_it(easel: Easel) -> None:
    plain = easel.pixels()
    fur = easel.pixels(adapters=("fur",))
    assert fur != plain
    assert easel.pixels() == plain
    assert easel.pixels(adapters=("fur@0.5",)) not in (plain, fur)
    assert easel.pixels(adapters=("fur@0",)) == plain
    assert easel.pixels(adapters=("words@0:0.5",)) != plain
    assert easel.pixels(adapters=("fur",)) == fur


def test_weights_are_bit_equal_once_it_is_gone(easel: Easel) -> None:
    before = state(easel)
    changed = state(easel, adapters=("fur",))
    after = state(easel)
    assert any(not torch.equal(changed[name], tensor) for name, tensor in before.items())
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_merge_is_rounded_once(shelf: Path, easels: Easels) -> None:
    exact = state(easel_for(shelf, BASE), adapters=("fur@0.3", "ink@-0.7"))
    short = state(easel_for(shelf, BASE, dtype=torch.bfloat16), adapters=("fur@0.3", "ink@-0.7"))
    packed = {name for name in exact if name not in short or short[name].shape != exact[name].shape}
    kept = exact.keys() - packed
    assert kept
    assert all(torch.equal(short[name], exact[name].to(torch.bfloat16)) for name in kept)


def test_several_act_in_their_order(easel: Easel) -> None:
    name = "middle_block.1.transformer_blocks.0.attn1.to_q.weight"
    plain, fur, ink, both = (
        state(easel, adapters=adapters)[name] for adapters in ((), ("fur@0.5",), ("ink@0.25",), ("fur@0.5", "ink@0.25"))
    )
    assert torch.allclose(both - plain, (fur - plain) + (ink - plain), atol=1e-6)
    swapped = easel.resolve(adapters=("ink@0.25", "fur@0.5"))
    assert [one.use.name for one in swapped.adapters] == ["ink", "fur"]
    assert identity(swapped.adapters, "unet") != identity(
        easel.resolve(adapters=("fur@0.5", "ink@0.25")).adapters, "unet"
    )


def test_only_what_is_touched_is_loaded_again(easel: Easel) -> None:
    def networks(**given: object) -> tuple[object, object, object]:
        resolved = easel.resolve(**given)
        unet, text, vae = (easel.residency.network(resolved, name) for name in ("unet", "text_encoder", "vae"))
        return unet, text, vae

    plain = networks()
    fur = networks(adapters=("fur",))
    assert [one is other for one, other in zip(plain, fur, strict=True)] == [False, True, True]
    assert networks(adapters=("fur",)) == fur
    assert networks(adapters=("fur@1:0.5",)) == fur
    words = networks(adapters=("words",))
    assert [one is other for one, other in zip(fur, words, strict=True)] == [False, False, True]
    assert networks(adapters=("words@0.2:1",)) == words


def test_tags_of_the_prompt_are_adapters(easel: Easel, tmp_path: Path) -> None:
    named = easel.resolve(prompt="a cat", adapters=("ink@0.5", "fur@1:0.8"))
    tagged = easel.resolve(prompt="<lyco:ink:0.5>a cat <lora:fur:0.8:1>", adapters=())
    assert tagged.request == named.request
    assert str(tagged.request.adapters[1]) == "lora:fur@1.0:0.8"
    mixed = easel.resolve(prompt="a cat <lora:fur:te=0.5:unet=1>", adapters=("ink",))
    assert list(map(str, mixed.request.adapters)) == ["lora:ink@1.0", "lora:fur@1.0:0.5"]
    [ready] = easel.paint(prompt="a cat <lora:fur:0.8>", output=tmp_path)
    assert ready.path is not None
    record = read_record(ready.path)
    assert record.request.prompt == "a cat"
    assert [(one.name, one.files[0].name, len(one.short)) for one in record.adapters] == [
        ("fur", "fur.safetensors", 12)
    ]
    assert easel.pixels(**record.request.to_dict()) == [ready.pixels_sha256]


@pytest.mark.parametrize(
    ("given", "kind", "told"),
    [
        ({"adapters": ("furr",)}, UnknownName, "There is no lora named 'furr'. Did you mean 'fur'?"),
        ({"adapters": ("hypernet:fur",)}, UnknownName, "There is no adapter kind named 'hypernet'. Known: lora."),
        ({"prompt": "<lora:furr:1>"}, UnknownName, "There is no lora named 'furr'. Did you mean 'fur'?"),
        ({"adapters": ("sdxl",)}, ModelError, "sdxl is no LoRA: it looks like a Stable Diffusion model in one file."),
        ({"adapters": ("xl",)}, ModelError, "xl was made for Stable Diffusion XL (it changes two text encoders), and"),
        ({"negative": "<lora:fur:1>"}, BadInput, "The negative prompt asks for the lora 'fur'; adapters act on the"),
        ({"prompt": "<lora:fur:11>"}, BadInput, "adapters.0.weight must be a number from -10 to 10, not 11.0."),
        ({"prompt": "<lo<lora:fur:1>ra:fur:1>"}, BadInput, "The prompt holds tags within tags."),
    ],
)
def test_what_cannot_be_applied_is_told(
    easel: Easel, given: dict[str, object], kind: type[PinxitError], told: str
) -> None:
    with pytest.raises(kind) as raised:
        easel.resolve(**given)
    assert str(raised.value).startswith(told)
    if "adapters" in given:
        assert raised.value.field == "adapters"


def test_a_file_of_another_kind_is_told(shelf: Path, easel: Easel, easels: Easels) -> None:
    write(shelf / "loras", "seed", {"emb_params": torch.ones(1, 64)})
    with pytest.raises(ModelError, match="seed is no LoRA; its kind: "):
        easel.resolve(adapters=("seed",))


def test_a_pickle_is_converted_first(shelf: Path, easel: Easel) -> None:
    (shelf / "loras" / "old.pt").write_bytes(b"\x80\x04")
    with pytest.raises(PinxitError, match=r"old\.pt is a pickle, which can run code, so it is never loaded") as raised:
        easel.resolve(adapters=("old",))
    assert "pinxit models convert" in raised.value.hint
    (shelf / "loras" / "old.pt").unlink()


def with_defaults(easels: Easels, folder: Path, defaults: object, metadata: Mapping[str, str] | None = None) -> Easel:
    """Our own model with a few-step adapter in its folder."""
    model = easels.model("pinxit")
    target = folder / "own"
    target.mkdir()
    for path in model.iterdir():
        (target / path.name).symlink_to(path)
    tensors = random_lora(
        easels("pinxit").resolve(), trainer="diffusers", suffixes=(".lora_B.weight", ".lora_A.weight")
    )
    write(target, "few-step", tensors, metadata or {"pinxit.defaults": json.dumps(defaults)})
    easel = easel_for(folder, "pinxit")
    return Easel(library=Library([], builtin=target), catalog=easel.catalog, residency=easel.residency, model="pinxit")


FEW = {"steps": 4, "guidance": 1.0, "sampler": "euler", "schedule": "sgm_uniform", "guidance_rescale": 0.0}


def test_the_built_in_models_adapters_bring_their_settings(easels: Easels, tmp_path: Path) -> None:
    easel = with_defaults(easels, tmp_path, FEW)
    assert [entry.name for entry in easel.library.entries("lora")] == ["few-step"]
    request = GenerationRequest(prompt="a cat")

    def settings(request: GenerationRequest) -> tuple[object, ...]:
        asked = easel.resolve(**{**dict(request), "steps": request.steps}).request
        return (
            asked.steps,
            asked.guidance,
            asked.sampler,
            asked.schedule,
            asked.guidance_rescale,
            asked.guidance_interval,
        )

    plain = settings(request)
    assert settings(request.replace(adapters=("few-step",))) == (4, 1.0, "euler", "sgm_uniform", 0.0, None)
    assert settings(request.replace(adapters=("few-step",), steps=7, sampler="heun"))[:3] == (7, 1.0, "heun")
    assert settings(request.replace(adapters=("few-step@-1",))) == plain
    assert easel.pixels(adapters=("few-step",), steps=2) != easel.pixels(steps=2)


@pytest.mark.parametrize(
    ("defaults", "note"),
    [
        ({"steps": 4, "prompt": "x"}, "few-step names settings that adapters do not have: prompt"),
        ({"steps": 4000}, "what few-step says of its best settings cannot be read"),
        ("{", "few-step names settings"),
    ],
)
def test_settings_that_make_no_sense_are_told(easels: Easels, tmp_path: Path, defaults: object, note: str) -> None:
    metadata = {"pinxit.defaults": "{"} if defaults == "{" else None
    resolved = with_defaults(easels, tmp_path, defaults, metadata).resolve(adapters=("few-step",), steps=None)
    if defaults == "{":
        note = "what few-step says of its best settings cannot be read"
    assert note in resolved.notes


def test_settings_are_fields_of_both_sides() -> None:
    assert set(DEFAULT_FIELDS) <= set(GenerationRequest.model_fields)
    assert set(DEFAULT_FIELDS.values()) <= {one.name for one in fields(Defaults)}


def test_an_adapter_acts_on_a_refiner_that_it_fits(easel: Easel, shelf: Path) -> None:
    passes = ({"kind": "refine", "model": BASE, "switch": 0.5},)
    resolved = easel.resolve(adapters=("fur",), passes=passes)
    assert resolved.refiner is not None
    assert identity(resolved.refiner.resolved.adapters, "unet") == identity(resolved.adapters, "unet")
    other = easel.resolve(adapters=("fur",), passes=({"kind": "refine", "model": "sd2", "switch": 0.5},))
    assert other.refiner is not None
    assert other.refiner.resolved.adapters == ()
    assert "fur does not fit sd2 and is left out there" in other.notes


def test_an_adapter_that_went_away_is_missing(easel: Easel) -> None:
    with pytest.raises((Missing, UnknownName)):
        easel.resolve(adapters=("gone [0123456789]",))
