from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pinxit.schema.errors import BadInput, Missing, UnknownName
from pinxit.train.data.bank import Bank
from pinxit.train.data.build import build
from pinxit.train.data.journal import shrunk
from tests.train.data import fakes


def rows(bank: Bank, concept: str) -> dict[str, str]:
    return {drawing.style: drawing.split for drawing in bank.drawings if drawing.concept == concept}


def test_words_come_from_the_hand_checked_table_and_from_labels(bank: Bank) -> None:
    cat = next(drawing for drawing in bank.drawings if drawing.concept == fakes.CAT)
    lone = next(drawing for drawing in bank.drawings if drawing.concept == fakes.LONE)
    assert (cat.en[0], cat.zh[0], cat.measure) == ("cat", "猫", "只")
    assert (lone.en, lone.zh, lone.en_keywords) == (("lone beast",), ("独兽",), ("thing",))


def test_tones_blanks_abstracts_and_repeats_are_left_out(built: tuple[Bank, list[str]]) -> None:
    bank, said = built
    ids = {drawing.id for drawing in bank.drawings}
    assert "game-icons/iron-axe" in ids
    assert not ids & {"game-icons/abstract-001", "noto/blank", "noto/cat-face-dark-skin-tone"}
    assert not ids & {"noto/toned", "noto/kitty-face-2"}
    assert f"fluent-3d/{fakes.CAT.lower()}-1f3fb" not in ids
    assert any(line.startswith("fluent-3d: 3 kept") for line in said)


def test_a_drawn_cell_is_held_out_unless_training_has_its_twin(bank: Bank) -> None:
    assert rows(bank, fakes.LONE) == {"3d": "train", "flat": "train", "noto": "held_out", "twemoji": "train"}
    assert set(rows(bank, fakes.TWIN).values()) == {"train"}
    twins = {drawing.twin for drawing in bank.drawings if drawing.concept == fakes.TWIN and drawing.style != "3d"}
    assert len(twins) == 1


def test_a_partial_bank_holds_out_what_the_whole_one_does(tmp_path: Path) -> None:
    options = replace(fakes.options(tmp_path), sources=("noto",), sizes=(32,))
    assert rows(build(options, lambda _: None), fakes.LONE) == {"noto": "held_out"}


def test_a_bank_that_continues_an_earlier_one_holds_out_nothing_that_was_trained_on(tmp_path: Path, bank: Bank) -> None:
    options = replace(fakes.options(tmp_path), sources=("noto",), sizes=(32,))
    lines = (bank.folder / "index.jsonl").read_text().replace('"held_out"', '"train"')
    earlier = tmp_path / "earlier"
    shutil.copytree(bank.folder, earlier)
    (earlier / "index.jsonl").write_text(lines)
    assert rows(build(replace(options, continues=earlier), lambda _: None), fakes.LONE) == {"noto": "train"}


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    options = fakes.options(tmp_path)
    with pytest.raises(Missing, match="None of the sources gave a single drawing"):
        build(replace(options, limit=0), lambda _: None)


def test_pixels_are_premultiplied_padded_and_averaged(bank: Bank) -> None:
    large, small = bank.pixels(64), bank.pixels(32)
    assert (large[..., :3] <= large[..., 3:]).all()
    seen = np.flatnonzero(large[0, ..., 3].any(1))
    assert (seen[0], 63 - seen[-1]) == (2, 3)
    assert np.array_equal(small[3], shrunk(np.asarray(large[3]), 2))


def test_flags_are_square_and_rare_and_silhouettes_white(bank: Bank) -> None:
    flag = next(drawing for drawing in bank.drawings if drawing.concept == fakes.FLAG)
    axe = next(row for row, drawing in enumerate(bank.drawings) if drawing.id == "game-icons/iron-axe")
    assert flag.square
    assert flag.weight == pytest.approx(0.1 * 2.0)
    assert bank.drawings[axe].monochrome
    assert bank.drawings[axe].en == ("iron axe",)
    assert np.array_equal(bank.pixels(64)[axe, ..., 0], bank.pixels(64)[axe, ..., 3])


def test_papers_name_packages_hashes_and_authors(bank: Bank) -> None:
    sources = json.loads((bank.folder / "sources.json").read_text())
    assert {entry["source"] for entry in sources} == {
        "labels", "fluent-3d", "fluent-flat", "noto", "twemoji", "game-icons"
    }  # fmt: skip
    assert all(len(entry["sha256"]) == 64 for entry in sources)
    said = (bank.folder / "attribution.md").read_text()
    assert "Apache-2.0" in said
    assert "info.json: Fakes, author A. Fake, licence MIT" in said


def test_keep_going_leaves_out_a_changed_source(tmp_path: Path) -> None:
    options = fakes.options(tmp_path)
    table = (replace(options.table[0], sha256="0" * 64), *options.table[1:])
    said: list[str] = []
    bank = build(replace(options, table=table, keep_going=True, limit=2, sizes=(32,)), said.append)
    assert "fluent-3d" not in {drawing.source for drawing in bank.drawings}
    assert any("left out fluent-3d" in line and "has changed" in line for line in said)
    with pytest.raises(BadInput, match="has changed: sha256"):
        build(replace(options, table=table, folder=tmp_path / "other"), said.append)
    assert not (tmp_path / "other").exists()


def test_bad_options_are_refused(tmp_path: Path) -> None:
    options = fakes.options(tmp_path)
    with pytest.raises(BadInput, match="Size 48 does not divide 64"):
        build(replace(options, sizes=(64, 48)), print)
    with pytest.raises(BadInput, match="at least one size"):
        build(replace(options, sizes=()), print)
    with pytest.raises(UnknownName, match="no drawing source named 'notto'"):
        build(replace(options, sources=("notto",)), print)
    options.folder.mkdir()
    with pytest.raises(BadInput, match="already exists"):
        build(options, print)


def test_opening_a_bank_that_is_not_one(bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(Missing, match="no bank of drawings"):
        Bank.open(tmp_path)
    (tmp_path / "bank.json").write_text('{"format": 99, "sizes": []}')
    with pytest.raises(BadInput, match="format 99"):
        Bank.open(tmp_path)
    (tmp_path / "bank.json").write_text('{"format": 1, "sizes": [32]}')
    (tmp_path / "index.jsonl").write_text("")
    np.save(tmp_path / "pixels_32.npy", np.zeros((3, 32, 32, 4), np.uint8))
    with pytest.raises(BadInput, match="does not fit the index's 0 drawings"):
        Bank.open(tmp_path)
    with pytest.raises(Missing, match="holds sizes 64, 32, not 128"):
        bank.pixels(128)


def test_rows_can_be_narrowed(bank: Bank) -> None:
    chosen = bank.rows(concepts=(fakes.CAT, fakes.APPLE), styles=("flat",), split="train")
    assert {bank.drawings[row].concept for row in chosen} <= {fakes.CAT, fakes.APPLE}
    assert {bank.drawings[row].style for row in chosen} == {"flat"}
    assert set(bank.concepts[fakes.CAT]) == set(bank.rows(concepts=(fakes.CAT,)))
