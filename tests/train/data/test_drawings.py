from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pinxit.schema.errors import BadInput, Missing, UnknownName
from pinxit.train.data.bank import Bank
from pinxit.train.data.drawings import read_package
from pinxit.train.data.names import Labels, read_labels
from pinxit.train.data.sheet import contact_sheet, write_sheets
from pinxit.train.data.sources import STYLES, source_named, style_named
from tests.train.data import fakes

RDF = (
    '<metadata><rdf:RDF xmlns:rdf="r" xmlns:cc="c" xmlns:dc="http://purl.org/dc/elements/1.1/"><cc:Work>'
    "<dc:title>{title}</dc:title><dc:creator><cc:Agent><dc:title>Ada Artist</dc:title></cc:Agent></dc:creator>"
    "<dc:subject><rdf:Bag><rdf:li>thing</rdf:li><rdf:li>nonsense</rdf:li></rdf:Bag></dc:subject>"
    '<cc:license rdf:resource="{licence}"/></cc:Work></rdf:RDF></metadata>'
)
FREE = "web.resource.org/cc/PublicDomain"


def clip(title: str, licence: str = FREE, body: str = "") -> str:
    return (
        f'<svg width="64" height="64">{RDF.format(title=title, licence=licence)}{body or fakes.star(5, "#c22")}</svg>'
    )


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Labels:
    return read_labels(fakes.pack(tmp_path_factory.mktemp("labels") / "p", fakes.label_files()))


def test_clip_art_is_kept_when_its_words_name_a_thing(tmp_path: Path, labels: Labels) -> None:
    drawings = {
        "food/fruit/x1.svg": clip("A Red Apple"),
        "food/fruit/apple_ada_artist_01.svg": clip("R16 sibmission"),
        "food/fruit/x2.svg": clip("Various Cliparts"),
        "food/fruit/x6.svg": clip("Various Cliparts").replace("nonsense", "grapes"),
        "food/fruit/x3.svg": clip("grapes", licence="example/by-nc"),
        "shapes/stars/x4.svg": clip("star"),
        "transportation/aiga-symbols/star.svg": clip("star"),
        "animals/x5.svg": clip("star", body=fakes.star(5, "#c22") + "<unclosed>"),
    }
    source = source_named("openclipart")
    package = read_package(source, fakes.debian_package(tmp_path / "p", drawings), labels)
    found = {candidate.id: candidate for candidate in package.candidates}
    assert {key.removeprefix("openclipart/") for key in found} == {
        "food/fruit/x1", "food/fruit/apple_ada_artist_01", "animals/x5", "food/fruit/x6"
    }  # fmt: skip
    assert found["openclipart/food/fruit/x6"].words.en == ("grapes",)
    apple = found["openclipart/food/fruit/x1"]
    assert apple.words.en == ("red apple",)
    assert apple.words.zh == ("苹果", "红苹果")
    assert apple.words.en_keywords == ("thing",)
    assert apple.author == "Ada Artist"
    assert apple.concept == "openclipart:red-apple"
    assert b"metadata" not in apple.data
    assert b'viewBox="0 0 64 64"' in apple.data
    assert b'xmlns="http://www.w3.org/2000/svg"' in apple.data
    assert "Public Domain" in package.attribution


def test_what_is_no_debian_package_is_refused(tmp_path: Path, labels: Labels) -> None:
    path = tmp_path / "x.deb"
    path.write_bytes(b"zip")
    with pytest.raises(BadInput, match=r"x\.deb is not a Debian package"):
        read_package(source_named("openclipart"), path, labels)
    path.write_bytes(b"!<arch>\n")
    with pytest.raises(BadInput, match=r"holds no data\.tar\.xz"):
        read_package(source_named("openclipart"), path, labels)


def test_an_unexpected_layout_is_said(tmp_path: Path, labels: Labels) -> None:
    path = fakes.pack(tmp_path / "p", {"icons.json": b"{}"})
    with pytest.raises(BadInput, match=r"@iconify-json/noto 1\.2\.9 is not laid out as expected"):
        read_package(source_named("noto"), path, labels)


