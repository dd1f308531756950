from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pinxit.engine import stages
from pinxit.engine.image import read_picture
from pinxit.models.common.configs import ClipTextConfig, MmditConfig, T5Config, VaeConfig
from pinxit.models.contract import Micro, Words
from pinxit.models.sd3.config import TOKENIZER_TEXT, Sd3Config, Variant, config_from
from pinxit.models.sd3.family import FAMILY, LATENT
from pinxit.models.sd3.folder import folder_files
from pinxit.models.sd3.layout import FOLDER, LAYOUTS, SINGLE_FILE
from pinxit.prompts.chunks import Chunking, cut
from pinxit.sampling.denoiser import Conditioning
from pinxit.sampling.process import Flow
from pinxit.schema.errors import BadInput, BadModelFile, ModelError
from pinxit.schema.parts import FromImage
from pinxit.studio.convert.model import convert
from pinxit.weights.folder import read_model
from pinxit.weights.identify import Match, identify
from pinxit.weights.load import read_component
from pinxit.weights.save import save_model
from tests.easel import Easels, easel_for, with_network
from tests.models.checks import explains_everything
from tests.reference import golden_json
from tests.tiny import sd3_config, sd3_states, t5_tokenizer
from tests.weights.files import header_of, manifest, manifest_folder, sparse_file

CLIP_L = ClipTextConfig(projection=768)
CLIP_G = ClipTextConfig(
    width=1280, intermediate=5120, layers=32, heads=20, activation="gelu", projection=1280, pad_id=0
)
PUBLISHED: Mapping[str, tuple[Variant, MmditConfig]] = {
    "sd3-medium": ("3-medium", MmditConfig()),
    "sd35-medium": ("3.5-medium", MmditConfig(positions=384, norm=True, dual=tuple(range(13)))),
    "sd35-large": ("3.5-large", MmditConfig(width=2432, depth=38, heads=38, intermediate=9728, norm=True)),
}
every_model = pytest.mark.parametrize("name", PUBLISHED)


def with_encoders(name: str) -> dict[str, tuple[int, ...]]:
    """A published file with all that files of its kind may hold."""
    optional = golden_json("manifests/singlefile/sd3-medium.json")["optional_tensors"]
    scales = {f"text_encoders.{part}.logit_scale": () for part in ("clip_l", "clip_g", "t5xxl")}
    return {**manifest(name), **{key: tuple(shape) for key, shape in optional.items()}, **scales}


def found(path: Path) -> Match:
    return identify(read_model(path), LAYOUTS)


def all_networks(config: Sd3Config, match: Match) -> Mapping[str, nn.Module]:
    with torch.device("meta"):
        return {name: FAMILY.build(config, name) for name in match.parts}


@every_model
def test_published_files(tmp_path: Path, name: str) -> None:
    match = found(sparse_file(tmp_path / "model.safetensors", with_encoders(name), dtype="F16"))
    config = config_from(match)
    variant, transformer = PUBLISHED[name]
    assert match.layout is SINGLE_FILE
    assert (config.variant, config.distilled, config.transformer) == (variant, None, transformer)
    assert config.vae == VaeConfig(z_channels=16, quant=False)
    assert (config.text_encoder, config.text_encoder_2, config.text_encoder_3) == (CLIP_L, CLIP_G, T5Config())
    assert (config.shift, config.projects, config.speaks) == (3.0, False, False)
    assert config.notes == ("T5 is left out: the model brings no tokenizer.json or spiece.model for it.",)
    explains_everything(match, all_networks(config, match), match.header)


@every_model
def test_published_folders(tmp_path: Path, name: str) -> None:
    match = found(manifest_folder(tmp_path / "model", name, dtype="F16"))
    config = config_from(match)
    assert match.layout is FOLDER
    assert (config.variant, config.transformer) == PUBLISHED[name]
    explains_everything(match, all_networks(config, match), match.header)
    if name == "sd3-medium":
        assert config.vae == VaeConfig(z_channels=16, quant=False)
        assert (config.text_encoder, config.text_encoder_2, config.text_encoder_3) == (CLIP_L, CLIP_G, T5Config())
        assert config.projects
        assert config.evidence == (
            "every SD 3 is a rectified flow; 192 x 192 positions, 24 joint blocks: SD 3-medium; "
            "shift 3 by scheduler_config.json"
        )


@pytest.mark.parametrize("prefix", ["", "diffusion_model.", "model.diffusion_model."])
def test_the_transformer_alone(tmp_path: Path, prefix: str) -> None:
    shapes = {
        prefix + key.removeprefix("model.diffusion_model."): shape
        for key, shape in manifest("sd35-medium").items()
        if key.startswith("model.")
    }
    match = found(sparse_file(tmp_path / "model.safetensors", shapes))
    config = config_from(match)
    assert FAMILY.facts(config).absent == ("vae", "text_encoder", "text_encoder_2", "text_encoder_3")
    explains_everything(match, {}, match.header)


