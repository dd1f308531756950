"""The latent x2 upscaler: its two spellings, its preconditioning, and what it is told."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from pinxit.models.contract import Micro, Words
from pinxit.models.upscale2.config import KUNetConfig, config_from
from pinxit.models.upscale2.family import FAMILY
from pinxit.models.upscale2.folder import unet_json
from pinxit.models.upscale2.layout import K_UNET, K_UNET_DIFFUSERS, LAYOUTS
from pinxit.models.upscale2.network import KUNet, Resample
from pinxit.prompts.chunks import Chunking, cut
from pinxit.sampling.denoiser import Conditioning
from pinxit.schema.errors import BadModelFile, ModelError
from pinxit.weights.folder import read_model
from pinxit.weights.identify import Match, identify
from pinxit.weights.layout import View
from pinxit.weights.load import load_into
from tests.easel import Easels
from tests.models.derived_sd import upscale2
from tests.reference import golden_json
from tests.weights.files import header_of

PUBLIC = golden_json("manifests/diffusers/derived-x2-upscaler-unet.json")["components"]["unet"]


def test_the_names_of_the_folder_are_those_of_our_network() -> None:
    theirs = View({name: tuple(shape) for name, shape in PUBLIC["tensors"].items()})
    sizes = K_UNET_DIFFUSERS.measure(theirs)
    assert sizes is not None
    with torch.device("meta"):
        ours = {name: tuple(tensor.shape) for name, tensor in KUNet(KUNetConfig()).state_dict().items()}
    entries = K_UNET_DIFFUSERS.entries(sizes, theirs, "theirs")
    assert sorted(name for entry in entries for name in entry.theirs) == sorted(PUBLIC["tensors"])
    found = {
        name: shape
        for entry in entries
        for name, shape in zip(
            entry.ours, entry.ours_shapes(tuple(theirs.shapes[name] for name in entry.theirs)), strict=True
        )
    }
    assert found == ours
    assert K_UNET_DIFFUSERS.measure_ours(View(ours)) == K_UNET.measure(View(ours)) == sizes
    assert K_UNET_DIFFUSERS.measure(View({"down_blocks.0.resnets.0.norm1.weight": (1,)})) is None
    assert K_UNET.measure(View({"u_net.d_blocks.0.1.main.2.weight": (1,)})) is None


def test_our_json_says_what_the_public_one_says() -> None:
    written = unet_json(KUNetConfig())
    assert {key: written[key] for key in PUBLIC["config"]} == PUBLIC["config"]
    for broken in (
        replace(KUNetConfig(), mapping=512),
        replace(KUNetConfig(), widths=(384, 768, 768, 768)),
        replace(KUNetConfig(), own=(False, True, False, True)),
    ):
        with pytest.raises(BadModelFile, match="A diffusers folder cannot hold this upscaler"):
            unet_json(broken)


def test_sizes_that_cannot_belong_together() -> None:
    shapes = upscale2()
    config = config_from(identify(header_of(shapes), LAYOUTS))
    assert config.unet == KUNetConfig()
    for broken, expected in (
        ({"cross": (0, 0, 0, 0)}, "has no cross-attention"),
        ({"own": (1, 1, 1, 1)}, "lacks the tensor u_net.d_blocks.1.3.norm_enc.weight"),
    ):
        with pytest.raises(BadModelFile, match=expected):
            config_from(measured_as(**broken))
    folder = identify(header_of(shapes, configs={"unet/config.json": {"attention_head_dim": 100}}), LAYOUTS)
    with pytest.raises(
        BadModelFile, match=r"levels of \[384, 384, 768, 384, 768, 768\] channels cannot have heads of 100"
    ):
        config_from(folder)


def measured_as(**sizes: tuple[int, ...]) -> Match:
    """The public network, as if its names had given other sizes."""
    match = identify(header_of(upscale2()), LAYOUTS)
    part = match.part("unet")
    return replace(match, parts={**match.parts, "unet": replace(part, sizes={**part.sizes, **sizes})})


def test_the_resamplers_keep_what_is_flat() -> None:
    flat = torch.full((1, 3, 6, 8), 2.5)
    assert torch.allclose(Resample("down")(flat), torch.full((1, 3, 3, 4), 2.5))
    assert torch.allclose(Resample("up")(flat), torch.full((1, 3, 12, 16), 2.5))


def test_it_says_what_it_needs(easels: Easels) -> None:
    with pytest.raises(ModelError) as raised:
        easels("upscale2").resolve()
    assert str(raised.value) == (
        "upscale2 cannot paint from a prompt alone: the latent x2 upscaler needs a small picture. Choose another model."
    )


def test_words_and_the_small_latent_reach_the_network(easels: Easels) -> None:
    match = identify(read_model(easels.model("upscale2")), LAYOUTS)
    # One file does not say how wide heads are: 64, as in the public model.
    config = config_from(match)
    networks = {}
    for component in ("unet", "text_encoder"):
        with torch.device("meta"):
            networks[component] = FAMILY.build(config, component)
        load_into(networks[component], match, component, dtype=torch.float32)
    tokenizer = FAMILY.tokenizers(config, match)["text_encoder"]
    chunk = cut((), tokenizer, Chunking())[0]
    words = Words(
        chunks={"text_encoder": (chunk,)},
        empty={"text_encoder": chunk},
        emphasis="keep_mean",
        skip=None,
        micro=Micro(original=(64, 64), target=(64, 64)),
    )
    network = FAMILY.network(config, networks["unet"].eval())
    with torch.inference_mode():
        conditioning = FAMILY.encode(config, networks, words)
        assert conditioning.pooled is not None
        assert conditioning.pooled.shape == (1, 192)
        assert conditioning.pooled[0, :128].tolist() == [1.0] * 64 + [0.0] * 64
        x = torch.zeros(2, 4, 9, 11)
        out = network(x, 0.1, replace(conditioning, concat=torch.rand(1, 4, 9, 11)))
        assert (out.shape, out.dtype) == (x.shape, torch.float32)
        with pytest.raises(ValueError, match=r"a latent of \[7, 9\] is too small"):
            network(x[..., :7, :9], 0.1, replace(conditioning, concat=torch.rand(1, 4, 7, 9)))
        with pytest.raises(ValueError, match="needs the latent that it enlarges"):
            network(x, 0.1, conditioning)
        with pytest.raises(ValueError, match="needs token vectors and the pooled text"):
            network(x, 0.1, Conditioning())
    with pytest.raises(ModelError, match="This checkpoint brings no engine"):
        FAMILY.build(config, "engine")


def test_it_is_preconditioned_with_data_of_deviation_one() -> None:
    process = FAMILY.facts(config_from(identify(header_of(upscale2()), LAYOUTS))).process
    scalings = process.scalings(3.0)
    assert scalings == pytest.approx((1 / 10, 3 / math.sqrt(10), 1 / math.sqrt(10)))
    assert process.timestep(3.0) == pytest.approx(math.log(3.0) / 4)
