from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pinxit.schema.errors import BadModelFile, NumericError
from pinxit.weights.convert import to_theirs
from pinxit.weights.folder import read_model
from pinxit.weights.identify import Match, identify
from pinxit.weights.load import Source, load_into, read_component
from tests.weights.tiny import LAYOUTS, SINGLE, Net, on_meta


def theirs(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the single-file layout, computed beside the code that saves."""
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    result: dict[str, Tensor] = {}
    for entry in SINGLE.names_for("net", shapes):
        tensors = to_theirs(entry, [state[name] for name in entry.ours])
        result.update(zip(entry.theirs, (tensor.contiguous() for tensor in tensors), strict=True))
    return result


def file_of(path: Path, tensors: dict[str, Tensor]) -> Match:
    save_file(tensors, path)
    return identify(read_model(path), LAYOUTS)


def test_every_operation_brings_the_right_numbers(tmp_path: Path) -> None:
    state = Net.filled()
    tensors = theirs(state)
    assert torch.equal(tensors["model.layers.1.attn.in_proj_weight"][4:8], state["blocks.0.k.weight"])
    assert torch.equal(tensors["model.layers.2.mix.weight"], state["blocks.1.mix.weight"][:, :, 0, 0])
    assert torch.equal(tensors["model.layers.1.turn"], state["blocks.0.turn.weight"].T)
    assert torch.equal(tensors["model.layers.1.swap.bias"][:4], state["blocks.0.swap.bias"][4:])
    assert torch.equal(tensors["model.layers.1.to_v.weight"], state["blocks.0.qkv.weight"][4:])
    network = on_meta()
    report = load_into(network, file_of(tmp_path / "m.safetensors", tensors), "net")
    assert report.loaded == len(state)
    assert report.missing == report.unexpected == ()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_types_are_converted_on_request(tmp_path: Path) -> None:
    state = Net.filled()
    tensors = theirs(state)
    for stored in (torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float64):
        match = file_of(tmp_path / "m.safetensors", {name: tensor.to(stored) for name, tensor in tensors.items()})
        kept, converted = on_meta(), on_meta()
        load_into(kept, match, "net")
        load_into(converted, match, "net", dtype=torch.float32, check_finite=True)
        as_it_is = torch.float16 if stored.itemsize == 1 else stored
        assert {tensor.dtype for tensor in kept.state_dict().values()} == {as_it_is}
        for name, tensor in converted.state_dict().items():
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor, state[name].to(stored).float())
    assert dict(read_component(match, "net")).keys() == state.keys()


def test_an_odd_header_length_is_no_obstacle(tmp_path: Path) -> None:
    state = Net.filled()
    path = tmp_path / "m.safetensors"
    save_file(theirs(state), path)
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    path.write_bytes((length + 3).to_bytes(8, "little") + raw[8 : 8 + length] + b"   " + raw[8 + length :])
    network = on_meta()
    load_into(network, identify(read_model(path), LAYOUTS), "net")
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_gaps_are_errors_unless_allowed(tmp_path: Path) -> None:
    tensors = theirs(Net.filled())
    del tensors["model.layers.1.mix.bias"]
    tensors |= {"model.new": torch.zeros(1), "outside": torch.zeros(1), "model.betas": torch.zeros(1)}
    match = file_of(tmp_path / "m.safetensors", tensors)
    with pytest.raises(BadModelFile) as caught:
        load_into(on_meta(), match, "net")
    assert caught.value.message == (
        "m.safetensors, read as tiny, lacks 1 tensors of the net (blocks.0.mix.bias) "
        "and holds 1 that it has no place for (model.new)."
    )
    network = on_meta()
    report = load_into(network, match, "net", strict=False)
    assert report.missing == ("blocks.0.mix.bias",)
    assert report.unexpected == ("model.new",)
    assert report.dropped == {"model.betas": "noise schedule"}
    assert network.state_dict()["blocks.0.mix.bias"].is_meta
    assert match.unexpected == ("model.new", "outside")


def test_a_network_with_fewer_layers_names_what_is_left(tmp_path: Path) -> None:
    match = file_of(tmp_path / "m.safetensors", theirs(Net.filled()))
    network = on_meta()
    del network.blocks[1]
    with pytest.raises(BadModelFile, match=r"holds 9 that it has no place for .* and 6 more"):
        load_into(network, match, "net")


def test_wrong_shapes_and_types_are_refused(tmp_path: Path) -> None:
    tensors = theirs(Net.filled())
    wrong = {**tensors, "model.layers.1.mix.bias": torch.zeros(7)}
    with pytest.raises(
        BadModelFile, match=r"model.layers.1.mix.bias has the shape \[7\], the network's blocks.0.mix.bias"
    ):
        load_into(on_meta(), file_of(tmp_path / "m.safetensors", wrong), "net")
    quantised = {**tensors, "model.layers.1.mix.bias": torch.zeros(6, dtype=torch.int8)}
    with pytest.raises(BadModelFile, match=r"holds torch.int8 numbers, .* Quantised files are not supported"):
        load_into(on_meta(), file_of(tmp_path / "m.safetensors", quantised), "net")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float8_e5m2])
def test_nan_and_infinity_are_found(tmp_path: Path, value: float, dtype: torch.dtype) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in theirs(Net.filled()).items()}
    tensors["model.layers.1.mix.bias"] = torch.full((6,), value).to(dtype)
    match = file_of(tmp_path / "m.safetensors", tensors)
    with pytest.raises(NumericError, match=r"NaN or infinity in 1 tensors, such as model.layers.1.mix.bias"):
        load_into(on_meta(), match, "net", check_finite=True)
    load_into(on_meta(), match, "net")


def test_a_file_that_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    match = file_of(path, theirs(Net.filled()))
    size = path.stat().st_size
    path.write_bytes(b"\xff" * size)
    with pytest.raises(BadModelFile, match="cannot be read"):
        load_into(on_meta(), match, "net")
    os.truncate(path, size - 1)
    with pytest.raises(BadModelFile, match="changed since it was looked at"):
        load_into(on_meta(), match, "net")


def test_what_is_taken_later_is_not_read_until_it_is_asked_for(tmp_path: Path) -> None:
    state = Net.filled()
    path = tmp_path / "m.safetensors"
    match, network, sources = file_of(path, state), on_meta(), dict[str, Source]()

    def later(name: str, source: Source) -> bool:
        if name.endswith("weight"):
            sources[name] = source
        return name in sources

    report = load_into(network, match, "net", later=later)
    assert (report.loaded, report.missing) == (len(state), ())
    assert len(sources) == len([name for name in state if name.endswith("weight")])
    for name, tensor in network.state_dict().items():
        assert tensor.is_meta == (name in sources), name
    room = torch.empty(max(source.nbytes for source in sources.values()), dtype=torch.uint8)
    for name, source in sources.items():
        assert torch.equal(source.read(), state[name])
        found = source.read(room)
        assert torch.equal(found, state[name])
        assert found.untyped_storage().data_ptr() == room.data_ptr()
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(BadModelFile, match="changed since it was looked at"):
        next(iter(sources.values())).read()


def test_what_lies_otherwise_in_the_file_is_read_at_once(tmp_path: Path) -> None:
    state, offered = Net.filled(), list[str]()

    def later(name: str, _: Source) -> bool:
        offered.append(name)
        return True

    network = on_meta()
    load_into(network, file_of(tmp_path / "m.safetensors", theirs(state)), "net", later=later)
    assert offered == ["blocks.0.mix.bias", "blocks.1.mix.bias"]
    assert torch.equal(network.state_dict()["blocks.1.turn.weight"], state["blocks.1.turn.weight"])


def test_a_wrong_shape_is_found_at_once_even_if_all_may_be_read_later(tmp_path: Path) -> None:
    match = file_of(tmp_path / "m.safetensors", Net.filled() | {"blocks.1.k.weight": torch.zeros(3, 3)})
    with pytest.raises(BadModelFile, match=r"blocks.1.k.weight has the shape \[3, 3\]"):
        load_into(on_meta(), match, "net", later=lambda *_: True)
