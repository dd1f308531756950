"""What every family promises the engine, and the same picture from every layout of a model's files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pinxit.engine.plan import Resolved
from pinxit.models.common.diffusers_json import clip_json, scheduler_json, unet_json, vae_json
from pinxit.models.common.prediction import Prediction
from pinxit.models.contract import Micro, Words
from pinxit.models.pinxit.layout import SINGLE_FILE
from pinxit.models.sd1.layout import FOLDER as SD1_FOLDER
from pinxit.prompts.chunks import Chunking, cut
from pinxit.sampling.denoiser import Conditioning
from pinxit.schema.errors import BadModelFile, ModelError
from pinxit.weights.load import read_component
from pinxit.weights.save import save_model
from tests.easel import Easel, Easels, easel_for

FAMILIES = ("pinxit", "sd1", "sd2", "sdxl", "sd3", "unclip")
HELPED = ("upscale2", "upscale4")
"""Families that paint nothing from words alone."""
every_family = pytest.mark.parametrize("family", FAMILIES)


def denoiser_of(resolved: Resolved) -> Any:
    """The configuration of the network that denoises."""
    return getattr(resolved.config, resolved.family.denoiser)


def test_every_family_has_a_tiny_model(easels: Easels) -> None:
    assert set(easels("pinxit").catalog.families.names()) == {*FAMILIES, *HELPED}


@every_family
def test_the_facts_are_consistent(easels: Easels, family: str) -> None:
    easel = easels(family)
    resolved = easel.resolve()
    facts, config = resolved.facts, resolved.config
    assert resolved.family.name == family
    assert set(facts.components) >= {resolved.family.denoiser, "vae", *resolved.family.encoders}
    assert facts.absent == ()
    assert facts.latent.channels == denoiser_of(resolved).in_channels == config.vae.z_channels
    assert facts.latent.downscale == 2 ** (len(config.vae.channel_mult) - 1)
    assert facts.defaults.sampler in easel.catalog.samplers
    assert facts.defaults.schedule is None or facts.defaults.schedule in easel.catalog.schedules
    assert facts.defaults.width % 8 == facts.defaults.height % 8 == 0
    assert facts.evidence
    for cost in (facts.denoise, facts.decode):
        small, large = cost(64, 64), cost(128, 64)
        assert 0 < small.flops < large.flops
        assert 0 < small.activation_bytes < large.activation_bytes


@every_family
def test_what_is_built_is_what_the_file_holds(easels: Easels, family: str) -> None:
    resolved = easels(family).resolve()
    for component in resolved.facts.components:
        with torch.device("meta"):
            network = resolved.family.build(resolved.config, component)
        shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        assert shapes == dict(resolved.match.part(component).shapes)
    with pytest.raises(ModelError, match="This checkpoint brings no engine"):
        resolved.family.build(resolved.config, "engine")


@every_family
def test_words_become_what_the_network_takes(easels: Easels, family: str) -> None:
    easel = easels(family)
    resolved = easel.resolve()
    tokenizers = resolved.family.tokenizers(resolved.config, resolved.match)
    assert set(tokenizers) <= set(resolved.family.encoders)
    empty = {name: cut((), tokenizer, Chunking())[0] for name, tokenizer in tokenizers.items()}
    words = Words(
        chunks={name: (chunk, chunk) for name, chunk in empty.items()},
        empty=empty,
        emphasis="keep_mean",
        skip=None,
        micro=Micro(original=(64, 64), target=(64, 64)),
    )
    networks = {name: easel.residency.network(resolved, name) for name in tokenizers}
    network = resolved.family.network(resolved.config, easel.residency.network(resolved, resolved.family.denoiser))
    with torch.inference_mode():
        conditioning = resolved.family.encode(resolved.config, networks, words)
        assert conditioning.tokens is not None
        denoiser = denoiser_of(resolved)
        if family == "sd3":
            assert conditioning.tokens.shape == (1, 2 * 154, denoiser.context)
        else:
            assert conditioning.tokens.shape == (1, 154, denoiser.context_dim)
        assert conditioning.tokens.dtype == torch.float32
        x = torch.zeros(1, resolved.facts.latent.channels, 3, 5)
        out = network(x, 500.5, conditioning)
    assert (out.shape, out.dtype) == (x.shape, torch.float32)


@every_family
def test_a_network_without_words_is_a_mistake_of_the_caller(easels: Easels, family: str) -> None:
    easel = easels(family)
    resolved = easel.resolve()
    network = resolved.family.network(resolved.config, easel.residency.network(resolved, resolved.family.denoiser))
    x = torch.zeros(1, resolved.facts.latent.channels, 4, 4)
    with pytest.raises(ValueError, match="needs"):
        network(x, 1.0, Conditioning())


def states_of(easel: Easel) -> dict[str, dict[str, Tensor]]:
    """The weights of every component under our names."""
    resolved = easel.resolve()
    return {name: dict(read_component(resolved.match, name)) for name in resolved.facts.components}


def vocabulary(folder: Path) -> dict[str, str]:
    """The two texts of a tokenizer as a single file's metadata carries them."""
    files = {"tokenizer.vocab": "vocab.json", "tokenizer.merges": "merges.txt"}
    return {key: (folder / "tokenizer_2" / name).read_text("utf-8") for key, name in files.items()}


