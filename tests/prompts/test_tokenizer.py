"""ClipTokenizer: ids of 81 golden prompts under both rules, hostile texts, broken vocabularies."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.prompts.tokenizer import CONTEXT_LENGTH, ClipTokenizer, Padding, merge, read_vocabulary
from pinxit.prompts.words import BOS, EOS, Cleaning, alphabet, byte_symbols, clean, split_words
from pinxit.schema.errors import BadModelFile, Missing
from tests.reference import golden_json

GOLDEN = cast("dict[str, Any]", golden_json("goldens/text/tokenizer.json"))
CASES = cast("list[dict[str, Any]]", GOLDEN["cases"])
RULES: tuple[Cleaning, ...] = ("openai", "fast")


@pytest.fixture(scope="module")
def openai() -> ClipTokenizer:
    return ClipTokenizer.openai()


@pytest.fixture(scope="module")
def fast() -> ClipTokenizer:
    return ClipTokenizer.openai(cleaning="fast", padding="zero")


def tiny_files() -> tuple[str, str]:
    tokens = [*alphabet(byte_symbols()), "ca", "cat</w>", BOS, EOS]
    return json.dumps({token: number for number, token in enumerate(tokens)}), "#version: 0.2\nc a\nca t</w>\n"


def test_the_vocabulary_has_clips_facts(openai: ClipTokenizer) -> None:
    facts = GOLDEN["facts"]
    assert (openai.vocab_size, openai.bos, openai.eos) == (facts["vocab_size"], facts["bos"], facts["eos"])
    assert openai.context_length == CONTEXT_LENGTH == facts["context"]
    assert len(openai.vocabulary.ranks) == facts["merges_used"]


def test_every_golden_prompt_has_openais_ids(openai: ClipTokenizer) -> None:
    assert len(CASES) == 81
    for case in CASES:
        assert list(openai.encode(case["prompt"])) == case["ids"], case["prompt"]


def test_every_golden_prompt_has_the_fast_tokenizers_ids(fast: ClipTokenizer) -> None:
    for case in CASES:
        assert list(fast.encode(case["prompt"])) == case.get("hf_fast_ids", case["ids"]), case["prompt"]


@pytest.mark.parametrize(("padding", "row"), [("eos", "clip_l_77"), ("zero", "open_clip_77")])
def test_every_golden_row_is_padded_alike(openai: ClipTokenizer, padding: Padding, row: str) -> None:
    for case in CASES:
        padded = openai.pad(openai.encode(case["prompt"]), padding)
        assert list(padded) == case[row]
        assert padded[case["eos_position"]] == openai.eos


def test_padding_defaults_to_the_tokenizers_own(openai: ClipTokenizer, fast: ClipTokenizer) -> None:
    assert openai.pad((320,))[-1] == openai.eos
    assert fast.pad((320,))[-1] == 0


def test_decode_returns_the_cleaned_words(openai: ClipTokenizer) -> None:
    text = "a photo of 一只猫 , naïve 😀 !"
    assert openai.decode(openai.pad(openai.encode(text), "eos")) == text
    assert openai.decode((1 << 40,)) == ""


def test_the_long_s_is_a_suffix_only_where_the_pattern_ignores_case() -> None:
    assert list(split_words("x'ſt é", "openai")) == ["x", "'ſ", "t", "é"]
    assert list(split_words("x'ſt é", "fast")) == ["x", "'", "ſt", "é"]


def test_special_strings_follow_each_rule() -> None:
    text = f"!{EOS}é <|EndOfText|>"
    assert list(split_words(text, "fast")) == ["!", EOS, "é", "<|", "endoftext", "|>"]
    assert list(split_words(text, "openai")) == ["!<|", "endoftext", "|>", "é", EOS]


def test_final_sigma_is_kept_only_by_openais_rule() -> None:
    assert clean("ΟΔΟΣ", "openai") == "οδος"
    assert clean("ΟΔΟΣ", "fast") == "οδοσ"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("&#" + "9" * 5000 + ";", "\ufffd"),
        ("&#" + "0" * 5000 + "65;", "a"),
        ("&amp;#39;", "'"),
        ("a\ud800b", "a\ufffdb"),
        (" \t a \u3000\n b ", "a b"),
    ],
)
def test_openais_cleaning_survives(text: str, cleaned: str) -> None:
    assert clean(text, "openai") == cleaned


def test_numbers_and_spaces_are_unicodes() -> None:
    assert list(split_words("½Ⅻ①〇一\x1cé", "fast")) == ["½", "ⅻ", "①", "〇", "一", "\x1c", "é"]


def test_merge_equals_the_textbook_loop(openai: ClipTokenizer) -> None:
    def textbook(symbols: list[str]) -> list[str]:
        ranks = openai.vocabulary.ranks
        while len(symbols) > 1:
            best = min(pairwise(symbols), key=lambda pair: ranks.get(pair, sys.maxsize))
            if best not in ranks:
                break
            joined: list[str] = []
            for symbol in symbols:
                if joined and (joined[-1], symbol) == best:
                    joined[-1] += symbol
                else:
                    joined.append(symbol)
            symbols = joined
        return symbols

    @settings(max_examples=150)
    @given(st.text(alphabet="aeinorst!", min_size=1, max_size=30))
    def check(word: str) -> None:
        symbols = [*word[:-1], word[-1] + "</w>"]
        assert merge(list(symbols), openai.vocabulary.ranks) == textbook(symbols)

    check()


@settings(max_examples=150)
@given(st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=60), st.sampled_from(RULES))
def test_any_text_has_ids(text: str, rule: Cleaning) -> None:
    tokenizer = SHARED[rule]
    ids = tokenizer.encode(text)
    assert all(0 <= number < tokenizer.vocab_size for number in ids)
    assert len(tokenizer.pad(ids)) == CONTEXT_LENGTH


SHARED = {rule: ClipTokenizer.openai(cleaning=rule) for rule in RULES}

HOSTILE: dict[str, Callable[[int], str]] = {
    "one long word": lambda n: "ab" * n,
    "equal letters": lambda n: "a" * (2 * n),
    "punctuation": lambda n: "!?" * n,
    "emoji": lambda n: "😀🐱" * (n // 2),
    "falling marks": lambda n: "a" + "\u0301\u0316" * n,
    "mojibake": lambda n: "â€™" * (n // 2),
    "entities": lambda n: "&amp;" * (n // 2),
    "digits of an entity": lambda n: "&#" + "9" * (2 * n),
    "apostrophes": lambda n: "'s" * n,
    "half marks": lambda n: "<|" * n,
    "spaces": lambda n: " \t" * n,
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_is_read_at_once(kind: str, rule: Cleaning) -> None:
    """A rule that looks at every pair of letters would need minutes."""
    text = HOSTILE[kind](60_000)
    start = time.process_time()
    SHARED[rule].encode(text)
    assert time.process_time() - start < 10


def test_another_vocabulary_runs_in_the_same_class(tmp_path: Path) -> None:
    vocab, merges = tiny_files()
    (tmp_path / "vocab.json").write_text(vocab, encoding="utf-8")
    (tmp_path / "merges.txt").write_text(merges, encoding="utf-8")
    tokenizer = ClipTokenizer.from_folder(tmp_path, padding="zero")
    assert tokenizer.encode("CAT cab") == (513, 512, 321)
    assert tokenizer.decode((513, 512, 321)) == "cat cab"
    assert (tokenizer.bos, tokenizer.eos, tokenizer.vocab_size) == (514, 515, 516)
    assert tokenizer.pad((513,))[:4] == (514, 513, 515, 0)
    assert ClipTokenizer.from_text(vocab, merges).encode("cat") == (513,)


def test_a_symbol_that_the_vocabulary_lacks_becomes_the_end_mark() -> None:
    tokenizer = ClipTokenizer.from_text(json.dumps({"a</w>": 0, BOS: 1, EOS: 2}), "")
    assert tokenizer.encode("a b") == (0, 2)


def test_nothing_is_read_before_the_first_use(tmp_path: Path) -> None:
    tokenizer = ClipTokenizer.from_folder(tmp_path / "nowhere")
    with pytest.raises(Missing, match=r"vocab\.json cannot be read\. A tokenizer folder holds vocab\.json and merges"):
        tokenizer.encode("a")


@pytest.mark.parametrize(
    ("vocab", "merges", "message"),
    [
        ("{", "", "is not JSON"),
        ("[" * 100_000, "", "is not JSON"),
        ("[]", "", "must map tokens to ids"),
        ('{"a": -1}', "", "must map tokens to ids"),
        ('{"a": 1, "b": 1}', "", "each id once"),
        ('{"a": true}', "", "must map tokens to ids"),
        ('{"a": 1}', "", "has no '<|startoftext|>'"),
        (tiny_files()[0], "a b c", "Line 1 of the tokenizer's merges.txt has 3 parts, not 2"),
        (tiny_files()[0], "x y", "makes a token that its vocabulary lacks"),
    ],
)
def test_a_broken_vocabulary_says_what_is_wrong(vocab: str, merges: str, message: str) -> None:
    with pytest.raises(BadModelFile) as caught:
        read_vocabulary(vocab, merges)
    assert message in caught.value.message
    assert caught.value.hint


def test_a_vocabulary_that_is_not_text_is_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadModelFile, match="is not UTF-8 text"):
        ClipTokenizer.from_folder(tmp_path).encode("a")
