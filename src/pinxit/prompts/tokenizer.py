"""CLIP's byte-pair tokenizer for any vocabulary of its kind: OpenAI's own, or one that a model brings along.

text --clean--> text --split_words--> words --byte symbols, merges--> ids --pad--> 77 ids
"""

from __future__ import annotations

import gzip
import heapq
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Literal, cast

from pinxit.prompts.words import BOS, EOS, WORD_END, Cleaning, alphabet, byte_symbols, split_words
from pinxit.schema.errors import BadModelFile, Missing

Padding = Literal["eos", "zero"]
"""What follows the end mark in a row of 77: the end mark again (CLIP-L) or 0 (OpenCLIP)."""

CONTEXT_LENGTH = 77
_OPENAI_FILE = "bpe_simple_vocab_16e6.txt.gz"
_OPENAI_MERGES = 49152 - 256 - 2
_RETRY = "Fetch the tokenizer's files again."
_CACHED_WORDS = 1 << 15
_CACHED_SYMBOLS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Ids by token and ranks by pair: what the two files of a byte-pair vocabulary say. Lower ranks merge first."""

    ids: Mapping[str, int]
    ranks: Mapping[tuple[str, str], int]

    def __post_init__(self) -> None:
        for token in (BOS, EOS):
            if token not in self.ids:
                raise BadModelFile(
                    f"The tokenizer's vocabulary has no {token!r}.",
                    hint="It is not a CLIP vocabulary: check vocab.json.",
                )
        for left, right in self.ranks:
            if left + right not in self.ids:
                raise BadModelFile(
                    f"The tokenizer's merge {left!r} + {right!r} makes a token that its vocabulary lacks.",
                    hint="vocab.json and merges.txt must come from the same tokenizer.",
                )

    def texts(self) -> tuple[str, str]:
        """The contents of `vocab.json` and `merges.txt`, as `ClipTokenizer.from_text` and transformers read them."""
        ids = json.dumps(dict(self.ids), ensure_ascii=False, separators=(",", ":"))
        return ids + "\n", "".join(("#version: 0.2\n", *(f"{left} {right}\n" for left, right in self.ranks)))


class ClipTokenizer:
    """Text to ids and back. Nothing is read before the first use; words are remembered per object.

    Make one with `openai`, `from_folder` or `from_text`.
    """

    context_length = CONTEXT_LENGTH
    chunk_length = CONTEXT_LENGTH - 2
    lead = 1

    def __init__(
        self, load: Callable[[], Vocabulary], *, cleaning: Cleaning = "openai", padding: Padding = "eos"
    ) -> None:
        self._load = load
        self.cleaning: Cleaning = cleaning
        self.padding: Padding = padding
        self._known: dict[str, tuple[int, ...]] = {}

    @classmethod
    def openai(cls, *, cleaning: Cleaning = "openai", padding: Padding = "eos") -> ClipTokenizer:
        """The tokenizer of every CLIP and OpenCLIP text encoder: 49,408 entries, shipped with the package."""
        return cls(_openai_vocabulary, cleaning=cleaning, padding=padding)

    @classmethod
    def from_folder(cls, folder: Path, *, cleaning: Cleaning = "fast", padding: Padding = "eos") -> ClipTokenizer:
        """The tokenizer in a folder that holds `vocab.json` and `merges.txt`.

        The first use raises Missing when a file is not there and BadModelFile when its content makes no vocabulary.
        """
        return cls(lambda: _folder_vocabulary(folder), cleaning=cleaning, padding=padding)

    @classmethod
    def from_text(
        cls, vocab: str, merges: str, *, cleaning: Cleaning = "fast", padding: Padding = "eos"
    ) -> ClipTokenizer:
        """The tokenizer that the contents of `vocab.json` and `merges.txt` describe; errors as in `from_folder`."""
        return cls(lambda: read_vocabulary(vocab, merges), cleaning=cleaning, padding=padding)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return self._load()

    @property
    def vocab_size(self) -> int:
        """One more than the highest id: the number of rows that an embedding table needs."""
        return max(self.vocabulary.ids.values()) + 1

    @cached_property
    def bos(self) -> int:
        return self.vocabulary.ids[BOS]

    @cached_property
    def eos(self) -> int:
        return self.vocabulary.ids[EOS]

    @property
    def comma(self) -> int:
        """The number of the token for a comma, -1 where the vocabulary has none."""
        return self.vocabulary.ids.get("," + WORD_END, -1)

    def encode(self, text: str) -> tuple[int, ...]:
        """The ids of `text`, without begin and end marks and of any length."""
        ids: list[int] = []
        for word in split_words(text, self.cleaning):
            ids += self._word_ids(word)
        return tuple(ids)

    def pad(self, ids: Sequence[int], padding: Padding | None = None) -> tuple[int, ...]:
        """One row of 77 ids: begin mark, the first 75 of `ids`, end mark, filler by `padding` or our own rule."""
        kept = ids[: CONTEXT_LENGTH - 2]
        filler = self.eos if (padding or self.padding) == "eos" else 0
        return (self.bos, *kept, self.eos, *[filler] * (CONTEXT_LENGTH - 2 - len(kept)))

    def decode(self, ids: Iterable[int]) -> str:
        """The text that `ids` spell: lower case, one space between words, marks and unknown ids left out.

        Under zero padding the filler reads as `!`, its own token: cut the row at its end mark first.
        """
        tokens = (self._tokens.get(number, "") for number in ids if number not in (self.bos, self.eos))
        spelled = "".join(tokens).replace(WORD_END, " ")
        codes = bytearray()
        for char in spelled:
            codes += self._bytes.get(char) or char.encode("utf-8", "replace")
        return codes.decode("utf-8", "replace").strip()

    @cached_property
    def _tokens(self) -> dict[int, str]:
        return {number: token for token, number in self.vocabulary.ids.items()}

    @cached_property
    def _symbols(self) -> tuple[str, ...]:
        return byte_symbols()

    @cached_property
    def _bytes(self) -> dict[str, bytes]:
        return {symbol: bytes((code,)) for code, symbol in enumerate(self._symbols)}

    def _word_ids(self, word: str) -> tuple[int, ...]:
        found = self._known.get(word)
        if found is not None:
            return found
        ids = self.vocabulary.ids
        if word in (BOS, EOS):
            return (ids[word],)
        symbols = [self._symbols[code] for code in word.encode("utf-8", "replace")]
        symbols[-1] += WORD_END
        result = tuple(ids.get(token, self.eos) for token in merge(symbols, self.vocabulary.ranks))
        if len(symbols) <= _CACHED_SYMBOLS:
            if len(self._known) >= _CACHED_WORDS:
                self._known.clear()
            self._known[word] = result
        return result


def merge(symbols: list[str], ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """Join neighbours, lowest rank first and from left to right within a rank, until no pair has a rank.

    Consumes `symbols`. Equals the textbook loop of Sennrich et al. 2016, algorithm 1, but finds the next pair through
    a heap of ranks over a linked list: time grows linearly with the word, not with its square.
    """
    count = len(symbols)
    after = [*range(1, count), -1]
    before = [*range(-1, count - 1)]
    places: dict[int, list[int]] = {}
    waiting: list[int] = []

    def note(left: int, right: int) -> None:
        rank = ranks.get((symbols[left], symbols[right]))
        if rank is not None:
            if rank not in places:
                places[rank] = []
                heapq.heappush(waiting, rank)
            places[rank].append(left)

    for left in range(count - 1):
        note(left, left + 1)
    while waiting:
        rank = heapq.heappop(waiting)
        for left in sorted(places.pop(rank)):
            right = after[left]
            if not symbols[left] or right < 0 or ranks.get((symbols[left], symbols[right])) != rank:
                continue
            symbols[left] += symbols[right]
            symbols[right] = ""
            beyond = after[left] = after[right]
            if beyond >= 0:
                before[beyond] = left
                note(left, beyond)
            if before[left] >= 0:
                note(before[left], left)
    return [symbol for symbol in symbols if symbol]


def read_vocabulary(vocab: str, merges: str) -> Vocabulary:
    """The vocabulary that the contents of a `vocab.json` and a `merges.txt` describe. Raises BadModelFile."""
    try:
        parsed: object = json.loads(vocab)
    except (ValueError, RecursionError) as error:
        raise BadModelFile("The tokenizer's vocab.json is not JSON.", hint=_RETRY) from error
    entries = cast("dict[str, object]", parsed) if isinstance(parsed, dict) else {}
    ids = {token: number for token, number in entries.items() if type(number) is int and number >= 0}
    if not ids or len(ids) != len(entries) or len(set(ids.values())) != len(ids):
        raise BadModelFile("The tokenizer's vocab.json must map tokens to ids, each id once.", hint=_RETRY)
    return Vocabulary(ids=ids, ranks=_ranks(merges.splitlines()))


def _ranks(lines: Iterable[str]) -> dict[tuple[str, str], int]:
    """The rank of each pair in a merges file; a version line and blank lines do not count. Raises BadModelFile."""
    ranks: dict[tuple[str, str], int] = {}
    for number, line in enumerate(lines, start=1):
        pair = line.split()
        if not pair or (number == 1 and "#version" in line):
            continue
        if len(pair) != 2:
            raise BadModelFile(
                f"Line {number} of the tokenizer's merges.txt has {len(pair)} parts, not 2.",
                hint=_RETRY,
            )
        ranks.setdefault((pair[0], pair[1]), len(ranks))
    return ranks


def _folder_vocabulary(folder: Path) -> Vocabulary:
    texts: list[str] = []
    for name in ("vocab.json", "merges.txt"):
        try:
            texts.append((folder / name).read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise BadModelFile(f"{folder / name} is not UTF-8 text.", hint=_RETRY) from error
        except OSError as error:
            raise Missing(
                f"The tokenizer's file {folder / name} cannot be read.",
                hint="A tokenizer folder holds vocab.json and merges.txt.",
            ) from error
    return read_vocabulary(*texts)


def _openai_vocabulary() -> Vocabulary:
    """256 byte symbols, the same as word ends, one token for each of 48,894 merges, and the two marks."""
    packed = (resources.files("pinxit.prompts") / "data" / _OPENAI_FILE).read_bytes()
    lines = gzip.decompress(packed).decode("utf-8").split("\n", _OPENAI_MERGES + 1)[: _OPENAI_MERGES + 1]
    ranks = _ranks(lines)
    tokens = (*alphabet(byte_symbols()), *(left + right for left, right in ranks), BOS, EOS)
    return Vocabulary(ids={token: number for number, token in enumerate(tokens)}, ranks=ranks)
