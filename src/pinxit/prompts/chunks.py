"""Weighted spans to rows of 77 ids, and what a weight does to the encoded row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, cast

from pinxit.prompts.attention import Span
from pinxit.prompts.tokenizer import Padding
from pinxit.schema.errors import BadInput

CHUNK_LIMIT = 100

Emphasis = Literal["ignore", "multiply", "keep_mean", "from_empty"]
"""`keep_mean` is A1111's rule, `multiply` its "No norm", `from_empty` ComfyUI's; `ignore` leaves weights unused."""


class Tokenizer(Protocol):
    """What cutting a prompt asks of a tokenizer."""

    @property
    def chunk_length(self) -> int:
        """How many tokens of a prompt one chunk holds, beside its marks."""
        ...

    @property
    def lead(self) -> int:
        """How many marks stand before the prompt's first token."""
        ...

    @property
    def comma(self) -> int:
        """The number of the token for a comma, -1 where there is none."""
        ...

    def encode(self, text: str, /) -> tuple[int, ...]:
        """The numbers of `text`, without marks and of any length."""
        ...

    def pad(self, ids: Sequence[int], padding: Padding | None = None, /) -> tuple[int, ...]:
        """One row with its marks and filler."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunking:
    """Where a full chunk is cut.

    comma_backtrack: when the next token does not fit and a comma lies within so many last tokens, what follows the
    comma moves on to the next chunk; 0 cuts anywhere.
    whole_below: a span of fewer tokens is never cut but moves on whole; 0 cuts anywhere.
    """

    comma_backtrack: int = 0
    whole_below: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One row for a text encoder: its ids with marks and filler, a weight for each, and how many are prompt."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    used: int


def cut(
    spans: Sequence[Span],
    tokenizer: Tokenizer,
    rule: Chunking,
    *,
    padding: Padding | None = None,
    field: str = "prompt",
) -> tuple[Chunk, ...]:
    """The chunks that `spans` fill: at least one, each with up to 75 tokens for CLIP. A break ends the chunk it finds.

    Raises BadInput when there are more than 100.
    """
    builder = _Builder(tokenizer, rule, padding, field)
    for span in spans:
        if span.is_break:
            builder.close()
        else:
            builder.add(tokenizer.encode(span.text), span.weight)
    if builder.ids or not builder.chunks:
        builder.close()
    return tuple(builder.chunks)


def level(
    first: Sequence[Chunk], second: Sequence[Chunk], tokenizer: Tokenizer, *, padding: Padding | None = None
) -> tuple[tuple[Chunk, ...], tuple[Chunk, ...]]:
    """Both prompts with equally many chunks: the shorter one gets empty ones behind."""
    empty = cut((), tokenizer, Chunking(), padding=padding)[0]
    length = max(len(first), len(second))
    return (*first, *[empty] * (length - len(first))), (*second, *[empty] * (length - len(second)))


class _Builder:
    """The chunk that is being filled, and those before it."""

    def __init__(self, tokenizer: Tokenizer, rule: Chunking, padding: Padding | None, field: str) -> None:
        self.chunks: list[Chunk] = []
        self.ids: list[int] = []
        self._weights: list[float] = []
        self._after_comma = -1
        self._comma = tokenizer.comma
        self._length = tokenizer.chunk_length
        self._tokenizer = tokenizer
        self._rule = rule
        self._padding: Padding | None = padding
        self._field = field

    def add(self, ids: Sequence[int], weight: float) -> None:
        if len(ids) < self._rule.whole_below and len(self.ids) + len(ids) > self._length:
            self.close()
        for token in ids:
            if len(self.ids) == self._length:
                self._make_room(token)
            self.ids.append(token)
            self._weights.append(weight)
            if token == self._comma:
                self._after_comma = len(self.ids)

    def close(self) -> None:
        """End the chunk here, full or not."""
        if len(self.chunks) == CHUNK_LIMIT:
            raise BadInput(
                f"The {self._field} fills more than {CHUNK_LIMIT} chunks of {self._length} tokens.",
                hint="Shorten it, or take out some BREAKs.",
                field=self._field,
            )
        ids = self._tokenizer.pad(self.ids, self._padding)
        lead = [1.0] * self._tokenizer.lead
        filler = [1.0] * (len(ids) - len(lead) - len(self.ids))
        self.chunks.append(Chunk(ids=ids, weights=(*lead, *self._weights, *filler), used=len(self.ids)))
        self.ids, self._weights, self._after_comma = [], [], -1

    def _make_room(self, token: int) -> None:
        """Close the full chunk before `token`, at its last comma if that is near enough and `token` is no comma."""
        keep = self._after_comma
        if token == self._comma or keep < 0 or self._length - (keep - 1) > self._rule.comma_backtrack:
            self.close()
            return
        moved, weights = self.ids[keep:], self._weights[keep:]
        del self.ids[keep:], self._weights[keep:]
        self.close()
        self.ids, self._weights = moved, weights


class ArrayLike(Protocol):
    """What a torch tensor and a numpy array have in common here."""

    def __add__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __getitem__(self, key: Any, /) -> Any: ...
    def mean(self) -> Any: ...


A = TypeVar("A", bound=ArrayLike)


def emphasize(encoded: A, weights: A, rule: Emphasis, empty: A | None = None) -> A:
    """`encoded` (..., tokens, width) with `weights` (..., tokens) applied to its token vectors.

    `keep_mean` multiplies, then scales everything by old mean / new mean; hand in one chunk of one prompt at a time,
    else neighbours change the result. `from_empty` moves each vector along its line from the vector at the same place
    of the `empty` prompt's encoding, which it needs: ValueError without. Weights of 1 change no bit.
    """
    factors = weights[..., None]
    if rule == "ignore":
        return encoded
    if rule == "from_empty":
        if empty is None:
            raise ValueError("from_empty needs the encoding of the empty prompt")
        return cast("A", encoded + (encoded - empty) * (factors - 1))
    scaled = encoded * factors
    if rule == "multiply":
        return cast("A", scaled)
    before, after = float(encoded.mean()), float(scaled.mean())
    return cast("A", scaled * (before / after) if after else scaled)