def test_the_transformer_of_a_folder_alone(tmp_path: Path) -> None:
    folder = manifest_folder(tmp_path / "model", "sd35-large", dtype="F16") / "transformer"
    match = found(folder)
    assert config_from(match).transformer == PUBLISHED["sd35-large"][1]
    assert match.missing == match.unexpected == ()


@pytest.mark.parametrize(
    ("name", "metadata", "said"),
    [
        ("sd3.5_large_turbo", None, "only its name says 'turbo'"),
        ("large", {"modelspec.title": "SD3.5 Large Turbo"}, "the metadata's modelspec.title says 'Turbo'"),
        ("large", None, ""),
    ],
)
def test_turbo_is_known_by_its_name(tmp_path: Path, name: str, metadata: dict[str, str] | None, said: str) -> None:
    path = sparse_file(tmp_path / f"{name}.safetensors", manifest("sd35-large"), dtype="F16", metadata=metadata)
    config = config_from(found(path))
    facts = FAMILY.facts(config)
    usual = facts.defaults
    assert config.variant == "3.5-large"
    assert facts.notes == ((f"Turbo model, 4 steps, without guidance: {said}",) if said else ())
    assert (usual.steps, usual.guidance, usual.sampler) == ((4, 1.0, "euler") if said else (28, 4.5, "dpmpp_2m"))
    assert (usual.width, usual.schedule) == (1024, None)


def test_what_the_engine_plans_with(tmp_path: Path) -> None:
    facts = FAMILY.facts(config_from(found(sparse_file(tmp_path / "m.safetensors", with_encoders("sd3-medium")))))
    assert facts.process == Flow(shift=3.0)
    assert (facts.latent.channels, facts.latent.scale, facts.latent.shift) == (16, 1.5305, 0.0609)
    assert (facts.defaults.width, facts.defaults.steps, facts.defaults.guidance) == (1024, 28, 5.0)
    assert facts.components == ("transformer", "vae", "text_encoder", "text_encoder_2")
    assert facts.absent == ("text_encoder_3",)
    assert facts.prediction == "flow"
    assert facts.denoise(1024, 1024).flops == pytest.approx(8.44e12, rel=0.01)


def test_the_shift_of_a_folder(tmp_path: Path) -> None:
    folder = manifest_folder(tmp_path / "model", "sd35-large", dtype="F16")
    place = folder / "scheduler" / "scheduler_config.json"
    place.write_text(json.dumps({"shift": 5}), "utf-8")
    assert config_from(found(folder)).shift == 5.0
    place.write_text(json.dumps({"shift": 0}), "utf-8")
    with pytest.raises(BadModelFile, match="shift is 0, expected a number from 0 to 100"):
        config_from(found(folder))


def changed(**shapes: tuple[int, ...]) -> Match:
    """Sizes of SD 3 medium with all encoders, but for `shapes` (dots as two underscores)."""
    names = {name.replace("__", "."): shape for name, shape in shapes.items()}
    return identify(header_of({**with_encoders("sd3-medium"), **names}), LAYOUTS)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"model__diffusion_model__pos_embed": (1, 36863, 1536)}, "36863 positions, 24 heads"),
        ({"model__diffusion_model__pos_embed": (7,)}, "too few axes"),
        ({"model__diffusion_model__x_embedder__proj__weight": (1536, 16, 0, 0)}, "each patch of 0 x 0"),
        ({"model__diffusion_model__x_embedder__proj__weight": (1500, 16, 2, 2)}, "fit no network"),
        (
            {"model__diffusion_model__context_embedder__weight": (1536, 2000)},
            "takes text 2000 wide and a pooled vector of 2048; the text encoders give 768, 1280, 4096 and 2048",
        ),
        ({"model__diffusion_model__y_embedder__mlp__0__weight": (1536, 1280)}, "a pooled vector of 1280"),
        ({"text_encoders__t5xxl__transformer__shared__weight": (32128, 2048)}, "give 768, 1280, 2048"),
    ],
)
def test_parts_that_do_not_fit_are_told(shapes: dict[str, tuple[int, ...]], said: str) -> None:
    with pytest.raises(BadModelFile, match=said):
        config_from(changed(**shapes))


