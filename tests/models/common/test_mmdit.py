from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pinxit.models.common.configs import MmditConfig
from pinxit.models.common.mmdit import MMDiT
from pinxit.models.common.transformer_layouts import MMDIT, MMDIT_DIFFUSERS
from pinxit.schema.errors import BadInput
from pinxit.weights.convert import to_ours, to_theirs
from pinxit.weights.layout import Table, View
from tests.models.common.golden import TOLERANCE, det_weight
from tests.models.common.test_layouts import below, pairs
from tests.reference import golden_arrays, golden_json
from tests.weights.files import manifest

NAMES = ("mmdit_sd3", "mmdit_sd35_medium")


def golden_config(facts: Mapping[str, Any]) -> MmditConfig:
    theirs = facts["mmdit_config"]
    return MmditConfig(
        width=64 * theirs["depth"],
        depth=theirs["depth"],
        heads=theirs["depth"],
        intermediate=4 * 64 * theirs["depth"],
        positions=theirs["pos_embed_max_size"],
        context=theirs["context_dim"],
        pooled=theirs["adm_in_channels"],
        norm=theirs["qk_norm"] == "rms",
        dual=tuple(theirs["x_block_self_attn_layers"]),
    )


def golden_state(facts: Mapping[str, Any]) -> dict[str, Tensor]:
    state = {name: det_weight(name, shape) for name, shape in facts["keys"].items()}
    state["pos_embed"] = state["pos_embed"] * 3
    return state


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def through(table: Table, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights written in the table's spelling, measured anew, and read back."""
    view = View(shapes(state))
    sizes = table.measure_ours(view)
    assert sizes is not None
    theirs: dict[str, Tensor] = {}
    for entry in table.entries(sizes, view, "ours"):
        made = to_theirs(entry, [state[name] for name in entry.ours])
        theirs.update(zip(entry.theirs, made, strict=True))
    view = View(shapes(theirs))
    sizes = table.measure(view)
    assert sizes is not None
    ours: dict[str, Tensor] = {}
    for entry in table.entries(sizes, view, "theirs"):
        ours.update(zip(entry.ours, to_ours(entry, [theirs[name] for name in entry.theirs]), strict=True))
    return ours


@pytest.mark.parametrize("table", [MMDIT, MMDIT_DIFFUSERS], ids=lambda table: table.name)
@pytest.mark.parametrize("name", NAMES)
def test_mmdit_gives_the_reference_outputs(name: str, table: Table) -> None:
    facts = golden_json(f"goldens/tiny_models/{name}.json")
    arrays = golden_arrays(f"goldens/tiny_models/{name}.npz")
    network = MMDiT(golden_config(facts))
    network.load_state_dict(through(table, golden_state(facts)), strict=True, assign=True)
    for case in facts["cases"]:
        given = {key: torch.from_numpy(arrays[f"{case}/{key}"]) for key in ("x", "t", "context", "y", "out")}
        with torch.no_grad():
            out = network(given["x"], given["t"], given["context"], given["y"])
        assert (out - given["out"]).abs().max() <= TOLERANCE


@pytest.mark.parametrize("model", ["sd3-medium", "sd35-medium", "sd35-large"])
def test_the_names_of_a_folder(model: str) -> None:
    oracle = {
        ours.replace("[halves swapped: shift,scale -> scale,shift]", ""): theirs
        for ours, theirs in golden_json(f"manifests/keymaps/mmdit-{model}.json")["map"].items()
    }
    singles = below("model.diffusion_model.", manifest(model))
    view = View(singles)
    sizes = MMDIT_DIFFUSERS.measure_ours(view)
    assert sizes is not None
    found: dict[str, str] = {}
    for entry in MMDIT_DIFFUSERS.entries(sizes, view, "ours"):
        count = len(entry.theirs)
        for number, theirs in enumerate(entry.theirs):
            found[entry.ours[0] + (f"[{number}/{count}]" if count > 1 else "")] = theirs
    assert found == oracle
    assert pairs(MMDIT, view, "theirs") == {name: name for name in singles}


def test_halves_are_swapped_where_the_reference_says_so() -> None:
    facts = golden_json("goldens/tiny_models/mmdit_sd35_medium.json")
    state = golden_state(facts)
    view = View(shapes(state))
    sizes = MMDIT_DIFFUSERS.measure_ours(view)
    assert sizes is not None
    swapped = {
        entry.ours[0]
        for entry in MMDIT_DIFFUSERS.entries(sizes, view, "ours")
        if not torch.equal(torch.cat(to_theirs(entry, [state[name] for name in entry.ours])), state[entry.ours[0]])
    }
    layers = ("joint_blocks.1.context_block.adaLN_modulation.1", "final_layer.adaLN_modulation.1")
    assert swapped == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}


def tiny(**changes: Any) -> MMDiT:
    facts = golden_json("goldens/tiny_models/mmdit_sd3.json")
    network = MMDiT(replace(golden_config(facts), **changes))
    network.load_state_dict(golden_state(facts), strict=True, assign=True)
    return network.eval()


@torch.no_grad()
def test_a_side_that_is_no_multiple_of_the_patch_goes_on_with_the_opposite_edge() -> None:
    network = tiny()
    values = np.random.RandomState(0).standard_normal((1, 16, 8, 8)).astype(np.float32)
    wide = torch.from_numpy(values)
    wide[..., 7] = wide[..., 0]
    context, pooled, t = torch.ones(1, 3, 40), torch.ones(1, 24), torch.tensor([500.0])
    odd = network(wide[..., :7], t, context, pooled)
    assert odd.shape == (1, 16, 8, 7)
    assert torch.equal(odd, network(wide, t, context, pooled)[..., :7])


def test_positions_are_the_middle_of_the_table() -> None:
    network = tiny()
    table = network.pos_embed.view(16, 16, -1)
    assert torch.equal(network.positions(3, 6), table[6:9, 5:11].reshape(1, 18, -1))
    assert torch.equal(network.positions(16, 16), network.pos_embed)


def test_a_picture_beyond_the_table_is_told() -> None:
    with pytest.raises(BadInput) as raised:
        tiny().positions(4, 17)
    assert str(raised.value) == (
        "This model knows 16 positions along a side, and the picture has 17. Ask for a smaller size."
    )


def test_halves_of_numbers_go_through() -> None:
    network = tiny().to(torch.bfloat16)
    with torch.no_grad():
        out = network(torch.zeros(2, 16, 6, 4), torch.tensor([0.0, 999.0]), torch.ones(2, 5, 40), torch.ones(2, 24))
    assert (out.shape, out.dtype) == ((2, 16, 6, 4), torch.bfloat16)
    assert bool(torch.isfinite(out).all())


def test_what_is_not_there_has_no_sizes() -> None:
    nothing = View({"a.weight": (1,)})
    for table in (MMDIT, MMDIT_DIFFUSERS):
        assert table.measure(nothing) is None
        assert table.measure_ours(nothing) is None
