"""What several folders of tests share: random tiny models on disk, made once, and a cache that is not the user's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.easel import Easels

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
"""Speed is measured by `pinxit bench`; a busy machine fails no test."""


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Computed fingerprints go into a folder of this run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PINXIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def easels(tmp_path_factory: pytest.TempPathFactory) -> Easels:
    """Tiny models of every family, each with what is loaded of it."""
    return Easels(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def tiny_models(easels: Easels) -> Path:
    """A folder with the tiny models `pinxit`, `sd1` and `sd2`."""
    for name in ("pinxit", "sd1", "sd2"):
        easels.model(name)
    return easels.folder