def test_squashed_names_are_split_into_words(tmp_path: Path, labels: Labels) -> None:
    icons = {"redgrapes": fakes.star(5, "#222"), "leftapple": fakes.star(4, "#222"), "qqq": fakes.star(4, "#222")}
    package = read_package(source_named("fxemoji"), fakes.pack(tmp_path / "p", fakes.iconify_files(icons)), labels)
    assert [(candidate.concept, candidate.words.en) for candidate in package.candidates] == [
        ("word:red-grapes", ("red grapes",))
    ]


def test_misspelt_names_mean_what_they_mean(tmp_path: Path, labels: Labels) -> None:
    known = replace(labels, by_slug={**labels.by_slug, "hamster": fakes.CAT})
    icons = fakes.iconify_files({"hampster": fakes.star(5, "#222")})
    package = read_package(source_named("fxemoji"), fakes.pack(tmp_path / "p", icons), known)
    assert [candidate.concept for candidate in package.candidates] == [fakes.CAT]


def test_icons_are_named_by_their_files_once(tmp_path: Path, labels: Labels) -> None:
    names = ("rain-day", "add-circle-16", "add-circle-48", "rain-day-fill", "abstract-004", "x")
    files = fakes.iconify_files({name: f'<path fill="currentColor" d="M0 0h9v9z" id="{name}"/>' for name in names})
    source = source_named("game-icons")
    package = read_package(source, fakes.pack(tmp_path / "p", files), labels)
    assert [candidate.words.en[0] for candidate in package.candidates] == ["rain day", "add circle"]
    assert package.candidates[0].id == "game-icons/rain-day-fill"
    assert b'fill="#fff"' in package.candidates[0].data
    plain = read_package(replace(source, tintable=False), tmp_path / "p" / "package.tgz", labels)
    assert b'fill="#333"' in plain.candidates[0].data


def test_a_contact_sheet_shows_a_source(bank: Bank) -> None:
    sheet = contact_sheet(bank, "noto", count=6, columns=3, cell=40)
    assert sheet.width == 120
    assert sheet.height >= 2 * 40
    assert len(sheet.getcolors(100_000) or ()) > 5
    with pytest.raises(BadInput, match="holds no drawings of 'nothing'"):
        contact_sheet(bank, "nothing")


def test_sheets_of_every_source_and_their_page(bank: Bank, tmp_path: Path) -> None:
    written = write_sheets(bank, tmp_path / "sheets", limit=4000)
    assert {path.stem for path in written} == {drawing.source for drawing in bank.drawings}
    assert all(path.stat().st_size <= 4000 for path in written)
    page = (tmp_path / "sheets" / "README.md").read_text()
    assert "## game-icons" in page
    assert "CC-BY-3.0" in page
    assert "![noto](noto.webp)" in page


def test_styles_are_named_in_both_languages() -> None:
    assert all(style.en and style.zh for style in STYLES)
    assert style_named("noto").family == "noto"
    with pytest.raises(UnknownName, match="no drawing style named 'notto'"):
        style_named("notto")


def test_a_missing_parser_is_named(tmp_path: Path, labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pinxit.train.data.openclipart", None)
    with pytest.raises(Missing, match=r"needs lxml, which is not installed\. .*pinxit\[data\]"):
        read_package(source_named("openclipart"), tmp_path / "x.deb", labels)


def test_trade_marks_are_left_out(tmp_path: Path, labels: Labels) -> None:
    icons = {name: fakes.star(5, "#c22") for name in ("google", "reddit", "search", "steam")}
    for name, expected in (("flat-color-icons", {"search"}), ("game-icons", set(icons))):
        package = read_package(source_named(name), fakes.pack(tmp_path / name, fakes.iconify_files(icons)), labels)
        assert {candidate.id.partition("/")[2] for candidate in package.candidates} == expected
