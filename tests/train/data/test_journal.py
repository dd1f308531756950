from __future__ import annotations

import errno
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pinxit.schema.errors import OutOfSpace
from pinxit.train.data import build as build_module
from pinxit.train.data import journal as module
from pinxit.train.data.bank import Bank
from pinxit.train.data.build import build
from pinxit.train.data.journal import Journal
from pinxit.train.data.raster import Raster, Rasteriser, Refused
from tests.train.data import fakes

PLAN = ["set", "a", "b", "c"]


def square(level: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((16, 16, 4), level, np.uint8)


def begun(folder: Path) -> None:
    with Journal(folder, (16, 8), PLAN) as journal:
        journal.note("set", {})
        journal.note("a", {"fill": 1}, square(10))
        journal.note("b", {"refused": "blank"})
        journal.note("c", {"fill": 3}, square(30))


def test_what_was_noted_is_read_back_and_gone_on_from(tmp_path: Path) -> None:
    begun(tmp_path)
    with Journal(tmp_path, (16, 8), [*PLAN, "d"]) as journal:
        assert [line["key"] for line in journal.lines] == PLAN
        assert journal.count == 2
        journal.note("d", {}, square(40))
        journal.finish()
    assert np.load(tmp_path / "pixels_16.npy")[:, 0, 0, 0].tolist() == [10, 30, 40]
    assert np.load(tmp_path / "pixels_8.npy").shape == (3, 8, 8, 4)


def test_what_differs_from_the_plan_is_done_again(tmp_path: Path) -> None:
    begun(tmp_path)
    with Journal(tmp_path, (16, 8), ["set", "a", "x", "c"]) as journal:
        assert [line["key"] for line in journal.lines] == ["set", "a"]
        journal.note("x", {}, square(50))
        journal.finish()
    assert np.load(tmp_path / "pixels_16.npy")[:, 0, 0, 0].tolist() == [10, 50]


def test_half_a_line_and_half_a_drawing_are_cut_off(tmp_path: Path) -> None:
    begun(tmp_path)
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(b'{"key": "d", "ke')
    pixels = tmp_path / "pixels_8.npy"
    pixels.write_bytes(pixels.read_bytes()[:-1])
    with Journal(tmp_path, (16, 8), [*PLAN, "d"]) as journal:
        assert [line["key"] for line in journal.lines] == ["set", "a", "b"]
    assert (tmp_path / "pixels_16.npy").stat().st_size == 128 + 16 * 16 * 4


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(tmp_path)
    real = module.write_all

    def full(file: object, data: bytes) -> None:
        if len(data) == 8 * 8 * 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file, data)  # pyright: ignore[reportArgumentType] - a stand-in's loose signature

    monkeypatch.setattr(module, "write_all", full)
    with (
        Journal(tmp_path, (16, 8), [*PLAN, "d"]) as journal,
        pytest.raises(OutOfSpace, match="holds 2 drawings") as caught,
    ):
        journal.note("d", {}, square(40))
    assert "goes on from there" in caught.value.hint
    monkeypatch.setattr(module, "write_all", real)
    with Journal(tmp_path, (16, 8), [*PLAN, "d"]) as journal:
        assert [line["key"] for line in journal.lines] == PLAN


class Stopped(Exception):
    """The build is cut off here."""


def test_a_build_that_was_cut_off_goes_on_and_ends_the_same(
    tmp_path: Path, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = fakes.options(tmp_path)
    rendered: list[bytes] = []
    real = Rasteriser.render

    def render(self: Rasteriser, kind: str, payload: bytes) -> Raster | Refused:
        if len(rendered) == 9:
            raise Stopped
        rendered.append(payload)
        return real(self, kind, payload)  # pyright: ignore[reportArgumentType] - the literal's type is plain here

    monkeypatch.setattr(Rasteriser, "render", render)
    with pytest.raises(Stopped):
        build(options, lambda _: None)
    before = list(rendered)
    rendered.clear()
    monkeypatch.setattr(
        Rasteriser, "render", lambda self, kind, payload: rendered.append(payload) or real(self, kind, payload)
    )
    said: list[str] = []
    again = build(options, said.append)
    assert "going on after 9 drawings that were rendered before" in said
    assert not set(before) & set(rendered)
    assert again.drawings == bank.drawings
    assert np.array_equal(again.pixels(64), bank.pixels(64))
    assert not (tmp_path / "bank.partial").exists()
    assert not (again.folder / "journal.jsonl").exists()


def test_a_build_that_is_killed_goes_on_and_ends_the_same(tmp_path: Path, bank: Bank) -> None:
    options = fakes.options(tmp_path)
    (tmp_path / "options").write_bytes(pickle.dumps(options))
    code = (
        "import pickle, sys, time; from pinxit.train.data import build, raster; real = raster.Rasteriser.render\n"
        "left = iter(range(9))\n"
        "def render(*given): time.sleep(0 if next(left, None) is not None else 600); return real(*given)\n"
        "raster.Rasteriser.render = render\n"
        "build.build(pickle.load(open(sys.argv[1], 'rb')), lambda _: None)"
    )
    journal = tmp_path / "bank.partial" / "journal.jsonl"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "options")])
    try:
        for _ in range(1200):
            if journal.is_file() and journal.read_bytes().count(b"\n") >= 9:
                break
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    said: list[str] = []
    again = build(options, said.append)
    assert any(line.startswith("going on after") for line in said)
    assert again.drawings == bank.drawings
    assert np.array_equal(again.pixels(64), bank.pixels(64))


def test_a_build_that_dies_while_it_sorts_its_drawings_renders_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(fakes.options(tmp_path), sources=("noto",), sizes=(32,))
    monkeypatch.setattr(build_module, "write_papers", lambda *_: (_ for _ in ()).throw(Stopped))
    with pytest.raises(Stopped):
        build(options, lambda _: None)
    monkeypatch.undo()
    monkeypatch.setattr(Rasteriser, "render", lambda *_: pytest.fail("rendered again"))
    assert len(build(options, lambda _: None)) > 3


def test_another_size_begins_afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = replace(fakes.options(tmp_path), sources=("noto",))
    monkeypatch.setattr(Journal, "finish", lambda _: (_ for _ in ()).throw(Stopped))
    with pytest.raises(Stopped):
        build(options, lambda _: None)
    monkeypatch.undo()
    said: list[str] = []
    assert build(replace(options, sizes=(32,)), said.append).sizes == (32,)
    assert not any(line.startswith("going on") for line in said)