def conditioned(easels: Easels, name: str, **changes: Any) -> Conditioning:
    """What the transformer is told for two chunks with emphasis."""
    easel = easels(name)
    resolved = easel.resolve()
    config = replace(resolved.config, **changes)
    tokenizers = FAMILY.tokenizers(config, resolved.match)
    spans = resolved.words.spans("a (cat:1.3) BREAK snow", "prompt")
    words = Words(
        chunks={key: cut(spans, tokenizer, Chunking()) for key, tokenizer in tokenizers.items()},
        empty={key: cut((), tokenizer, Chunking())[0] for key, tokenizer in tokenizers.items()},
        emphasis="from_empty",
        skip=None,
        micro=Micro(original=(64, 64), target=(64, 64)),
    )
    networks = {key: easel.residency.network(resolved, key) for key in tokenizers}
    with torch.inference_mode():
        return FAMILY.encode(config, networks, words)


def test_texts_side_by_side_and_behind_one_another(easels: Easels) -> None:
    both = conditioned(easels, "sd3")
    assert both.tokens is not None
    assert both.pooled is not None
    assert both.tokens.shape == (1, 4 * 77, 160)
    assert both.pooled.shape == (1, 128)
    assert not both.tokens[:, :154, 128:].any()
    assert both.tokens[:, :154, :128].all()
    assert both.tokens[:, 154:].all()
    mute = conditioned(easels, "sd3", speaks=False)
    assert mute.tokens is not None
    assert mute.tokens.shape == (1, 3 * 77, 160)
    assert torch.equal(mute.tokens[:, :154], both.tokens[:, :154])
    assert not mute.tokens[:, 154:].any()


def test_the_pooled_vector_of_clip_l_is_projected_in_folders_only(easels: Easels, tmp_path: Path) -> None:
    config = sd3_config(variant="3-medium")
    states = sd3_states(config)
    states["text_encoder"]["text_projection.weight"] = 2 * torch.eye(64)
    save_model(states, SINGLE_FILE, tmp_path / "plain.safetensors")
    configs = folder_files(config, LATENT) | {"tokenizer_3/tokenizer.json": t5_tokenizer().to_str()}
    save_model(states, FOLDER, tmp_path / "parts", configs=configs)
    pooled: dict[str, torch.Tensor] = {}
    for name in ("plain", "parts"):
        easel = easel_for(tmp_path, name)
        resolved = easel.resolve()
        conditioning = stages.encode(resolved, easel.residency).prompt[0][1][0][0]
        assert conditioning.pooled is not None
        pooled[name] = conditioning.pooled
    assert torch.allclose(pooled["parts"][:, :64], 2 * pooled["plain"][:, :64])
    assert torch.equal(pooled["parts"][:, 64:], pooled["plain"][:, 64:])


def test_a_single_file_paints_what_the_folder_paints(easels: Easels, tmp_path: Path) -> None:
    easel = easels("sd3")
    match = easel.resolve().match
    convert(match.header.path, tmp_path / "single.safetensors", easel.catalog)
    single = easel_for(tmp_path, "single")
    assert single.resolve().match.layout is SINGLE_FILE
    assert single.resolve().facts.absent == ()
    assert single.resolve().match.header.metadata[TOKENIZER_TEXT] == t5_tokenizer().to_str()
    assert single.pixels() == easel.pixels()
    convert(tmp_path / "single.safetensors", tmp_path / "parts", easel.catalog)
    parts = easel_for(tmp_path, "parts")
    assert parts.resolve().match.layout is FOLDER
    assert parts.pixels() == easel.pixels()


def test_a_converted_file_is_whole(easels: Easels, tmp_path: Path) -> None:
    easel = easels("sd35")
    assert "text_projection.weight" not in easel.resolve().match.part("text_encoder").shapes
    convert(easels.model("sd35"), tmp_path / "parts", easel.catalog)
    parts = easel_for(tmp_path, "parts")
    projection = dict(read_component(parts.resolve().match, "text_encoder"))["text_projection.weight"]
    assert torch.equal(projection, torch.eye(64, dtype=torch.float16))
    assert parts.pixels() == easel.pixels()
    index = json.loads((tmp_path / "parts" / "model_index.json").read_text("utf-8"))
    assert index["text_encoder"] == ["transformers", "CLIPTextModelWithProjection"]
    assert index["text_encoder_3"] == ["transformers", "T5EncoderModel"]
    assert index["tokenizer_3"] == [None, None]
    convert(tmp_path / "parts", tmp_path / "again.safetensors", easel.catalog)
    again = easel_for(tmp_path, "again")
    assert again.resolve().match.layout is SINGLE_FILE
    assert again.pixels() == easel.pixels()