@pytest.mark.parametrize("dtype", [torch.float32, None], ids=["float32", "usual"])
def test_our_model_in_one_file_paints_what_its_folder_paints(
    easels: Easels, tmp_path: Path, dtype: torch.dtype | None
) -> None:
    folder = easels.model("pinxit")
    metadata = vocabulary(folder)
    save_model(states_of(easels("pinxit")), SINGLE_FILE, tmp_path / "single.safetensors", metadata=metadata)
    single = easel_for(tmp_path, "single", dtype=dtype)
    for prompt in ("a red apple", "一只猫，蓝色背景"):
        assert single.pixels(prompt=prompt) == easels("pinxit", dtype).pixels(prompt=prompt)
    assert single.resolve().match.layout is SINGLE_FILE


def test_our_model_without_its_vocabulary_is_told(easels: Easels, tmp_path: Path) -> None:
    save_model(states_of(easels("pinxit")), SINGLE_FILE, tmp_path / "mute.safetensors")
    with pytest.raises(BadModelFile) as raised:
        easel_for(tmp_path, "mute").paint()
    assert str(raised.value) == "mute.safetensors brings no vocabulary. Convert it again from the model's folder."


def test_a_folder_loads_wherever_it_lies(easels: Easels, tmp_path: Path) -> None:
    shutil.copytree(easels.model("pinxit"), tmp_path / "elsewhere")
    assert easel_for(tmp_path, "elsewhere").pixels() == easels("pinxit").pixels()


def sd1_configs(config: Any) -> Mapping[str, object]:
    prediction = Prediction(kind="epsilon", zero_terminal_snr=False, evidence="")
    parts = {name: ["diffusers", "Part"] for name in ("unet", "vae", "text_encoder", "scheduler")}
    return {
        "model_index.json": {"_class_name": "StableDiffusionPipeline", **parts},
        "unet/config.json": unet_json(config.unet, sample_size=64),
        "vae/config.json": vae_json(config.vae, sample_size=512, scale=0.18215),
        "text_encoder/config.json": clip_json(config.text_encoder),
        "scheduler/scheduler_config.json": scheduler_json(prediction),
    }


def test_sd1_in_a_folder_paints_what_its_file_paints(easels: Easels, tmp_path: Path) -> None:
    easel = easels("sd1")
    save_model(states_of(easel), SD1_FOLDER, tmp_path / "parts", configs=sd1_configs(easel.resolve().config))
    folder = easel_for(tmp_path, "parts")
    assert folder.resolve().match.layout is SD1_FOLDER
    assert folder.pixels() == easel.pixels()


def edited(source: Path, target: Path, edit: Any) -> None:
    tensors = load_file(source)
    edit(tensors)
    save_file(tensors, target)


def test_a_checkpoint_without_its_autoencoder_is_told(easels: Easels, tmp_path: Path) -> None:
    def strip(tensors: dict[str, Tensor]) -> None:
        for name in [name for name in tensors if name.startswith("first_stage_model.")]:
            del tensors[name]

    edited(easels.model("sd1"), tmp_path / "half.safetensors", strip)
    with pytest.raises(ModelError) as raised:
        easel_for(tmp_path, "half").resolve()
    assert str(raised.value) == (
        "half brings no vae. Use a complete checkpoint, or a diffusers folder with every part."
    )


def test_an_inpainting_checkpoint_is_told(easels: Easels, tmp_path: Path) -> None:
    def widen(tensors: dict[str, Tensor]) -> None:
        name = "model.diffusion_model.input_blocks.0.0.weight"
        tensors[name] = torch.cat([tensors[name], tensors[name], tensors[name][:, :1]], dim=1)

    edited(easels.model("sd1"), tmp_path / "fill.safetensors", widen)
    with pytest.raises(ModelError) as raised:
        easel_for(tmp_path, "fill").resolve()
    assert str(raised.value) == (
        "fill cannot paint from a prompt alone: an inpainting model needs a picture and a mask. Choose another model."
    )


def test_sd2_with_velocity_paints_at_its_own_size(easels: Easels, tmp_path: Path) -> None:
    shutil.copy(easels.model("sd2"), tmp_path / "v.safetensors")
    (tmp_path / "v.json").write_text(json.dumps({"prediction_type": "v_prediction"}), "utf-8")
    easel = easel_for(tmp_path, "v")
    resolved = easel.resolve(size=None)
    assert (resolved.facts.prediction, str(resolved.size)) == ("velocity", "768x768")
    assert easel.pixels() != easels("sd2").pixels()
    assert easels("sd2").resolve().facts.prediction == "epsilon"
