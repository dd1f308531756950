"""Every kind of single network file, from every spelling, by the same promises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pinxit.models.kinds import About, Kind, find_kind, identify_model, recognised, settings_beside
from pinxit.plugins.manager import build_catalog
from pinxit.schema.errors import ModelError, UnknownModelFormat
from pinxit.weights.folder import read_model
from pinxit.weights.identify import identify
from tests.models.kind_files import KINDS
from tests.weights.files import header_of, manifest, sparse_file


def test_every_kind_says_what_it_is_for() -> None:
    for kind in KINDS:
        assert kind.title
        assert kind.hint.endswith(".")
        assert (kind.build is None) <= (kind.recognise is not None)
        for layout in kind.layouts:
            assert [part.component for part in layout.parts] == [kind.name]
            assert layout.family == kind.name
            assert layout.parts[0].required


def test_names_of_layouts_are_taken_once() -> None:
    names = [layout.name for kind in KINDS for layout in kind.layouts]
    assert len(set(names)) == len(names)


def test_a_file_that_no_kind_explains_is_described() -> None:
    with pytest.raises(UnknownModelFormat, match="it looks like a language model"):
        find_kind(header_of({"model.layers.0.self_attn.q_proj.weight": (4, 4)}), KINDS)


@dataclass(frozen=True, slots=True)
class Sort:
    about: About


def test_a_kind_without_a_network_is_recognised_by_its_function() -> None:
    note = Kind(
        name="note",
        title="Note",
        hint="Read it.",
        config_from=lambda match: Sort(about=About(bases=("sd1",), variant=match.evidence[0])),
        recognise=lambda header: recognised(header, "note", ["a note"]) if "note" in header.tensors else None,
    )
    found = find_kind(header_of({"note": (1,)}), [note])
    assert (found.kind, found.about.variant, note.base(found.config)) == (note, "a note", "sd1")
    assert (found.match.family, found.match.parts) == ("note", {})
    with pytest.raises(ModelError, match=r"A file of the kind note holds no network of its own\. Read it\."):
        note.network(found.config)
    assert note.base(Sort(about=About())) == ""
    with pytest.raises(UnknownModelFormat):
        find_kind(header_of({"other": (1,)}), [note])


def test_the_json_beside_a_network_is_found(tmp_path: Path) -> None:
    def beside(path: Path, files: Mapping[str, str]) -> tuple[str, Any]:
        path.parent.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (path.parent / name).write_text(text)
        sparse_file(path, manifest("vae-kl-f8"))
        settings = settings_beside(identify(read_model(path), [*KINDS.get("vae").layouts]))
        return settings.source, settings.values.get("a")

    whole = json.dumps({"a": 1})
    assert beside(tmp_path / "1" / "x.safetensors", {"x.json": whole}) == ("x.json", 1)
    assert beside(tmp_path / "2" / "x.safetensors", {"config.json": whole}) == ("x.json", None)
    assert beside(tmp_path / "3" / "x.safetensors", {"x.json": "[nonsense"}) == ("x.json", None)
    name = "diffusion_pytorch_model.fp16.safetensors"
    assert beside(tmp_path / "4" / name, {"config.json": whole}) == ("config.json", 1)
    folder = tmp_path / "5"
    beside(folder / "diffusion_pytorch_model.safetensors", {"config.json": whole})
    assert settings_beside(identify(read_model(folder), [*KINDS.get("vae").layouts])).values == {"a": 1}


def test_what_is_no_whole_model_is_told_with_its_kind() -> None:
    catalog = build_catalog()
    layouts = [layout for family in catalog.families for layout in family.layouts]
    assert identify_model(header_of(manifest("sd-v1")), layouts, catalog.kinds).family == "sd1"
    with pytest.raises(UnknownModelFormat) as told:
        identify_model(header_of(manifest("controlnet-sd15")), layouts, catalog.kinds)
    assert str(told.value) == (
        "model.safetensors is no whole model; its kind: ControlNet. It guides a model with a picture; it is no model "
        "by itself."
    )
    with pytest.raises(UnknownModelFormat, match="it looks like a language model"):
        identify_model(header_of({"model.layers.0.self_attn.q_proj.weight": (4, 4)}), layouts, catalog.kinds)
