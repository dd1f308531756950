from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pinxit.schema.errors import BadInput, Missing
from pinxit.train.data.fetch import fetch, fetched
from pinxit.train.data.sources import SOURCES, source_named
from tests.train.data import fakes


def client(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """Put a stand-in for a registry's client first in the path."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n" + script)
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("source", "script"),
    [
        ("noto", 'test "$7" = "@iconify-json/noto@1.2.9" || test "$6" = "@iconify-json/noto@1.2.9" && cp "$GIVES" .'),
        ("openclipart", 'test "$1 $2" = "download openclipart-svg=1:0.18+dfsg-19" && cp "$GIVES" .'),
    ],
)
def test_a_package_comes_through_its_client_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, source: str, script: str
) -> None:
    given = fakes.pack(tmp_path / "given", {"a": b"b"})
    wanted = fakes.pinned_file(source_named(source), given)
    monkeypatch.setenv("GIVES", str(given))
    client(tmp_path / "bin", monkeypatch, "npm" if wanted.client == "npm" else "apt-get", script)
    assert fetched(wanted, cache) is None
    first = fetch(wanted, cache)
    assert fetched(wanted, cache) == first
    assert first.read_bytes() == given.read_bytes()
    client(tmp_path / "bin", monkeypatch, "npm", "exit 1")
    client(tmp_path / "bin", monkeypatch, "apt-get", "exit 1")
    assert fetch(wanted, cache) == first


def test_a_pip_source_is_downloaded_without_dependencies(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = fakes.pack(tmp_path / "given", {"a": b"b"})
    monkeypatch.setenv("GIVES", str(given))
    client(tmp_path / "bin", monkeypatch, "pip", 'test "$2 $5" = "--no-deps x==1" && cp "$GIVES" "$4"')
    wanted = replace(fakes.pinned_file(SOURCES[0], given), client="pip", package="x", version="1")
    assert fetch(wanted, cache).read_bytes() == given.read_bytes()


def test_changed_bytes_are_refused(cache: Path) -> None:
    wanted = fakes.pinned(source_named("noto"), cache, {"a": b"b"})
    path = next((cache / "noto-1.2.9").iterdir())
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(BadInput, match=f"has changed: sha256 [0-9a-f]{{64}}, expected {wanted.sha256}") as caught:
        fetch(wanted, cache)
    assert "Delete" in caught.value.hint


def test_a_vanished_package_is_said_with_the_clients_words(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client(tmp_path / "bin", monkeypatch, "npm", "echo 'no such version' >&2; exit 1")
    with pytest.raises(Missing, match=r"npm could not bring @iconify-json/noto 1\.2\.9: no such version") as caught:
        fetch(source_named("noto"), cache)
    assert "keep_going" in caught.value.hint
    client(tmp_path / "bin", monkeypatch, "npm", "exit 0")
    with pytest.raises(Missing, match="could not bring"):
        fetch(source_named("noto"), cache)


def test_a_client_that_is_not_installed_is_named(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match="comes through npm, which is not installed"):
        fetch(source_named("noto"), cache)


def test_every_pin_is_whole() -> None:
    assert len({source.name for source in SOURCES}) == len(SOURCES)
    assert all(len(source.sha256) == 64 and source.licence and source.author for source in SOURCES)
