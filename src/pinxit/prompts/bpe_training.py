"""Learn a byte-pair vocabulary that ClipTokenizer (and transformers' CLIPTokenizer) can use."""

from __future__ import annotations

import heapq
import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pinxit.prompts.words import BOS, EOS, WORD_END, Cleaning, alphabet, byte_symbols, split_words
from pinxit.schema.errors import BadInput

Pair = tuple[int, int]


def train_bpe(
    texts: Iterable[str], size: int, *, cleaning: Cleaning = "fast"
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary of `size` entries from `texts`: ids by token, and the merges in order of rank.

    512 byte symbols come first, then one token for each merge, then the two marks. The most frequent pair is merged
    first (Sennrich et al. 2016); among equals the one with the lower ids, so equal texts give equal files. No pair
    that stands only once is merged: few texts give fewer entries. Raises BadInput when `size` leaves no room.
    """
    tokens = list(alphabet(byte_symbols()))
    room = size - len(tokens) - 2
    if room < 0:
        raise BadInput(
            f"A vocabulary of {size} entries is too small: bytes and marks alone take {len(tokens) + 2}.",
            hint="Ask for some thousands, such as 8192.",
            field="size",
        )
    corpus = _Corpus(count_words(texts, cleaning), tokens)
    merges: list[tuple[str, str]] = []
    taken = set(tokens)
    while len(merges) < room and (pair := corpus.most_frequent()) is not None:
        left, right = tokens[pair[0]], tokens[pair[1]]
        if left + right in taken:
            corpus.forget(pair)
            continue
        taken.add(left + right)
        merges.append((left, right))
        tokens.append(left + right)
        corpus.merge(pair, len(tokens) - 1)
    vocab = {token: number for number, token in enumerate((*tokens, BOS, EOS))}
    return vocab, merges


def count_words(texts: Iterable[str], cleaning: Cleaning) -> Counter[str]:
    """How often each word stands in `texts`; the two marks do not count."""
    words: Counter[str] = Counter()
    for text, times in Counter(texts).items():
        for word in split_words(text, cleaning):
            words[word] += times
    del words[BOS], words[EOS]
    return words


def vocabulary_files(vocab: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The contents of `vocab.json` and `merges.txt`, as `ClipTokenizer.from_text` and transformers read them."""
    ids = json.dumps(dict(vocab), ensure_ascii=False, separators=(",", ":"))
    return ids + "\n", "".join(("#version: 0.2\n", *(f"{left} {right}\n" for left, right in merges)))


class _Corpus:
    """Every distinct word as a linked list of symbols, laid out in one array, with a count for each pair of neighbours.

    A merge touches only the places of its pair, so the whole training costs one visit for each join it makes.
    """

    def __init__(self, words: Mapping[str, int], tokens: Sequence[str]) -> None:
        ids = {token: number for number, token in enumerate(tokens)}
        symbols = byte_symbols()
        plain = [ids[symbol] for symbol in symbols]
        final = [ids[symbol + WORD_END] for symbol in symbols]
        self._symbol = array("i")
        self._weight = array("q")
        for word, times in words.items():
            codes = word.encode("utf-8", "replace")
            self._symbol.extend(plain[code] for code in codes[:-1])
            self._symbol.extend((final[codes[-1]], -1))
            self._weight.extend([times] * (len(codes) + 1))
        self._after = array("i", range(1, len(self._symbol) + 1))
        self._before = array("i", range(-1, len(self._symbol) - 1))
        self._counts: defaultdict[Pair, int] = defaultdict(int)
        self._places: defaultdict[Pair, array[int]] = defaultdict(_no_places)
        for here in range(len(self._symbol) - 1):
            self._add((self._symbol[here], self._symbol[here + 1]), here)
        self._heap = [(-count, pair) for pair, count in self._counts.items()]
        heapq.heapify(self._heap)

    def most_frequent(self) -> Pair | None:
        """The pair with the highest count, or None when no pair stands twice. The heap may lag behind the counts."""
        while self._heap:
            claimed, pair = self._heap[0]
            actual = self._counts.get(pair, 0)
            if actual == -claimed:
                return pair if actual > 1 else None
            heapq.heappop(self._heap)
        return None

    def forget(self, pair: Pair) -> None:
        """Never offer `pair` again."""
        self._counts.pop(pair, None)
        self._places.pop(pair, None)

    def merge(self, pair: Pair, joined: int) -> None:
        """Replace `pair` by the symbol `joined` wherever it stands, from left to right, and recount its neighbours."""
        symbol, after, before = self._symbol, self._after, self._before
        changed: set[Pair] = set()
        places = sorted(self._places.pop(pair))
        for here in places:
            right = after[here]
            if symbol[here] != pair[0] or symbol[right] != pair[1]:
                continue
            beyond, prior = after[right], before[here]
            weight = self._weight[here]
            old = [(symbol[right], symbol[beyond])]
            if prior >= 0:
                old.append((symbol[prior], symbol[here]))
            for gone in old:
                if gone in self._counts:
                    self._counts[gone] -= weight
                    changed.add(gone)
            symbol[here], symbol[right] = joined, -1
            after[here], before[beyond] = beyond, here
            changed.update(
                self._add((symbol[start], symbol[after[start]]), start) for start in (here, prior) if start >= 0
            )
        self.forget(pair)
        for touched in changed:
            count = self._counts.get(touched, 0)
            if count > 1 and min(touched) >= 0:
                heapq.heappush(self._heap, (-count, touched))

    def _add(self, pair: Pair, here: int) -> Pair:
        """Count `pair` at `here`; a pair across the end of a word (symbol -1) is no pair."""
        if min(pair) >= 0:
            self._counts[pair] += self._weight[here]
            self._places[pair].append(here)
        return pair


def _no_places() -> array[int]:
    return array("i")
