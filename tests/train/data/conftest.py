"""One small bank, built once and read by every test of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinxit.train.data.bank import Bank
from pinxit.train.data.build import build
from tests.train.data import fakes


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bank, list[str]]:
    """The bank and what its build reported."""
    said: list[str] = []
    return build(fakes.options(tmp_path_factory.mktemp("data")), said.append), said


@pytest.fixture(scope="session")
def bank(built: tuple[Bank, list[str]]) -> Bank:
    return built[0]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"
