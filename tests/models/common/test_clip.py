from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pinxit.models.common.clip import ClipText
from pinxit.models.common.configs import ClipTextConfig
from tests.models.common.golden import TOLERANCE, det_weight, filled
from tests.reference import golden_arrays, golden_json


def _config(given: dict[str, Any], *, projection: int | None) -> ClipTextConfig:
    return ClipTextConfig(
        vocab_size=given["vocab_size"],
        width=given["hidden_size"],
        intermediate=given["intermediate_size"],
        layers=given["num_hidden_layers"],
        heads=given["num_attention_heads"],
        activation=given["hidden_act"],
        projection=projection,
        bos_id=given["bos_token_id"],
        eos_id=given["eos_token_id"],
    )


@pytest.mark.parametrize("name", ["text_clip_l", "text_hf_gelu_proj"])
def test_text_encoder_gives_the_reference_states(name: str) -> None:
    facts = golden_json(f"goldens/tiny_models/{name}.json")
    arrays = {key: torch.from_numpy(value) for key, value in golden_arrays(f"goldens/tiny_models/{name}.npz").items()}
    text = filled(ClipText(_config(facts["config"], projection=facts["config"]["projection_dim"])), facts["keys"])
    assert isinstance(text, ClipText)
    with torch.no_grad():
        states = text(arrays["input_ids"])
        assert states.projected is not None
        found = {
            "embeddings": states.hidden[0],
            "hidden_minus2_raw": states.hidden[-2],
            "hidden_minus2_final_ln": text.normalised(states.hidden[-2]),
            "hidden_minus3_final_ln": text.normalised(states.hidden[-3]),
            "last_layer_before_ln": states.hidden[-1],
            "last_hidden_state": states.last,
            "pooled": states.pooled,
            "text_embeds": states.projected,
        }
    for key, value in found.items():
        assert (value - arrays[key]).abs().max() <= TOLERANCE, key


def test_text_encoder_gives_openclips_states() -> None:
    facts = golden_json("goldens/tiny_models/text_openclip.json")
    arrays = {
        key: torch.from_numpy(value) for key, value in golden_arrays("goldens/tiny_models/text_openclip.npz").items()
    }
    text = ClipText(_config(facts["hf_config"], projection=facts["hf_config"]["projection_dim"]))
    text.load_state_dict(_from_openclip({key: det_weight(key, shape) for key, shape in facts["keys"].items()}))
    with torch.no_grad():
        states = text(arrays["input_ids"])
        assert states.projected is not None
        found = {
            "embeddings": states.hidden[0],
            "penultimate_raw": states.hidden[-2],
            "penultimate_ln_final": text.normalised(states.hidden[-2]),
            "last_ln_final": states.last,
            "pooled_projected": states.projected,
        }
    for key, value in found.items():
        assert (value - arrays[key]).abs().max() <= TOLERANCE, key


def _from_openclip(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP's tensors under Hugging Face names, by hand, so that the layout tables are not their own judge."""
    ours = {
        "text_model.embeddings.token_embedding.weight": theirs["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": theirs["positional_embedding"],
        "text_model.final_layer_norm.weight": theirs["ln_final.weight"],
        "text_model.final_layer_norm.bias": theirs["ln_final.bias"],
        "text_projection.weight": theirs["text_projection"].T,
    }
    pairs = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj"}
    pairs |= {"mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    for layer in range(4):
        block, target = f"transformer.resblocks.{layer}", f"text_model.encoder.layers.{layer}"
        for suffix in ("weight", "bias"):
            for before, after in pairs.items():
                ours[f"{target}.{after}.{suffix}"] = theirs[f"{block}.{before}.{suffix}"]
            for part, name in zip(theirs[f"{block}.attn.in_proj_{suffix}"].chunk(3), "qkv", strict=True):
                ours[f"{target}.self_attn.{name}_proj.{suffix}"] = part
    return ours
