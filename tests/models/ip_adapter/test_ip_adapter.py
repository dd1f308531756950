from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from pinxit.models.common.transformer import CrossAttention
from pinxit.models.ip_adapter.config import config_from
from pinxit.models.ip_adapter.kind import KIND
from pinxit.models.ip_adapter.layout import LAYOUT, LAYOUTS
from pinxit.models.ip_adapter.network import IpAdapter
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import identify
from tests.models.common.golden import TOLERANCE, det_weight
from tests.models.derived_kinds import DERIVED, Shapes, table
from tests.models.kind_files import found_in, loaded, written
from tests.reference import golden_arrays, golden_json
from tests.weights.files import header_of

GOLDEN = "goldens/tiny_models/ip_adapter_attention"
NAMES: dict[str, str] = {
    "to_k_ip.weight": "ip_adapter.1.to_k_ip.weight",
    "to_v_ip.weight": "ip_adapter.1.to_v_ip.weight",
}


def test_it_gives_the_reference_outputs(tmp_path: Path) -> None:
    keys: dict[str, list[int]] = golden_json(f"{GOLDEN}.json")["keys"]
    arrays = {name: torch.from_numpy(array) for name, array in golden_arrays(f"{GOLDEN}.npz").items()}
    own = {NAMES.get(key, key): det_weight(key, shape) for key, shape in keys.items() if "proj" in key or "_ip." in key}
    network = loaded(found_in(written(KIND, LAYOUT, own, tmp_path)))
    assert isinstance(network, IpAdapter)
    attn = CrossAttention(32, heads=4, context=24)
    attn.load_state_dict(
        {key: det_weight(key, shape) for key, shape in keys.items() if key.startswith("to_")}, strict=False
    )
    with torch.no_grad():
        tokens = network(arrays["image_embeds"])
        assert (tokens - arrays["image_tokens"]).abs().max() <= TOLERANCE
        for scale in (0.0, 0.6, 1.0):
            out = network.attend(1, attn, arrays["x"], arrays["text"], tokens, scale)
            assert (out - arrays[f"out_scale_{scale}"]).abs().max() <= TOLERANCE


@pytest.mark.parametrize(
    ("name", "given", "tokens"),
    [
        ("ip-adapter-plus", (2, 257, 1280), (2, 16, 768)),
        ("ip-adapter-full", (2, 257, 1280), (2, 257, 768)),
        ("ip-adapter-face", (2, 512), (2, 4, 768)),
    ],
)
def test_every_form_makes_tokens(name: str, given: tuple[int, ...], tokens: tuple[int, ...]) -> None:
    config = config_from(identify(header_of(DERIVED[name]()), LAYOUTS))
    network = KIND.network(replace(config, widths=(320,), tuned=config.tuned[:2]))
    with torch.no_grad():
        assert network(torch.zeros(given)).shape == tokens


def test_a_face_carries_changes_of_low_rank() -> None:
    config = config_from(identify(header_of(DERIVED["ip-adapter-face"]()), LAYOUTS))
    assert len(config.tuned) == 32
    assert config.tuned[:2] == ((320, 320, 128), (320, 768, 128))
    network = KIND.network(replace(config, widths=(320,), tuned=((320, 320, 128),)))
    layers = network.get_submodule("ip_adapter.0")
    assert isinstance(layers, nn.ModuleDict)
    assert layers["to_q_lora"](torch.zeros(1, 3, 320)).shape == (1, 3, 320)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"ip_adapter.3.to_k_ip.weight": (320, 1024)}, "read tokens of different widths"),
        ({"image_proj.proj.weight": (3000, 1024)}, "makes 3000 numbers, no multiple of its 768 per token"),
    ],
)
def test_sizes_that_contradict_each_other_are_told(change: Shapes, told: str) -> None:
    with pytest.raises(BadModelFile, match=told):
        config_from(identify(header_of({**table("ipadapter/ip-adapter_sd15"), **change}), LAYOUTS))