def test_without_its_tokenizer_t5_is_left_out_and_said_so(easels: Easels, tmp_path: Path) -> None:
    easel = easels("sd35")
    resolved = easel.resolve()
    assert "text_encoder_3" in resolved.match.parts
    assert resolved.facts.components == ("transformer", "vae", "text_encoder", "text_encoder_2")
    assert any("T5 is left out" in note for note in resolved.notes)
    tensors = load_file(easels.model("sd35"))
    save_file({name: t for name, t in tensors.items() if "t5xxl" not in name}, tmp_path / "less.safetensors")
    less = easel_for(tmp_path, "less")
    assert less.pixels() == easel.pixels()
    assert not any("T5" in note for note in less.resolve().notes)


def test_a_file_without_text_encoders_is_told(easels: Easels, tmp_path: Path) -> None:
    tensors = load_file(easels.model("sd35"))
    save_file({name: t for name, t in tensors.items() if "text_enc" not in name}, tmp_path / "bare.safetensors")
    with pytest.raises(ModelError, match="bare brings no text encoder and no text encoder 2"):
        easel_for(tmp_path, "bare").resolve()


@pytest.mark.parametrize("name", ["sd3", "sd35"])
def test_pictures(easels: Easels, name: str) -> None:
    easel = easels(name)
    painted = easel.paint(count=2, prompt="a (red:1.3) apple")
    alone = easel.pixels(seed=8, prompt="a (red:1.3) apple")
    assert [painted[1].pixels_sha256] == alone
    others = (easel.pixels(prompt=prompt)[0] for prompt in ("", "a cat", "a dog", "a cat BREAK a dog"))
    assert len({painted[0].pixels_sha256, *others}) == 5
    assert easel.pixels(size="72x104") != easel.pixels(size="104x72")


def test_a_picture_begins_from_another(easels: Easels, tmp_path: Path) -> None:
    easel = easels("sd35")
    first = easel.paint()[0].image
    assert first is not None
    first.save(tmp_path / "first.png")
    reference, data = read_picture(tmp_path / "first.png")
    inputs = {reference.sha256: data}
    half, whole = (FromImage(image=reference, strength=strength) for strength in (0.5, 1.0))
    resolved = easel.resolve(inputs, source=half, steps=4)
    assert resolved.sigmas == pytest.approx((0.75, 0.5, 0.0), abs=1e-3)
    assert stages.prepare(resolved, easel.residency, seed=7).x.shape == (1, 16, 8, 8)
    painted = easel.pixels(inputs, source=half, steps=4)
    assert painted == easel.pixels(inputs, source=half, steps=4)
    assert painted != easel.pixels(inputs, source=whole, steps=4)


def test_a_picture_that_is_too_large_is_told(easels: Easels) -> None:
    with pytest.raises(BadInput, match="knows 32 positions along a side, and the picture has 33"):
        easels("sd35").pixels(size="528x64", steps=1)


def test_every_sampler_takes_the_flow(easels: Easels) -> None:
    easel = easels("sd35")

    def network(x: torch.Tensor, t: float, conditioning: Conditioning, /) -> torch.Tensor:
        assert 0 <= t <= 1000
        return 0.1 * x

    told = stages.Encoded(prompt=((4, ((Conditioning(), 1.0),)),), negative=((4, Conditioning()),))
    for sampler in easel.catalog.samplers:
        resolved = with_network(easel.resolve(sampler=sampler.name, steps=4), network)
        start = stages.prepare(resolved, easel.residency, seed=7)
        steps = list(stages.denoise(resolved, easel.residency, told, start))
        assert bool(torch.isfinite(steps[-1].x).all()), sampler.name


def test_the_files_of_a_folder_are_those_that_were_published() -> None:
    for name, (variant, transformer) in PUBLISHED.items():
        published = golden_json(f"manifests/diffusers/{name}.json")
        config = replace(sd3_config(variant=variant), transformer=transformer, text_encoder_3=T5Config())
        files: Any = folder_files(config, LATENT)
        theirs = published["components"]["transformer"]["config"]
        ours = files["transformer/config.json"]
        for key in set(theirs) - {"_diffusers_version"}:
            assert ours[key] == theirs[key], key
        assert set(files["model_index.json"]) == set(published["model_index"])
        if name == "sd3-medium":
            t5 = published["components"]["text_encoder_3"]["config"]
            wanted = {key: t5[key] for key in files["text_encoder_3/config.json"]}
            assert files["text_encoder_3/config.json"] == wanted


def test_what_is_not_there_cannot_be_built() -> None:
    config = replace(sd3_config(variant="3-medium"), vae=None, text_encoder=None, text_encoder_3=None)
    for component in ("vae", "text_encoder", "text_encoder_3", "unet"):
        with pytest.raises(ModelError, match=f"brings no {component.replace('_', ' ')}"):
            FAMILY.build(config, component)
