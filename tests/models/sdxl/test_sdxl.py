"""SDXL: what its files say, what its network is told, and what the request may change of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pinxit.engine import stages
from pinxit.models.common.clip import ClipText
from pinxit.models.contract import Micro, Words
from pinxit.models.sdxl.config import EDM_MEAN, EDM_STD, SdxlConfig, config_from
from pinxit.models.sdxl.layout import BASE_FILE, FOLDER, LAYOUTS, REFINER_FILE
from pinxit.models.sdxl.text import encode
from pinxit.plugins.manager import build_catalog
from pinxit.prompts.chunks import Chunking, cut
from pinxit.prompts.tokenizer import ClipTokenizer
from pinxit.sampling.denoiser import Conditioning
from pinxit.sampling.process import EDM, Epsilon, Flow, Velocity
from pinxit.schema.errors import BadInput, BadModelFile, ModelError
from pinxit.studio.verify import compare
from pinxit.weights.identify import identify
from pinxit.weights.load import read_component
from pinxit.weights.save import save_model
from tests.easel import Easel, Easels, easel_for
from tests.reference import golden_json
from tests.weights.files import header_of, manifest

UNET = "model.diffusion_model."


def unet_alone(name: str = "sdxl-base") -> dict[str, tuple[int, ...]]:
    return {key: shape for key, shape in manifest(name).items() if key.startswith(UNET)}


def configured(shapes: dict[str, tuple[int, ...]], **configs: Any) -> SdxlConfig:
    return config_from(identify(header_of(shapes, configs=configs), LAYOUTS))


@pytest.fixture
def edited(easels: Easels, tmp_path: Path) -> Callable[..., Easel]:
    """An easel of the tiny SDXL with more tensors, or with what `edit` makes of them."""

    def make(edit: Callable[[dict[str, Tensor]], None] | None = None, /, name: str = "own", **more: Tensor) -> Easel:
        tensors = load_file(easels.model("sdxl"))
        if edit is not None:
            edit(tensors)
        spelt = {key.replace("__", "."): value for key, value in more.items()}
        save_file({**tensors, **spelt}, tmp_path / f"{name}.safetensors")
        return easel_for(tmp_path, name)

    return make


def test_the_networks_of_the_published_models() -> None:
    base = configured(manifest("sdxl-base"))
    assert (base.variant, base.unet.adm_in_channels, base.unet.context_dim) == ("base", 2816, 2048)
    assert (base.unet.transformer_depth, base.unet.head_width, base.size_embedding) == ((0, 2, 10), 64, 256)
    assert base.text_encoder is not None
    assert base.text_encoder_2 is not None
    assert (base.text_encoder.activation, base.text_encoder_2.activation) == ("quick_gelu", "gelu")
    assert (base.text_encoder_2.heads, base.text_encoder_2.projection) == (20, 1280)
    refiner = configured(manifest("sdxl-refiner"))
    assert (refiner.variant, refiner.text_encoder, refiner.size_embedding) == ("refiner", None, 256)
    assert (refiner.unet.adm_in_channels, refiner.unet.model_channels) == (2560, 384)
    assert (base.zeros_for_empty, refiner.zeros_for_empty) == (True, False)


def test_a_unet_alone_is_known_by_whatever_name_it_has() -> None:
    for name, layout in (("sdxl-base", BASE_FILE), ("sdxl-refiner", REFINER_FILE)):
        shapes = unet_alone(name)
        for prefix in (UNET, "diffusion_model.", ""):
            bare = {prefix + key.removeprefix(UNET): shape for key, shape in shapes.items()}
            match = identify(header_of(bare), LAYOUTS)
            assert match.layout is layout
            assert match.missing == match.unexpected == ()
        assert config_from(match).text_encoder_2 is None
        assert "unet: the U-Net alone" in match.evidence


@pytest.mark.parametrize("wrapper", ["state_dict.", "module."])
def test_a_wrapper_around_all_names(wrapper: str) -> None:
    shapes = {wrapper + key: shape for key, shape in manifest("sdxl-base").items()}
    match = identify(header_of({**shapes, f"{wrapper}denoiser.sigmas": (1000,)}), LAYOUTS)
    assert match.layout is BASE_FILE
    assert match.missing == match.unexpected == ()
    assert f"{wrapper}denoiser.sigmas" in match.dropped


@pytest.mark.parametrize(("channels", "variant"), [(8, "instruct"), (9, "inpainting")])
def test_other_input_channels(channels: int, variant: str, edited: Callable[..., Easel]) -> None:
    name = f"{UNET}input_blocks.0.0.weight"
    assert configured({**manifest("sdxl-base"), name: (320, channels, 3, 3)}).variant == variant

    def widen(tensors: dict[str, Tensor]) -> None:
        tensors[name] = tensors[name].repeat(1, 3, 1, 1)[:, :channels].contiguous()

    easel = edited(widen)
    with pytest.raises(ModelError, match="own cannot paint from a prompt alone: "):
        easel.resolve()
    match = identify(header_of({**manifest("sdxl-base"), name: (320, channels, 3, 3)}), LAYOUTS)
    assert match.layout is BASE_FILE


def test_marker_keys(edited: Callable[..., Easel]) -> None:
    velocity = edited(v_pred=torch.empty(0), ztsnr=torch.empty(0)).resolve()
    assert isinstance(velocity.facts.process, Velocity)
    assert velocity.facts.process.zero_terminal
    assert velocity.facts.evidence == "v-prediction: marker key v_pred; zero terminal SNR: marker key ztsnr"
    assert velocity.schedule.name == "sgm_uniform"
    levels = {"edm_vpred__sigma_max": torch.tensor(120.5), "edm_vpred__sigma_min": torch.tensor(0.01)}
    continuous = edited(**levels, name="vedm").resolve()
    assert continuous.facts.process == EDM(low=0.009999999776482582, high=120.5, sigma_data=1.0, velocity=True)
    assert continuous.facts.prediction == "edm_velocity"
    assert continuous.facts.evidence == "EDM with velocity: marker key edm_vpred.sigma_max"


def test_playgrounds_latents(edited: Callable[..., Easel]) -> None:
    empty = edited(edm_mean=torch.empty(0), edm_std=torch.empty(0)).resolve()
    assert (empty.facts.latent.mean, empty.facts.latent.std, empty.facts.latent.scale) == (EDM_MEAN, EDM_STD, 0.5)
    mean, std = torch.tensor([1.0, 2, 3, 4]), torch.tensor([2.0, 2, 2, 4])
    easel = edited(edm_mean=mean.view(1, 4, 1, 1), edm_std=std.view(1, 4, 1, 1), name="numbers")
    resolved = easel.resolve()
    assert (resolved.facts.latent.mean, resolved.facts.latent.std) == ((1, 2, 3, 4), (2, 2, 2, 4))
    assert resolved.facts.process == EDM()
    assert resolved.facts.evidence == "EDM: marker keys edm_mean and edm_std"
    assert resolved.match.unexpected == ()
    assert len(easel.paint()) == 1
    clean = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    image = stages.decode(resolved, easel.residency, (clean - mean.view(1, 4, 1, 1)) / std.view(1, 4, 1, 1) * 0.5)
    plain = replace(
        resolved, facts=replace(resolved.facts, latent=replace(resolved.facts.latent, mean=(), std=(), scale=1.0))
    )
    assert compare(image, stages.decode(plain, easel.residency, clean)).largest <= 1


def test_a_folder_of_playground() -> None:
    scheduler = {"_class_name": "EDMDPMSolverMultistepScheduler", "prediction_type": "epsilon", "sigma_data": 0.5}
    vae = {"latents_mean": list(EDM_MEAN), "latents_std": list(EDM_STD), "scaling_factor": 0.5}
    shapes = {f"unet/{name}": shape for name, shape in folder_unet().items()}
    config = configured(shapes, **{"scheduler/scheduler_config.json": scheduler, "vae/config.json": vae})
    assert config.prediction.kind == "edm"
    assert config.prediction.evidence.endswith("names the scheduler EDMDPMSolverMultistepScheduler")
    assert (config.latent.mean, config.latent.std, config.latent.scale) == (EDM_MEAN, EDM_STD, 0.5)


def folder_unet() -> dict[str, tuple[int, ...]]:

    tensors = golden_json("manifests/diffusers/sdxl-base.json")["components"]["unet"]["tensors"]
    return {name: tuple(shape) for name, shape in tensors.items()}


def encoded(easel: Easel, **fields: Any) -> tuple[Conditioning, Conditioning]:
    """What the network is told for the prompt and for the negative prompt."""
    found = stages.encode(easel.resolve(**fields), easel.residency)
    return found.prompt[0][1][0][0], found.negative[0][1]


def test_both_encoders_side_by_side(easels: Easels) -> None:
    easel = easels("sdxl")
    prompt, _ = encoded(easel, prompt="a cat")
    resolved = easel.resolve()
    rows = {"text_encoder": ClipTokenizer.openai(), "text_encoder_2": ClipTokenizer.openai(padding="zero")}
    states = []
    with torch.inference_mode():
        for name, tokenizer in rows.items():
            text = easel.residency.network(resolved, name)
            assert isinstance(text, ClipText)
            states.append(text(torch.tensor([tokenizer.pad(tokenizer.encode("a cat"))])))
    assert prompt.tokens is not None
    assert prompt.pooled is not None
    assert torch.equal(prompt.tokens, torch.cat([one.hidden[-2] for one in states], dim=-1))
    assert torch.equal(prompt.pooled, states[1].projected)
    assert prompt.time_ids == (64, 64, 0, 0, 64, 64)


def holds(told: Conditioning) -> bool:
    """Whether a prompt is more than zeros, in its token vectors and its pooled vector alike."""
    assert told.tokens is not None
    assert told.pooled is not None
    assert bool(told.tokens.any()) == bool(told.pooled.any())
    return bool(told.pooled.any())


def test_an_empty_negative_prompt(easels: Easels) -> None:
    easel = easels("sdxl")
    prompt, negative = encoded(easel, prompt="")
    assert holds(prompt)
    assert not holds(negative)
    assert negative.time_ids == (64, 64, 0, 0, 64, 64)
    for fields in ({"empty_negative": "encode"}, {"dialect": "comfyui"}, {"negative": " "}):
        assert holds(encoded(easel, **fields)[1])
    assert not holds(encoded(easel, empty_negative="model")[1])
    assert holds(encoded(easels("refiner"), empty_negative="model")[1])
    assert not holds(encoded(easels("refiner"))[1])
    rules = {name: easel.resolve(dialect=name).request.empty_negative for name in ("a1111", "comfyui", "diffusers")}
    assert rules == {"a1111": "zeros", "comfyui": "encode", "diffusers": "model"}


def test_the_sizes_that_it_is_told(easels: Easels) -> None:
    told = {"original_size": "300x200", "target_size": "120x100", "crop_top": 5, "crop_left": 7}
    prompt, negative = encoded(easels("sdxl"), **told)
    assert prompt.time_ids == negative.time_ids == (200, 300, 5, 7, 100, 120)
    prompt, negative = encoded(easels("refiner"), **told)
    assert (prompt.time_ids, negative.time_ids) == ((200, 300, 5, 7, 6.0), (200, 300, 5, 7, 2.5))
    prompt, negative = encoded(easels("refiner"), aesthetic_score=9, negative_aesthetic_score=0)
    assert (prompt.time_ids[-1], negative.time_ids[-1]) == (9, 0)
    assert easels("sdxl").pixels(**told) != easels("sdxl").pixels()


def test_encoders_with_unequally_many_chunks_are_levelled(easels: Easels) -> None:
    easel = easels("sdxl")
    resolved = easel.resolve()
    tokenizers = easel.residency.tokenizers(resolved)
    networks = {name: easel.residency.network(resolved, name) for name in tokenizers}

    empty = {name: cut((), tokenizer, Chunking())[0] for name, tokenizer in tokenizers.items()}
    words = Words(
        chunks={"text_encoder": (empty["text_encoder"],) * 2, "text_encoder_2": (empty["text_encoder_2"],)},
        empty=empty,
        emphasis="ignore",
        skip=None,
        micro=Micro(original=(8, 8), target=(8, 8)),
    )
    with torch.inference_mode():
        tokens = encode(resolved.config, networks, words).tokens
    assert tokens is not None
    assert tokens.shape == (1, 154, 128)
    assert not tokens[:, 77:, 64:].any()


def test_what_the_request_says_of_the_training_counts(easels: Easels) -> None:
    easel = easels("sdxl")
    assert easel.resolve().facts.evidence == "SDXL predicts the noise where no marker key says otherwise"
    velocity = easel.resolve(prediction="velocity", zero_terminal_snr="yes")
    assert isinstance(velocity.facts.process, Velocity)
    assert velocity.facts.process.sigma_max == pytest.approx(4518.76, abs=0.01)
    assert velocity.facts.prediction == "velocity"
    assert velocity.facts.evidence == ("v-prediction: the request says so; zero terminal SNR: the request says so")
    assert velocity.schedule.name == "sgm_uniform"
    assert easel.plan(prediction="velocity").lines()[0].endswith("velocity: v-prediction: the request says so)")
    plain = easel.resolve(zero_terminal_snr="no").facts
    assert (plain.process, plain.evidence.rpartition("; ")[2]) == (
        Epsilon(),
        "no zero terminal SNR: the request says so",
    )
    assert isinstance(easel.resolve(prediction="edm", sigma_data=0.7).facts.process, EDM)
    flow = easel.resolve(prediction="flow", shift=3.0)
    assert flow.facts.process == Flow(shift=3.0)
    assert flow.facts.evidence.endswith("shift 3: the request says so")
    assert easel.pixels(prediction="velocity") != easel.pixels()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shift": 3.0}, "Only flow models have a time shift, and this model is none. Leave shift out."),
        ({"sigma_data": 1.0}, "Only EDM models are told the spread of their pictures, and this model is none."),
        ({"prediction": "flow", "zero_terminal_snr": "yes"}, "Only models that predict noise or velocity have a noise"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(easels: Easels, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as raised:
        easels("sdxl").resolve(**fields)
    assert str(raised.value).startswith(message)


def test_parts_that_do_not_belong_together() -> None:
    shapes = manifest("sdxl-base")
    keys = [name for name in shapes if name.endswith("attn2.to_k.weight") or name.endswith("attn2.to_v.weight")]
    with pytest.raises(BadModelFile, match="The U-Net takes text 1000 wide, the text encoders give 2048"):
        configured({**shapes, **{name: (*shapes[name][:1], 1000) for name in keys}})
    with pytest.raises(BadModelFile, match="The U-Net's added vector has 2815 numbers, which is not the pooled text"):
        configured({**shapes, f"{UNET}label_emb.0.0.weight": (1280, 2815)})
    part = {name: shape for name, shape in shapes.items() if "embedders.0" not in name}
    assert configured(part).text_encoder is None


def test_a_written_folder_is_what_the_file_was(easels: Easels, tmp_path: Path) -> None:

    family = build_catalog().families.get("sdxl")
    assert family.writing is not None
    for name in ("sdxl", "refiner"):
        easel = easels(name)
        resolved = easel.resolve()
        states = {part: dict(read_component(resolved.match, part)) for part in resolved.facts.components}
        save_model(states, FOLDER, tmp_path / f"my-{name}", configs=dict(family.writing.files(resolved.config)))
        folder = easel_for(tmp_path, f"my-{name}")
        assert folder.resolve().match.layout is FOLDER
        assert folder.resolve().config == replace(
            resolved.config,
            prediction=replace(resolved.config.prediction, evidence="scheduler/scheduler_config.json says epsilon"),
        )
        assert folder.pixels() == easel.pixels()
        index = json.loads((tmp_path / f"my-{name}" / "model_index.json").read_text("utf-8"))
        assert index["force_zeros_for_empty_prompt"] is (name == "sdxl")
