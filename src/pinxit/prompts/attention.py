"""How brackets weigh words: text to spans of equal weight, in the two traditions of the field."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pinxit.schema.errors import BadInput

STRONGER = 1.1
WEAKER = 1 / 1.1
DEPTH_LIMIT = 32
WEIGHT_LIMIT = 1e6

_NESTED_TOKEN = re.compile(r"\\[()\[\]\\]|\\|\(|\[|:\s*([+-]?[.\d]+)\s*\)|\)|\]|[^\\()\[\]:]+|:")
_ROUND_TOKEN = re.compile(r"\\[()]|[()]|[^\\()]+|\\")
_BREAK = re.compile(r"\bBREAK\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Text and the weight of its tokens, 1.0 being neutral; or a break, which has no text and ends a chunk."""

    text: str
    weight: float = 1.0
    is_break: bool = False


def nested_spans(text: str, field: str) -> tuple[Span, ...]:
    """The spans of A1111's rule: `(x)` times 1.1, `[x]` divided by 1.1, `(x:w)` times w, each inside the next.

    A bracket that never closes acts to the end, one that never opened is text, a backslash makes the next bracket
    text, and `BREAK` stands between spans. Neighbours of equal weight are one span; the result is never empty.
    Raises BadInput when brackets lie too deep or a weight is out of range.
    """
    texts: list[str] = []
    weights: list[float] = []
    breaks: set[int] = set()
    open_round: list[int] = []
    open_square: list[int] = []

    def multiply(start: int, factor: float) -> None:
        for place in range(start, len(weights)):
            weights[place] *= factor

    def add(piece: str) -> None:
        for number, part in enumerate(_split_at_breaks(piece)):
            if number:
                breaks.add(len(texts))
                texts.append("")
                weights.append(1.0)
            texts.append(part)
            weights.append(1.0)

    for match in _NESTED_TOKEN.finditer(text):
        token = match.group()
        number = match.group(1)
        if token.startswith("\\"):
            texts.append(token[1:])
            weights.append(1.0)
        elif token in "([":
            (open_round if token == "(" else open_square).append(len(texts))
            check_depth(len(open_round) + len(open_square), match.start(), field)
        elif number is not None and open_round:
            weight = _number(number)
            if weight is None:
                add(token[:-1])
            multiply(open_round.pop(), STRONGER if weight is None else weight)
        elif token == ")" and open_round:
            multiply(open_round.pop(), STRONGER)
        elif token == "]" and open_square:
            multiply(open_square.pop(), WEAKER)
        else:
            add(token)
    for starts, factor in ((open_round, STRONGER), (open_square, WEAKER)):
        for start in starts:
            multiply(start, factor)
    return _merged(texts, weights, breaks, field)


def plain_spans(text: str, field: str) -> tuple[Span, ...]:
    """The text as it is: brackets are text, and nothing has a weight."""
    del field
    return (Span(text=text),)


def replacing_spans(text: str, field: str) -> tuple[Span, ...]:
    """The spans of ComfyUI's rule: `(x)` is times 1.1, but `(x:w)` is w whatever stands around it.

    Square brackets and `BREAK` are text; `\\(` and `\\)` are plain brackets. Text from a bracket that never closes is
    text, unless its last character is a closing bracket. Spans are not merged; an empty prompt has none. Raises
    BadInput when brackets lie too deep or a weight is out of range.
    """
    tokens: list[str] = _ROUND_TOKEN.findall(text)
    spans: list[Span] = []
    waiting = [_Stretch(start=0, stop=len(tokens), weight=1.0, depth=0, is_group=True)]
    while waiting:
        here = waiting.pop()
        check_depth(here.depth, None, field)
        if here.is_group:
            waiting.extend(reversed(list(_inside(tokens, here))))
        else:
            pieces = (token[1:] if token in ("\\(", "\\)") else token for token in tokens[here.start : here.stop])
            spans.append(Span(text="".join(pieces), weight=check_weight(here.weight, field)))
    return tuple(spans)


def check_depth(depth: int, place: int | None, field: str) -> None:
    """Raises BadInput when more than 32 brackets are open at once; `place` counts characters from 0."""
    if depth > DEPTH_LIMIT:
        where = "" if place is None else f" at character {place + 1}"
        raise BadInput(
            f"The {field} opens more than {DEPTH_LIMIT} brackets inside one another{where}.",
            hint="Take some away, or write \\( and \\[ for brackets that are meant as text.",
            field=field,
        )


def check_weight(weight: float, field: str) -> float:
    """`weight` itself. Raises BadInput when it is not a number of at most a million."""
    if not abs(weight) <= WEIGHT_LIMIT:
        raise BadInput(
            f"The {field} gives a weight of {weight:g}; at most {WEIGHT_LIMIT:,.0f} either way is allowed.",
            hint="Useful weights lie between 0 and 2.",
            field=field,
        )
    return weight


def _split_at_breaks(text: str) -> Iterator[str]:
    """The texts between the words `BREAK`, without the spaces around those words."""
    start = 0
    for match in _BREAK.finditer(text):
        part = text[start : match.start()].rstrip()
        yield part.lstrip() if start else part
        start = match.end()
    yield text[start:].lstrip() if start else text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """Tokens `start` to `stop`: the inside of brackets (or the whole text), or text that holds no group."""

    start: int
    stop: int
    weight: float
    depth: int
    is_group: bool


def _inside(tokens: list[str], around: _Stretch) -> Iterator[_Stretch]:
    """The outermost groups in a stretch and the texts between them, in order. Cuts weights off `tokens`."""
    for first, last in _outermost(tokens, around.start, around.stop):
        if last - first >= 2 and tokens[first] == "(" and tokens[last - 1] == ")":
            stop, weight = _explicit_weight(tokens, first + 1, last - 1)
            if weight is None:
                weight = around.weight * STRONGER
            yield _Stretch(start=first + 1, stop=stop, weight=weight, depth=around.depth + 1, is_group=True)
        else:
            yield _Stretch(start=first, stop=last, weight=around.weight, depth=around.depth, is_group=False)


def _outermost(tokens: list[str], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Cut a stretch before each bracket that opens at level 0 and after each that closes to it.

    One closing bracket too many sinks the level below 0, and what follows is then counted from there.
    """
    level, first = 0, start
    for place in range(start, stop):
        if tokens[place] == "(":
            if level == 0 and place > first:
                yield first, place
                first = place
            level += 1
        elif tokens[place] == ")":
            level -= 1
            if level == 0:
                yield first, place + 1
                first = place + 1
    if first < stop:
        yield first, stop


def _explicit_weight(tokens: list[str], start: int, stop: int) -> tuple[int, float | None]:
    """Where the text of a group ends and the weight behind its last colon, which is then cut off; None without one."""
    if stop <= start:
        return stop, None
    text, colon, tail = tokens[stop - 1].rpartition(":")
    weight = _number(tail) if colon and (text or stop - 1 > start) else None
    if weight is None or not math.isfinite(weight):
        return stop, None
    tokens[stop - 1] = text
    return (stop if text else stop - 1), weight


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _merged(texts: list[str], weights: list[float], breaks: set[int], field: str) -> tuple[Span, ...]:
    spans: list[Span] = []
    run: list[str] = []
    for place, (text, weight) in enumerate(zip(texts, weights, strict=True)):
        check_weight(weight, field)
        is_break = place in breaks
        run.append(text)
        last = place + 1 == len(texts)
        if is_break or last or place + 1 in breaks or weights[place + 1] != weight:
            spans.append(Span(text="".join(run), weight=weight, is_break=is_break))
            run = []
    return tuple(spans) or (Span(text=""),)
