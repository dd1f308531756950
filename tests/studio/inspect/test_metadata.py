from __future__ import annotations

import json

import pytest

from pinxit.studio.inspect.metadata import (
    KEY_LENGTH,
    MOST_ENTRIES,
    VALUE_LENGTH,
    base_sha256,
    cleaned,
    merged_models,
    shown_metadata,
    training_facts,
)

DEEP = '{"a":' * 5000 + "1" + "}" * 5000


def test_foreign_text_cannot_drive_a_terminal() -> None:
    assert cleaned("a\x1b[31mb\r\nc\u202ed\ud800e\u200bf") == "a [31mb c d e f"
    assert cleaned("x" * 600) == "x" * VALUE_LENGTH + "… (600 characters)"
    assert cleaned("") == ""


def test_a_great_deal_of_metadata_is_cut() -> None:
    shown = shown_metadata({f"{number} " + "k" * 1000: "v" * 100_000 for number in range(1000)})
    assert len(shown) == MOST_ENTRIES
    assert all(len(key) <= KEY_LENGTH + 30 for key in shown)
    assert sum(map(len, shown.values())) < MOST_ENTRIES * (VALUE_LENGTH + 40)


def test_training_is_told() -> None:
    facts = training_facts(
        {
            "ss_network_dim": "16",
            "ss_network_alpha": "8",
            "ss_base_model_version": "sdxl_base_v1-0",
            "ss_training_comment": "None",
            "ss_tag_frequency": json.dumps({"10_cat": {"cat": 20, " sitting": 7}, "5_dog": {"dog": 9, "cat": 1}}),
            "modelspec.title": "My\x07cat",
            "unrelated": "x",
        }
    )
    assert facts == {
        "rank": "16",
        "alpha": "8",
        "base": "sdxl_base_v1-0",
        "title": "My cat",
        "tags": "cat, dog, sitting",
    }


def test_merges_are_told() -> None:
    metadata = {
        "sd_merge_recipe": json.dumps({"type": "webui", "interp_method": "Weighted sum", "multiplier": 0.3}),
        "sd_merge_models": json.dumps({"AB" * 32: {"name": "one", "legacy_hash": "x"}, "cd" * 32: {"name": None}}),
    }
    assert merged_models(metadata) == {"ab" * 32: "one", "cd" * 32: "cd" * 32}
    facts = training_facts(metadata)
    assert facts["merged_from"] == f"one, {'cd' * 32}"
    assert (facts["merge_method"], facts["merge_multiplier"]) == ("Weighted sum", "0.3")


def test_the_base_model_is_known_by_its_hash() -> None:
    assert base_sha256({"ss_new_sd_model_hash": "AB" * 32}) == "ab" * 32
    assert base_sha256({"ss_new_sd_model_hash": "0x" + "ab" * 32}) == "ab" * 32
    assert base_sha256({"ss_new_sd_model_hash": "abc"}) is None


@pytest.mark.parametrize(
    "bomb",
    [
        DEEP,
        "[" * 100_000,
        '{"a": ' + "9" * 5000 + "}",
        '{"a": {"b": NaN}}',
        '{"a": {"b": -1, "": 3, "c": true, "d": [1]}}',
        "{" + '"x":1,' * 400_000,
        "not JSON",
        "{}",
        "null",
    ],
    ids=range(9),
)
def test_bombs_in_metadata_hurt_nobody(bomb: str) -> None:
    metadata = {"ss_tag_frequency": bomb, "sd_merge_models": bomb, "sd_merge_recipe": bomb}
    assert "tags" not in training_facts(metadata)
    assert all(len(name) <= 100 for name in merged_models(metadata).values())
