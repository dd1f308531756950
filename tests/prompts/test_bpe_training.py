"""train_bpe: the layout of its files, agreement with a textbook trainer, Chinese, speed."""

from __future__ import annotations

import random
import time
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.prompts.bpe_training import count_words, train_bpe, vocabulary_files
from pinxit.prompts.tokenizer import ClipTokenizer, merge
from pinxit.prompts.words import BOS, EOS, alphabet, byte_symbols
from pinxit.schema.errors import BadInput

CAPTIONS = ["a red cat on a red mat", "a cat, a hat", "一只红色的猫", "一只白色的猫和一只狗"] * 3


def textbook(words: Counter[str], room: int) -> list[tuple[str, str]]:
    """Sennrich et al. 2016, algorithm 1, counting everything anew for each merge."""
    symbols = byte_symbols()
    order = {token: number for number, token in enumerate(alphabet(symbols))}
    corpus = [([*(symbols[code] for code in word.encode())], times) for word, times in words.items()]
    for spelled, _ in corpus:
        spelled[-1] += "</w>"
    merges: list[tuple[str, str]] = []
    barred: set[tuple[str, str]] = set()
    while len(merges) < room:
        counts: Counter[tuple[str, str]] = Counter()
        for spelled, times in corpus:
            for pair in pairwise(spelled):
                counts[pair] += times
        open_pairs = [pair for pair, times in counts.items() if times > 1 and pair not in barred]
        if not open_pairs:
            break
        best = min(open_pairs, key=lambda pair: (-counts[pair], order[pair[0]], order[pair[1]]))
        if "".join(best) in order:
            barred.add(best)
            continue
        order["".join(best)] = len(order)
        merges.append(best)
        corpus = [(merge(spelled, {best: 0}), times) for spelled, times in corpus]
    return merges


def test_the_layout_is_clips() -> None:
    vocab, merges = train_bpe(CAPTIONS, 530)
    tokens = list(vocab)
    assert list(vocab.values()) == list(range(530))
    assert tokens[:512] == list(alphabet(byte_symbols()))
    assert tokens[512:-2] == [left + right for left, right in merges]
    assert tokens[-2:] == [BOS, EOS]


def test_its_files_run_in_the_tokenizer() -> None:
    vocab, merges = train_bpe(CAPTIONS, 600)
    files = vocabulary_files(vocab, merges)
    assert files[1].startswith("#version: 0.2\n")
    tokenizer = ClipTokenizer.from_text(*files)
    assert tokenizer.vocab_size == len(vocab)
    for caption in CAPTIONS:
        assert tokenizer.decode(tokenizer.encode(caption)) == caption.replace(",", " ,")
    assert len(tokenizer.encode("a red cat")) == 3
    assert len(tokenizer.encode("一只红色的猫")) < 6


def test_the_order_of_texts_does_not_matter() -> None:
    assert train_bpe(CAPTIONS, 560) == train_bpe(reversed(CAPTIONS), 560)


def test_pairs_that_stand_once_are_left_alone() -> None:
    vocab, merges = train_bpe(["xyz"], 8192)
    assert merges == []
    assert len(vocab) == 514


def test_marks_in_a_caption_are_not_learned() -> None:
    assert count_words([f"a {BOS} b {EOS}"], "fast") == Counter({"a": 1, "b": 1})


def test_a_size_below_the_alphabet_is_refused() -> None:
    with pytest.raises(BadInput, match=r"513 entries is too small: bytes and marks alone take 514\. Ask for") as caught:
        train_bpe(CAPTIONS, 513)
    assert caught.value.field == "size"


@settings(max_examples=60)
@given(st.lists(st.text(alphabet="abc猫 '1\ud800", max_size=14), max_size=12))
def test_merges_equal_the_textbooks(texts: list[str]) -> None:
    assert train_bpe(texts, 514 + 25)[1] == textbook(count_words(texts, "fast"), 25)


def test_ten_thousand_captions_take_seconds() -> None:
    draw = random.Random(5)
    nouns = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 9))) for _ in range(3000)]
    chinese = ["".join(chr(draw.randint(0x4E00, 0x5200)) for _ in range(draw.randint(1, 3))) for _ in range(1500)]
    captions = [
        " ".join(draw.choices(nouns, k=8)) if number % 2 else "".join(draw.choices(chinese, k=5))
        for number in range(10_000)
    ]
    start = time.process_time()
    _, merges = train_bpe(captions, 4096)
    assert len(merges) == 4096 - 514
    assert time.process_time() - start < 10
