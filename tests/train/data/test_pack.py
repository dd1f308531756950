from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pinxit.schema.errors import BadInput, Missing, UnknownName
from pinxit.train.data.bank import Bank
from pinxit.train.data.build import build
from pinxit.train.data.listing import Listing, list_drawings
from pinxit.train.data.pack import read_pack, write_pack
from tests.train.data import fakes


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Listing:
    options = fakes.options(tmp_path_factory.mktemp("packed"))
    return list_drawings(options.table, options.labels, options.cache, lambda _: None)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory, listing: Listing) -> Path:
    path = tmp_path_factory.mktemp("pack") / "drawings.tar.xz"
    assert write_pack(listing, path) == path.stat().st_size
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    return path


def test_a_pack_holds_the_whole_listing(pack: Path, listing: Listing) -> None:
    assert read_pack(pack) == listing


def test_a_bank_from_a_pack_is_the_bank_from_the_packages(tmp_path: Path, pack: Path, bank: Bank) -> None:
    options = replace(fakes.options(tmp_path), pack=pack, cache=tmp_path / "nothing here")
    again = build(options, lambda _: None)
    assert again.drawings == bank.drawings
    assert np.array_equal(again.pixels(64), bank.pixels(64))
    assert (again.folder / "attribution.md").read_text() == (bank.folder / "attribution.md").read_text()
    few = build(replace(options, sources=("noto",), folder=tmp_path / "few"), lambda _: None)
    assert {drawing.source for drawing in few.drawings} == {"noto"}
    with pytest.raises(UnknownName, match="no drawing source named 'notto'"):
        build(replace(options, sources=("notto",), folder=tmp_path / "none"), lambda _: None)


def test_an_absent_pack_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="no pack at"):
        read_pack(tmp_path / "absent.tar.xz")


def test_what_is_no_pack_is_refused(tmp_path: Path, pack: Path) -> None:
    path = tmp_path / "x.tar.xz"
    for data in (b"", b"nonsense", pack.read_bytes()[:-400]):
        path.write_bytes(data)
        with pytest.raises(BadInput, match=r"x\.tar\.xz is not a pack of drawings"):
            read_pack(path)
    with tarfile.open(path, "w:xz") as archive:
        for name, text in (("pack.json", json.dumps({"format": 9})), ("drawings.jsonl", ""), ("pictures.bin", "")):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    with pytest.raises(BadInput, match="format 9"):
        read_pack(path)
