from __future__ import annotations

import json
from pathlib import Path

import pytest

from pinxit.studio.inspect.known import FILES
from pinxit.studio.inspect.licences import card_licence, find_licence, terms_of

SDXL_09 = next(digest for digest, known in FILES.items() if "0.9 base" in known.title)
SDXL_10 = next(digest for digest, known in FILES.items() if known.title == "SDXL 1.0 base")
SD3 = next(digest for digest, known in FILES.items() if known.title == "Stable Diffusion 3 medium")


@pytest.mark.parametrize(
    ("text", "commercial", "condition"),
    [
        ("openrail", "yes", "use"),
        ("creativeml-openrail-m", "yes", "use"),
        ("CreativeML Open RAIL++-M License", "yes", "use"),
        ("openrail++", "yes", "use"),
        ("bigscience-bloom-rail-1.0", "yes", "use"),
        ("SDXL 0.9 Research License", "no", ""),
        ("sdxl-0.9-research", "no", ""),
        ("stabilityai-ai-community", "yes", "revenue"),
        ("STABILITY AI COMMUNITY LICENSE AGREEMENT", "yes", "revenue"),
        ("sai-nc-community", "no", ""),
        ("stable-video-diffusion-nc-community", "no", ""),
        ("stable-video-diffusion-1-1-community", "no", ""),
        ("Stability AI Non-Commercial Research Community License", "no", ""),
        ("stabilityai-nc-research-community", "no", ""),
        ("flux-1-dev-non-commercial-license", "no", ""),
        ("cc-by-nc-4.0", "no", ""),
        ("CC BY-NC-SA 4.0", "no", ""),
        ("cc-by-nc-nd-4.0", "no", ""),
        ("Attribution-NonCommercial 4.0 International", "no", ""),
        ("cc-by-sa-4.0", "yes", "share-alike"),
        ("cc-by-nd-4.0", "yes", "no-derivatives"),
        ("cc-by-4.0", "yes", "attribution"),
        ("cc0-1.0", "yes", ""),
        ("apache-2.0", "yes", "attribution"),
        ("mit", "yes", "attribution"),
        ("MIT License", "yes", "attribution"),
        ("bsd-3-clause", "yes", "attribution"),
        ("agpl-3.0", "yes", "copyleft"),
        ("unlicense", "yes", ""),
    ],
)
def test_licences_are_known(text: str, commercial: str, condition: str) -> None:
    terms = terms_of(text)
    assert terms is not None
    assert (terms.commercial, terms.condition) == (commercial, condition)


@pytest.mark.parametrize("text", ["other", "", "my own terms", "permitted uses", "unknown", "deepfloyd-if-license"])
def test_other_licences_are_not_guessed(text: str) -> None:
    assert terms_of(text) is None


def test_every_known_file_comes_under_a_known_licence() -> None:
    assert all(terms_of(known.licence) is not None for known in FILES.values())
    assert all(len(digest) == 64 and digest == digest.lower() and int(digest, 16) for digest in FILES)


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: openrail++\ntags:\n- x\n---\n# Card", "openrail++"),
        ("---\ntags: [a, b]\nlicense:\n- cc-by-nc-4.0\n- mit\n---", "cc-by-nc-4.0"),
        ('---\nlicense: "mit"  # really\n---', "mit"),
        ("---\nlicense: other\nlicense_name: sai-nc-community\nlicense_link: LICENSE\n---", "sai-nc-community"),
        ("\ufeff---\r\nlicence: cc0-1.0\r\n---\r\n", "cc0-1.0"),
        ("---\nlicense: [apache-2.0, mit]\n---", "apache-2.0"),
        ("---\nlicense: other\n---", "other"),
        ("---\ntags:\n- mit\n---", None),
        ("# Card\nlicense: mit", None),
        ("---\nother: x\n---\nlicense: mit", None),
        ("", None),
    ],
)
def test_cards_are_read(card: str, licence: str | None) -> None:
    assert card_licence(card) == licence


