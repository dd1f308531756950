from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from pinxit.prompts import t5
from pinxit.prompts.attention import Span
from pinxit.prompts.chunks import Chunking, cut
from pinxit.prompts.t5 import T5Tokenizer, has_tokenizer, read_pieces
from pinxit.schema.errors import BadModelFile, Missing

PIECES: tuple[tuple[str, float, int], ...] = (
    ("<pad>", 0.0, 3),
    ("</s>", 0.0, 3),
    ("<unk>", 0.0, 2),
    ("▁a", -1.0, 1),
    ("▁cat", -2.0, 1),
    ("▁", -3.0, 1),
    ("c", -4.0, 1),
    ("at", -4.5, 1),
    ("s", -4.0, 1),
)


def varint(number: int) -> bytes:
    head = b""
    while number > 127:
        head += bytes((number & 127 | 128,))
        number >>= 7
    return head + bytes((number,))


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def spiece(pieces: Sequence[tuple[str, float, int]] = PIECES, *, rest: bytes = b"") -> bytes:
    """A SentencePiece model of these pieces: (text, score, kind) each."""
    content = b""
    for text, score, kind in pieces:
        message = field(1, text.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score)
        content += field(1, message + varint(3 << 3) + varint(kind))
    return content + field(2, varint(3 << 3) + varint(32000) + varint(9 << 3 | 1) + struct.pack("<d", 0.5)) + rest


def json_text() -> str:
    """The same tokenizer as the library itself writes it."""
    found = Tokenizer(models.Unigram([(text, score) for text, score, _ in PIECES], unk_id=2))
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    found.enable_truncation(3)
    return found.to_str()


def from_pieces(folder: Path, content: bytes | None = None, *, vocab_size: int = 32128) -> T5Tokenizer:
    (folder / "spiece.model").write_bytes(spiece() if content is None else content)
    return T5Tokenizer.from_folder(folder, vocab_size=vocab_size)


def test_both_files_give_the_same_numbers(tmp_path: Path) -> None:
    texts = ("a cat", "  A  cats, cat\n", "", "猫 a", "aaa\ud800", "cat " * 40)
    pieces = from_pieces(tmp_path)
    text = T5Tokenizer.from_text(json_text(), vocab_size=9)
    assert [pieces.encode(t) for t in texts] == [text.encode(t) for t in texts]
    assert pieces.encode("a cats") == (3, 4, 8)
    assert pieces.encode("") == ()
    assert pieces.encode("猫") == (5, 2)
    assert len(text.encode("cat " * 40)) == 40
    (tmp_path / "tokenizer.json").write_text(json_text(), "utf-8")
    assert T5Tokenizer.from_folder(tmp_path, vocab_size=9).encode("a cats") == (3, 4, 8)


def test_rows_end_with_the_mark_and_are_filled_to_77(tmp_path: Path) -> None:
    tokenizer = from_pieces(tmp_path)
    assert tokenizer.pad((3, 4)) == (3, 4, 1, *[0] * 74)
    assert tokenizer.pad((3,) * 80) == (*(3,) * 80, 1)
    assert tokenizer.pad((3,) * 600) == (*(3,) * 511, 1)


def test_long_prompts_are_cut_into_rows_with_their_weights(tmp_path: Path) -> None:
    spans = (Span(text="a " * 510, weight=1.0), Span(text="cat cat", weight=1.5))
    first, second = cut(spans, from_pieces(tmp_path), Chunking())
    assert (first.used, second.used) == (511, 1)
    assert first.ids[508:] == (3, 3, 4, 1)
    assert first.weights[508:] == (1.0, 1.0, 1.5, 1.0)
    assert (second.ids[:3], second.weights[:3], len(second.weights)) == ((4, 1, 0), (1.5, 1.0, 1.0), 77)


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    assert not has_tokenizer(tmp_path)
    with pytest.raises(Missing, match=r"tokenizer\.json cannot be read"):
        T5Tokenizer.from_folder(tmp_path, vocab_size=9).encode("a")
    from_pieces(tmp_path)
    assert has_tokenizer(tmp_path)


def test_the_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(t5, "find_spec", lambda name: None)
    with pytest.raises(Missing) as raised:
        from_pieces(tmp_path).encode("a")
    assert from_pieces(tmp_path).json_text() is None
    assert T5Tokenizer.from_text("{}", vocab_size=9).json_text() == "{}"
    assert str(raised.value) == (
        "This model's third text encoder, T5, needs the library tokenizers, which is not installed. "
        "Install it: pip install 'pinxit[t5]'."
    )


def test_a_tokenizer_that_is_too_large_for_the_encoder(tmp_path: Path) -> None:
    with pytest.raises(BadModelFile) as raised:
        from_pieces(tmp_path, vocab_size=8).encode("a")
    assert str(raised.value) == (
        "spiece.model has 9 tokens, and the encoder knows 8. Tokenizer and encoder belong to different models."
    )


def test_a_tokenizer_without_t5s_marks(tmp_path: Path) -> None:
    strange = [(text.replace("</s>", "<end>"), score, kind) for text, score, kind in PIECES]
    with pytest.raises(BadModelFile, match=r"has no '</s>': it is not T5's"):
        from_pieces(tmp_path, spiece(strange)).pad((3,))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it has no pieces"),
        (spiece()[:-1], "it ends inside a field"),
        (spiece()[:1], "it ends inside a number"),
        (b"\xff" * 20, "it ends inside a number"),
        (b"\x0b", "a field of the unknown kind 3"),
        (b"\x0d\x00", "unpack_from requires"),
        (field(1, b"\x12\x01a"), "a piece without its text or score"),
        (field(1, field(1, b"\xff")), "invalid start byte"),
        (b"<html></html>", "SentencePiece model"),
        (spiece(rest=field(3, field(2, b"rules"))), "precompiled_charsmap"),
    ],
)
def test_damaged_pieces_are_told(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(BadModelFile, match=said):
        from_pieces(tmp_path, content).encode("a")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"model": {"type": "Unigram", "vocab": []}}', "{" * 5000])
def test_damaged_json_is_told(text: str) -> None:
    with pytest.raises(BadModelFile, match=r"tokenizer.* cannot be used"):
        T5Tokenizer.from_text(text, vocab_size=9).encode("a")


def test_a_file_beyond_the_limit_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(t5, "LARGEST_FILE", 10)
    with pytest.raises(BadModelFile, match=r"spiece\.model is longer than 10 bytes"):
        from_pieces(tmp_path).encode("a")


def test_pieces_and_rules_are_read() -> None:
    found = read_pieces(spiece(rest=field(3, field(1, b"nmt_nfkc") + field(2, b"rules"))), "spiece.model")
    assert (found.pieces[3], found.unknown, found.rules) == (("▁a", -1.0), 2, b"rules")
