"""T5's tokenizer, where a model brings its own: `tokenizer.json` or SentencePiece's `spiece.model`.

The work is done by the library `tokenizers` (extra `t5`), which reads the first of the two itself; the second is taken
apart here. Nothing is ever fetched.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.schema.errors import BadModelFile, Missing

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pinxit.prompts.tokenizer import Padding

EXTRA = "t5"
FILES = ("tokenizer.json", "spiece.model")
LARGEST_FILE = 32 * 2**20
END, FILLER = "</s>", "<pad>"
SHORTEST_ROW = 77
LONGEST_ROW = 512
"""Tokens that T5 was trained on at once; a longer prompt goes on in another row."""
_RETRY = "Fetch the tokenizer's files again."


def has_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer of T5's lies in `folder`."""
    return any((folder / name).is_file() for name in FILES)


class T5Tokenizer:
    """Text to ids: no mark before them, the end mark behind, then filler up to 77.

    Make one with `from_folder` or `from_text`. Nothing is read before the first use.
    """

    chunk_length = LONGEST_ROW - 1
    lead = 0
    comma = -1

    def __init__(self, read: Callable[[], tuple[str, bytes]], *, vocab_size: int) -> None:
        """The tokenizer in the file whose name and bytes `read` gives, for an encoder that knows `vocab_size` tokens.

        The first use raises Missing where the library is not installed, and BadModelFile for a file that is no
        tokenizer of T5's.
        """
        self._read = read
        self._vocab_size = vocab_size

    @classmethod
    def from_folder(cls, folder: Path, *, vocab_size: int) -> T5Tokenizer:
        """The tokenizer in `folder`. The first use raises Missing where it cannot be read."""
        return cls(lambda: _folder_file(folder), vocab_size=vocab_size)

    @classmethod
    def from_text(cls, text: str, *, vocab_size: int) -> T5Tokenizer:
        """The tokenizer that the content of a `tokenizer.json` describes."""
        return cls(lambda: (FILES[0], text.encode("utf-8", "replace")), vocab_size=vocab_size)

    def encode(self, text: str, /) -> tuple[int, ...]:
        """The numbers of `text`, without the end mark and of any length."""
        readable = text.encode("utf-8", "replace").decode()
        model = self._model
        try:
            return tuple(model.encode(readable, add_special_tokens=False).ids)
        except Exception as error:  # the library raises nothing narrower
            raise _unreadable("The third text encoder's tokenizer", error) from error

    def pad(self, ids: Sequence[int], padding: Padding | None = None, /) -> tuple[int, ...]:
        """One row: the first 511 of `ids`, the end mark, and filler to at least 77."""
        del padding
        row = (*ids[: self.chunk_length], self._mark(END))
        return (*row, *[self._mark(FILLER)] * (SHORTEST_ROW - len(row)))

    def _mark(self, token: str) -> int:
        found = self._model.token_to_id(token)
        if found is None:
            raise BadModelFile(f"The third text encoder's tokenizer has no {token!r}: it is not T5's.", hint=_RETRY)
        return found

    def json_text(self) -> str | None:
        """The content of its `tokenizer.json`; None where it lies in another file. Needs no library."""
        name, data = self._read()
        return data.decode("utf-8", "replace") if name == FILES[0] else None

    @cached_property
    def _model(self) -> Tokenizer:
        if find_spec("tokenizers") is None:
            raise Missing(
                "This model's third text encoder, T5, needs the library tokenizers, which is not installed.",
                hint=f"Install it: pip install 'pinxit[{EXTRA}]'.",
                field="model",
            )
        name, data = self._read()
        model = _from_json(name, data) if name == FILES[0] else _from_pieces(name, read_pieces(data, name))
        model.no_truncation()
        model.no_padding()
        if model.get_vocab_size() > self._vocab_size:
            raise BadModelFile(
                f"{name} has {model.get_vocab_size():,} tokens, and the encoder knows {self._vocab_size:,}.",
                hint="Tokenizer and encoder belong to different models.",
            )
        return model


def _folder_file(folder: Path) -> tuple[str, bytes]:
    """Name and bytes of the tokenizer's file in `folder`."""
    path = next((path for name in FILES if (path := folder / name).is_file()), folder / FILES[0])
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        raise Missing(f"The tokenizer's file {path} cannot be read: {error.strerror}.", hint=_RETRY) from error
    if len(data) > LARGEST_FILE:
        raise BadModelFile(f"{path.name} is longer than {LARGEST_FILE:,} bytes.", hint=_RETRY)
    return path.name, data


def _from_json(name: str, data: bytes) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_buffer(data)
    except Exception as error:  # the library raises nothing narrower
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> BadModelFile:
    return BadModelFile(f"{name} cannot be used: {str(error)[:200]}.", hint=_RETRY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """A SentencePiece unigram model: every piece with its score, which one stands for the unknown, and the rules by
    which text is normalised, in the library's packed form.
    """

    pieces: tuple[tuple[str, float], ...]
    unknown: int
    rules: bytes


def read_pieces(data: bytes, name: str) -> Pieces:
    """The unigram model in the bytes of a `spiece.model`. Raises BadModelFile, naming the file `name`.

    Of its messages these fields are read: ModelProto 1 pieces (1 text, 2 score, 3 kind), 3 normaliser (2 rules).
    """
    pieces: list[tuple[str, float]] = []
    unknown, rules = 0, b""
    try:
        for number, value in _fields(data):
            if number == 1 and isinstance(value, bytes):
                piece = dict(_fields(value))
                text, score = piece.get(1), piece.get(2, 0.0)
                if not isinstance(text, bytes) or not isinstance(score, float):
                    raise ValueError("a piece without its text or score")
                if piece.get(3) == _UNKNOWN_KIND:
                    unknown = len(pieces)
                pieces.append((text.decode("utf-8"), score))
            elif number == 3 and isinstance(value, bytes):
                found = dict(_fields(value)).get(2, b"")
                rules = found if isinstance(found, bytes) else b""
    except (ValueError, struct.error) as error:
        raise BadModelFile(f"{name} is no SentencePiece model that can be read: {error}.", hint=_RETRY) from error
    if not pieces:
        raise BadModelFile(f"{name} is no SentencePiece model that can be read: it has no pieces.", hint=_RETRY)
    return Pieces(pieces=tuple(pieces), unknown=unknown, rules=rules)


_UNKNOWN_KIND = 2
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """(number, value) of every field of a protocol buffer message. Raises ValueError where it ends too soon."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
        elif kind == _FOUR:
            value, at = float(struct.unpack_from("<f", data, at)[0]), at + 4
        elif kind == _EIGHT:
            value, at = float(struct.unpack_from("<d", data, at)[0]), at + 8
        elif kind == _BYTES:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
            if len(value) != length:
                raise ValueError("it ends inside a field")
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        yield key >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64 and at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
    raise ValueError("it ends inside a number")


def _from_pieces(name: str, model: Pieces) -> Tokenizer:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    try:
        found = Tokenizer(models.Unigram(list(model.pieces), unk_id=model.unknown))
        if model.rules:
            found.normalizer = normalizers.Precompiled(model.rules)
    except Exception as error:  # the library raises nothing narrower
        raise _unreadable(name, error) from error
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    return found
