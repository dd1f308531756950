"""The small bank of `tests.train.data`, for the tests of training itself."""

from __future__ import annotations

import pytest

from pinxit.train.data.bank import Bank
from pinxit.train.data.build import build
from tests.train.data import fakes


@pytest.fixture(scope="session")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    return build(fakes.options(tmp_path_factory.mktemp("drawings")), lambda _: None)