def test_the_card_beside_a_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    (tmp_path / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    found = find_licence(path, {}, ())
    assert (found.name, found.commercial) == ("cc-by-nc-4.0", "no")
    assert found.evidence == ("README.md beside it says cc-by-nc-4.0",)


def test_the_card_of_the_model_counts_for_its_parts(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "README.md").write_text("---\nlicense: openrail++\n---\n")
    part = tmp_path / "unet"
    part.mkdir()
    assert find_licence(part, {}, ()).name == "openrail++"
    assert find_licence(part / "model.safetensors", {}, ()).name == "openrail++"
    (tmp_path / "model_index.json").unlink()
    assert find_licence(part, {}, ()).name is None


def test_the_text_of_a_licence_counts_by_its_title(tmp_path: Path) -> None:
    text = "STABILITY AI COMMUNITY LICENSE AGREEMENT\n" + "x " * 200 + "for non-commercial use"
    (tmp_path / "LICENSE.md").write_text(text)
    found = find_licence(tmp_path / "sd3.safetensors", {}, ())
    assert (found.name, found.commercial) == ("Stability AI community licence", "yes")
    assert found.condition is not None
    assert "1,000,000 US dollars" in found.condition.text()
    assert found.evidence == ("LICENSE.md beside it is the Stability AI community licence",)


def test_the_metadata_of_a_file_comes_first(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    found = find_licence(tmp_path / "x.safetensors", {"modelspec.license": "CreativeML Open RAIL++-M License"}, ())
    assert (found.name, found.commercial) == ("CreativeML Open RAIL++-M License", "yes")
    assert found.condition is not None
    assert found.condition.key == "commercial.use"
    assert found.evidence[0] == "the file's modelspec.license says CreativeML Open RAIL++-M License"


def test_one_no_outweighs_any_yes(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    found = find_licence(tmp_path / "x.safetensors", {}, [SDXL_09])
    assert (found.name, found.commercial, found.condition) == ("mit", "no", None)
    assert "its SHA-256 is that of SDXL 0.9 base (sd_xl_base_0.9.safetensors)" in found.evidence[1]


def test_published_files_are_known_by_their_hash(tmp_path: Path) -> None:
    found = find_licence(tmp_path / "x.safetensors", {}, [SD3.upper()])
    assert (found.name, found.commercial) == ("stabilityai-ai-community", "yes")
    assert find_licence(tmp_path / "x.safetensors", {}, ["0" * 64]).evidence == ()


def test_what_a_file_was_made_from_can_only_forbid(tmp_path: Path) -> None:
    trained = find_licence(tmp_path / "x.safetensors", {"ss_new_sd_model_hash": SDXL_09}, ())
    assert (trained.name, trained.commercial) == (None, "no")
    assert trained.evidence == ("it was trained on SDXL 0.9 base, whose page says sdxl-0.9-research",)
    allowed = find_licence(tmp_path / "x.safetensors", {"ss_new_sd_model_hash": SDXL_10}, ())
    assert (allowed.name, allowed.commercial) == (None, "unknown")
    merged = {"sd_merge_models": json.dumps({SDXL_10: {"name": "a"}, SDXL_09: {"name": "b"}})}
    assert find_licence(tmp_path / "x.safetensors", merged, ()).commercial == "no"


def test_a_licence_that_is_not_known_is_told_and_not_judged(tmp_path: Path) -> None:
    found = find_licence(tmp_path / "x.safetensors", {"modelspec.license": "ask\x1b[31m me\n" * 100}, ())
    assert found.commercial == "unknown"
    assert found.name is not None
    assert found.name.startswith("ask [31m me ask")
    assert len(found.name) < 160


def test_a_card_that_cannot_be_read_is_no_card(tmp_path: Path) -> None:
    (tmp_path / "README.md").mkdir()
    (tmp_path / "LICENSE").write_bytes(b"\xff\xfe" * 1000)
    assert find_licence(tmp_path / "x.safetensors", {}, ()).name is None
