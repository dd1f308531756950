from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.cli.app import run
from pinxit.cli.terminal import Terminal
from pinxit.evaluate import refining
from pinxit.evaluate.asks import Domain
from pinxit.evaluate.references import SHIPPED, References
from pinxit.evaluate.refining import PART, Case, Gain, Refining, measure_refiner, small_things
from pinxit.evaluate.statistics import kernel_distance, paired_kernel_difference
from pinxit.schema.errors import BadInput
from pinxit.train.data.bank import Bank
from pinxit.train.data.build import build
from tests.cli.fakes import call
from tests.train.data import fakes

DOMAIN = Domain(concepts=(fakes.CAT, fakes.APPLE), styles=("noto",), kinds=("single",))
SIDE = 64


class Plain:
    """An autoencoder that loses nothing."""

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return z


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    return build(
        replace(fakes.options(tmp_path_factory.mktemp("refining")), sources=("noto", "fluent-flat")), lambda _: None
    )


@pytest.fixture(scope="module")
def cases(bank: Bank) -> list[Case]:
    return small_things(bank, DOMAIN, 16, side=SIDE)


def noisy(case: Case, amount: float) -> Image.Image:
    """The case's picture with noise of this deviation."""
    noise = np.random.default_rng(case.seed).normal(0, amount, case.picture.shape)
    return Image.fromarray((case.picture + noise).clip(0, 255).astype(np.uint8))


def measured(cases: list[Case], base: float, refined: float) -> Refining:
    return measure_refiner(
        cases,
        lambda case, _, refines: noisy(case, refined if refines else base),
        Plain(),
        References(SHIPPED),
        lambda *_: None,
    )


def test_small_things_are_small_and_lie_in_what_is_cut_out(bank: Bank, cases: list[Case]) -> None:
    assert [case.seed for case in cases] == list(range(16))
    for case in cases:
        cut = case.cut(case.picture)
        assert cut.shape == (SIDE // PART, SIDE // PART, 3)
        assert cut.reshape(-1, 3).std(axis=0).max() > 3
        assert case.prompt
    again = small_things(bank, DOMAIN, 16, side=SIDE)
    assert all(np.array_equal(one.picture, other.picture) for one, other in zip(cases, again, strict=True))
    other = small_things(bank, DOMAIN, 1, side=SIDE, seed=1)[0]
    assert not np.array_equal(other.picture, cases[0].picture)


def test_a_refiner_that_helps_one_that_harms_and_one_that_does_nothing(cases: list[Case]) -> None:
    for base, refined, verdict in ((30, 5, "better"), (5, 30, "worse"), (20, 20, "undecided")):
        found = measured(cases, base, refined)
        assert found.autoencoder == {"psnr": pytest.approx(found.autoencoder["psnr"]), "feature_distance": 0}
        assert found.autoencoder["psnr"] > 90
        for gains in found.gains.values():
            assert set(gains) == {"psnr", "feature_distance", "kid"}
            assert {gains[name].verdict for name in ("psnr", "feature_distance")} == {verdict}
            assert gains["kid"].verdict in (verdict, "undecided")


def test_a_gain_needs_an_interval_apart_from_zero() -> None:
    gain = Gain(base=1, refined=2, difference=1, interval=(0.5, 1.5))
    assert gain.verdict == "worse"
    assert replace(gain, higher_is_better=True).verdict == "better"
    assert replace(gain, interval=(-0.1, 1.5)).verdict == "undecided"


def test_paired_kernel_differences_know_their_sign() -> None:
    draw = np.random.default_rng(0)
    real = draw.normal(size=(60, 8))
    near, far = real + draw.normal(0, 0.1, real.shape), real + draw.normal(0.8, 0.1, real.shape)
    change, (low, high) = paired_kernel_difference(far, near, real)
    assert change == pytest.approx(kernel_distance(near, real)[0] - kernel_distance(far, real)[0])
    assert low < change < high < 0
    assert paired_kernel_difference(near, near, real) == (0.0, (0.0, 0.0))


def really(*argv: str) -> str:
    """What the command prints with the real built-in model."""
    out, err = io.StringIO(), io.StringIO()
    assert run(argv, Terminal(out=out, err=err, input=io.BytesIO(), lang="en")) == 0, err.getvalue()
    return out.getvalue()


def test_the_command_measures_a_refiner(bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in model as its own refiner changes nothing."""
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path))
    monkeypatch.setattr(refining, "STRENGTHS", (0.2,))
    monkeypatch.setattr("pinxit.evaluate.asks.domain_of", lambda _: DOMAIN)
    words = ("evaluate", "--refiner", "pinxit", "--data", str(bank.folder), "--pictures", "2")
    told = json.loads(really(*words, "--json").splitlines()[-1])
    assert (told["event"], told["pictures"], told["crop"], told["network"]) == ("refined", 2, 64, "judge")
    gain = told["strengths"]["0.2"]["psnr"]
    assert gain["verdict"] == "undecided"
    assert gain["base"] == gain["refined"] > 10
    assert (told["usual"]["crop"], told["usual"]["strengths"]["0.2"]["kid"]["verdict"]) == (256, "undecided")
    assert really(*words).count("PSNR in dB") == 2


def test_the_command_says_what_it_needs(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "evaluate --refiner needs --data BANK" in call("evaluate", "--refiner", "x").err
    done = call("evaluate", "--refiner", "x", "--data", str(bank.folder))
    assert done.code == BadInput.exit_code
    assert "trained by pinxit" in done.err
