"""Networks by themselves beside diffusers': folders that we write, loaded by it, and the same numbers from both.

Run with `pytest -m parity`; the usual run leaves these out.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pinxit.models.controlnet.kind import KIND as CONTROLNET
from pinxit.models.controlnet.layout import FOLDER as CONTROLNET_FOLDER
from pinxit.models.controlnet.layout import LAYOUTS as CONTROLNET_LAYOUTS
from pinxit.models.ip_adapter.config import config_from as ip_config_from
from pinxit.models.ip_adapter.kind import KIND as IP_ADAPTER
from pinxit.models.ip_adapter.layout import LAYOUTS as IP_LAYOUTS
from pinxit.models.kinds import AnyKind
from pinxit.models.t2i_adapter.kind import KIND as T2I_ADAPTER
from pinxit.models.t2i_adapter.layout import LAYOUTS as T2I_LAYOUTS
from pinxit.models.taesd.kind import KIND as TAESD
from pinxit.models.taesd.layout import LAYOUTS as TAESD_LAYOUTS
from pinxit.weights.identify import identify
from pinxit.weights.layout import Layout, View
from tests.models.derived_kinds import DERIVED, Shapes, table, tiny
from tests.models.kind_files import found_in, golden_state, loaded, written
from tests.reference import golden_json
from tests.tiny import seeded
from tests.weights.files import header_of

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

NEAR = 2e-5
"""The largest difference, of what is around 1 in size."""


def both(kind: AnyKind, layouts: tuple[Layout, ...], shapes: Shapes, name: str, folder: Path) -> tuple[Any, Any]:
    """Our network with random weights, and diffusers' own of that class from the folder that we wrote."""
    match = identify(header_of(shapes), layouts)
    config = kind.config_from(match)
    network = seeded(kind.network(config))
    target = next(layout for layout in layouts if layout.folder and _fits(layout, network))
    assert kind.files is not None
    path = written(kind, target, network.state_dict(), folder, config=_config(kind.files(config)))
    diffusers: Any = importlib.import_module("diffusers")
    theirs = getattr(diffusers, name).from_pretrained(path, torch_dtype=torch.float32).eval()
    assert torch.equal(loaded(found_in(path)).state_dict()[_first(network)], network.state_dict()[_first(network)])
    return network.eval(), theirs


def _config(files: Mapping[str, object]) -> Mapping[str, object]:
    config = files["config.json"]
    assert isinstance(config, dict)
    return config


def _fits(layout: Layout, network: torch.nn.Module) -> bool:
    ours = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    return layout.parts[0].places[0].table.measure_ours(View(ours)) is not None


def _first(network: torch.nn.Module) -> str:
    return next(iter(network.state_dict()))


def near(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    scale = max(1.0, float(theirs.abs().max()))
    assert float((ours - theirs).abs().max()) <= NEAR * scale


@pytest.mark.parametrize("channels", [4, 16])
def test_tiny_autoencoders(channels: int, tmp_path: Path) -> None:
    ours, theirs = both(TAESD, TAESD_LAYOUTS, tiny("encoder.", "decoder.", channels), "AutoencoderTiny", tmp_path)
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(2, 3, 64, 40, generator=generator) * 2 - 1
    with torch.no_grad():
        z = ours.encode(picture)[0]
        near(z, theirs.encode(picture).latents)
        near(ours.decode(3 * z), theirs.decode(3 * z).sample)


@pytest.mark.parametrize("name", ["t2iadapter-sd15-1ch", "t2iadapter-sdxl"])
def test_full_t2i_adapters(name: str, tmp_path: Path) -> None:
    ours, theirs = both(T2I_ADAPTER, T2I_LAYOUTS, table(f"t2iadapter/{name}"), "T2IAdapter", tmp_path)
    picture = torch.rand(1, ours.config.in_channels, 64, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for left, right in zip(ours(picture), theirs(picture), strict=True):
            near(left, right)


def test_light_t2i_adapters(tmp_path: Path) -> None:
    ours, theirs = both(T2I_ADAPTER, T2I_LAYOUTS, DERIVED["t2i-light"](), "T2IAdapter", tmp_path)
    picture = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for left, right in zip(ours(picture), theirs(picture), strict=True):
            near(left, right)


def test_controlnets(tmp_path: Path) -> None:
    golden = golden_json("goldens/tiny_models/controlnet_sd1.json")
    state = golden_state(golden["keys"])
    match = identify(header_of({name: tuple(tensor.shape) for name, tensor in state.items()}), CONTROLNET_LAYOUTS)
    config = CONTROLNET.config_from(match)
    config = replace(config, unet=replace(config.unet, num_heads=8, head_width=None))
    assert CONTROLNET.files is not None
    path = written(CONTROLNET, CONTROLNET_FOLDER, state, tmp_path, config=_config(CONTROLNET.files(config)))
    diffusers: Any = importlib.import_module("diffusers")
    theirs = diffusers.ControlNetModel.from_pretrained(path).eval()
    ours = loaded(found_in(path))
    generator = torch.Generator().manual_seed(0)
    x, hint = torch.randn(1, 4, 8, 8, generator=generator), torch.rand(1, 3, 64, 64, generator=generator)
    t, context = torch.tensor([500.0]), torch.randn(1, 77, 24, generator=generator)
    with torch.no_grad():
        *down, middle = ours(x, hint, t, context)
        found = theirs(x, t, encoder_hidden_states=context, controlnet_cond=hint)
        for left, right in zip(down, found.down_block_res_samples, strict=True):
            near(left, right)
        near(middle, found.mid_block_res_sample)


PLUS = {
    "proj_in": "proj_in",
    "proj_out": "proj_out",
    "norm_out": "norm_out",
    "0.norm1": "ln0",
    "0.norm2": "ln1",
    "0.to_q": "attn.to_q",
    "0.to_out": "attn.to_out.0",
    "1.0": "ff.0",
    "1.1": "ff.1.net.0.proj",
    "1.3": "ff.1.net.2",
}
"""What diffusers calls the layers of the resampler."""


def test_the_resampler_of_ip_adapter_plus() -> None:
    config = ip_config_from(identify(header_of(DERIVED["ip-adapter-plus"]()), IP_LAYOUTS))
    ours = seeded(IP_ADAPTER.network(replace(config, widths=(320,)))).eval()
    embeddings: Any = importlib.import_module("diffusers.models.embeddings")
    theirs = embeddings.IPAdapterPlusImageProjection(
        embed_dims=1280, output_dims=768, hidden_dims=768, heads=12, num_queries=16, depth=4
    ).eval()
    state: dict[str, Tensor] = {}
    for name, tensor in ours.get_submodule("image_proj").state_dict().items():
        stem, _, leaf = name.rpartition(".")
        layer, short = ("", stem) if not stem.startswith("layers.") else (stem[:9], stem[9:])
        if short == "0.to_kv":
            state[f"{layer}attn.to_k.{leaf}"], state[f"{layer}attn.to_v.{leaf}"] = tensor.chunk(2)
        elif name == "latents":
            state[name] = tensor
        else:
            state[f"{layer}{PLUS[short]}.{leaf}"] = tensor
    theirs.load_state_dict(state)
    patches = torch.randn(2, 257, 1280, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        near(ours(patches), theirs(patches))
