"""The whole road on a bank of a few drawings: autoencoder, words, U-Net, export, and a picture painted from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from pinxit.models.lora import config as lora
from pinxit.models.taesd import config as taesd
from pinxit.models.taesd.layout import LAYOUTS as TINY_LAYOUTS
from pinxit.prompts.known import read_known, unknown_words, with_nearest
from pinxit.schema.errors import BadInput, Missing
from pinxit.schema.events import Finished, ImageReady
from pinxit.schema.parts import Refine
from pinxit.schema.request import GenerationRequest
from pinxit.studio import Studio
from pinxit.studio.library import Library
from pinxit.train.data import known as taught_words
from pinxit.train.data import sources
from pinxit.train.data.bank import Bank
from pinxit.train.export import export, export_refiner
from pinxit.train.latents import begin_as
from pinxit.train.loop import Limits
from pinxit.train.recipe import Optimisation, PreviewShape
from pinxit.train.start import fill_workshop
from pinxit.train.workshop import Job, load_vae, run
from pinxit.weights.folder import read_model
from pinxit.weights.header import read_header
from pinxit.weights.identify import identify
from tests.cli.fakes import call
from tests.train.data import fakes
from tests.train.data.test_known import wordnet
from tests.train.shapes import RECIPES, VAE, trained


@pytest.fixture(scope="module")
def workshop(drawings: Bank, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("workshop"), drawings)


def test_trained_model_paints(drawings: Bank, workshop: Path, tmp_path: Path) -> None:
    export(workshop, drawings, tmp_path / "model")
    shards = list((tmp_path / "model").rglob("*.safetensors"))
    assert shards
    assert max(path.stat().st_size for path in shards) < 16 * 2**20
    studio = Studio(library=Library([], builtin=tmp_path / "model"))
    request = GenerationRequest(prompt="一只猫, a cat", seed=1, steps=2)
    events = list(studio.paint(request, output=tmp_path / "out"))
    ready = next(event for event in events if isinstance(event, ImageReady))
    assert isinstance(events[-1], Finished)
    assert ready.image is not None
    assert ready.image.size == (64, 64)
    assert ready.path is not None
    assert ready.path.is_file()


def test_exported_model_says_what_it_is(drawings: Bank, workshop: Path, tmp_path: Path) -> None:
    export(workshop, drawings, tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text("utf-8")
    assert "cat (猫)" in card
    assert "license: cc-by-4.0" in card
    assert "samples seen, unet | 8" in card
    for name in ("few-step.safetensors", "preview/preview.safetensors"):
        assert f"- `{name}`: " in card
        assert (tmp_path / "model" / name).is_file()
    assert (tmp_path / "model" / "ATTRIBUTION.md").read_text("utf-8").startswith("# Attribution")
    known = read_known(tmp_path / "model")
    assert known is not None
    assert {"cat", "red apple"} & set(known.names)
    assert not unknown_words("a cat, 3d style", known)
    assert [found.word for found in unknown_words("a lynx", known)] == ["lynx"]
    runs = json.loads((tmp_path / "model" / "training.json").read_text("utf-8"))
    assert runs["unet"]["recipe"]["optimisation"]["steps"] == 2
    assert [line["step"] for line in runs["unet"]["log"]] == [1, 2]
    with pytest.raises(BadInput):
        export(workshop, drawings, tmp_path / "model")


def test_training_goes_on_from_an_exported_model(drawings: Bank, workshop: Path, tmp_path: Path) -> None:
    export(workshop, drawings, tmp_path / "model")
    fill_workshop(tmp_path / "model", tmp_path / "again")
    for name in ("vae", "text", "unet"):
        before, after = (load_file(folder / f"{name}.safetensors") for folder in (workshop, tmp_path / "again"))
        assert before.keys() == after.keys()
        for key, value in before.items():
            torch.testing.assert_close(after[key], value, rtol=2e-3, atol=1e-4)
    recipe = RECIPES["unet"].model_copy(update={"optimisation": Optimisation(steps=1, batch=4, learning_rate=1e-9)})
    job = Job(name="unet", recipe=recipe, bank=drawings.folder, workshop=tmp_path / "again", limits=Limits(log_every=1))
    run(job, lambda _: None)
    before, after = (load_file(folder / "unet.safetensors") for folder in (workshop, tmp_path / "again"))
    assert all(torch.allclose(after[key], value, rtol=2e-3, atol=1e-4) for key, value in before.items())


def test_exported_model_brings_its_adapter_and_its_preview(drawings: Bank, workshop: Path, tmp_path: Path) -> None:
    export(workshop, drawings, tmp_path / "model")
    adapter = read_header(tmp_path / "model" / "few-step.safetensors")
    recognised = lora.recognise(adapter)
    assert recognised is not None
    assert lora.config_from(recognised).ranks == (2,)
    assert adapter.metadata["pinxit.family"] == "pinxit"
    defaults = json.loads(adapter.metadata["pinxit.defaults"])
    assert defaults.pop("steps") == 2
    request = GenerationRequest(prompt="a cat", **defaults)
    assert request.guidance == 1
    match = identify(read_model(tmp_path / "model" / "preview" / "preview.safetensors"), TINY_LAYOUTS)
    config = taesd.config_from(match)
    assert (config.latent.channels, config.latent.downscale) == (VAE.z_channels, 8)
    assert config.about.bases == ("pinxit",)


def test_refiner_takes_the_last_steps(drawings: Bank, workshop: Path, tmp_path: Path) -> None:
    export(workshop, drawings, tmp_path / "model")
    export_refiner(workshop, tmp_path / "refiner")
    studio = Studio(library=Library([], builtin=tmp_path / "model"))
    name = studio.add_model(tmp_path / "refiner")
    request = GenerationRequest(prompt="a cat", seed=1, steps=8)
    refined = request.replace(passes=(Refine(model=name, switch=0.8),))
    made = studio.plan(refined).resolved
    assert made.refiner is not None
    assert made.refiner.resolved.config.sizes == 5
    pixels = [
        next(event.pixels_sha256 for event in studio.paint(one) if isinstance(event, ImageReady))
        for one in (request, refined)
    ]
    assert pixels[0] != pixels[1]


def test_export_writes_the_refiner_where_it_is_told(workshop: Path, tmp_path: Path) -> None:
    done = call("export", str(workshop), "--refiner", "--out", str(tmp_path / "second"))
    assert (done.code, done.out) == (0, f"{tmp_path / 'second'}\n")
    assert (tmp_path / "second" / "unet").is_dir()
    assert not (tmp_path / "second" / "vae").exists()
    assert "--out FOLDER" in call("export", str(workshop), "--refiner").err
    assert "--data BANK" in call("export", str(workshop), "--out", "x").err


def test_exported_model_knows_what_is_near_where_the_packages_are_at_hand(
    drawings: Bank, workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    words = ("export", str(workshop), "--data", str(drawings.folder), "--cache", str(cache), "--out")
    plain = call(*words, str(tmp_path / "plain"))
    assert plain.code == 0
    assert f"pinxit data words {tmp_path / 'plain'}" in plain.err
    known = read_known(tmp_path / "plain")
    assert known is not None
    assert with_nearest("a lynx", known) == ("a lynx", ())
    cache.mkdir()
    monkeypatch.setattr(
        taught_words, "WORDNET", fakes.pinned_file(taught_words.WORDNET, wordnet(cache / "wordnet-1_3.0-37"))
    )
    monkeypatch.setattr(sources, "LABELS", fakes.pinned(sources.LABELS, cache, fakes.label_files()))
    done = call(*words, str(tmp_path / "model"))
    assert (done.code, done.err) == (0, "")
    known = read_known(tmp_path / "model")
    assert known is not None
    assert with_nearest("a lynx", known) == ("a cat", (("lynx", "cat"),))


def test_refiner_begins_as_the_model_it_refines(workshop: Path) -> None:
    first = load_file(workshop / "unet.safetensors")
    network = nn.ModuleDict({"same": nn.Linear(4, 3), "wider": nn.Linear(6, 3), "other": nn.Linear(4, 5)})
    before = network.get_parameter("other.weight").detach().clone()
    state = {"same.weight": torch.ones(3, 4), "wider.weight": torch.ones(3, 4), "other.weight": torch.ones(6, 4)}
    begin_as(network, state)
    same, wider, other = (network.get_parameter(f"{name}.weight") for name in ("same", "wider", "other"))
    assert torch.equal(same, torch.ones(3, 4))
    assert torch.equal(wider.sum(0), torch.tensor([3.0, 3, 3, 3, 0, 0]))
    assert torch.equal(other, before)
    second = load_file(workshop / "refiner.safetensors")
    narrow, wide = (state["label_emb.0.0.weight"].shape[1] for state in (second, first))
    assert (narrow, wide) == (32 + 5 * 8, 32 + 6 * 8)


def test_preview_decoder_must_end_at_half_size(drawings: Bank, workshop: Path) -> None:
    recipe = RECIPES["preview"].model_copy(update={"shape": PreviewShape(channels=8, blocks=(1, 1, 1))})
    job = Job(name="odd", recipe=recipe, bank=drawings.folder, workshop=workshop, limits=Limits())
    with pytest.raises(BadInput, match="3 levels") as caught:
        run(job, lambda _: None)
    assert caught.value.hint == "Give shape.blocks 4 numbers."


def test_latents_come_out_normalised(workshop: Path) -> None:
    vae = load_vae(workshop)
    with torch.no_grad():
        mean, _ = vae.encode(torch.rand(4, 3, 64, 64) * 2 - 1)
    assert mean.shape == (4, 4, 4, 4)
    assert bool(torch.isfinite(mean).all())


def test_missing_part_says_what_to_train(drawings: Bank, tmp_path: Path) -> None:
    job = Job(name="unet", recipe=RECIPES["unet"], bank=drawings.folder, workshop=tmp_path, limits=Limits())
    with pytest.raises(Missing, match="no vae yet") as caught:
        run(job, lambda _: None)
    assert caught.value.hint == "Train the vae first."
