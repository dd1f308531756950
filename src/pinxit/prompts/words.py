"""From raw text to the words that CLIP's byte-pair encoding works on: cleaning, cutting, byte symbols.

A word is one of the two special strings, an English contraction suffix, a run of letters (Unicode category L), one
number character (category N) or a run of anything else but spaces. Everything here takes time linear in the text.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from itertools import groupby
from typing import Literal

Cleaning = Literal["openai", "fast"]
"""`openai`: ftfy, HTML entities, white space, lower case. `fast`: NFC, white space, lower case (transformers)."""

BOS = "<|startoftext|>"
EOS = "<|endoftext|>"
WORD_END = "</w>"

_SPACE = re.compile(r"[^\S\x1c-\x1f]+")
_SPECIAL = re.compile(re.escape(BOS) + "|" + re.escape(EOS))
_SUFFIX = re.compile(r"'(?:[st]|re|ve|m|ll|d)")
_LONG_S = "ſ"
_ASCII_WORD = re.compile(rf"{_SPECIAL.pattern}|'(?:[st]|re|ve|m|ll|d)|[a-z]+|[0-9]|[^\sa-z0-9]+", re.ASCII)
_LEADING_ZEROS = re.compile(r"&#0+(?=[0-9])")
_BEYOND_UNICODE = re.compile(r"&#[1-9][0-9]{7,};?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_UNSORTED_RUN = 30


def clean(text: str, rule: Cleaning) -> str:
    """`text` as `rule` hands it to the word splitter. Lone surrogates become U+FFFD under either rule."""
    if rule == "fast":
        composed = unicodedata.normalize("NFC", _sorted_marks(_SURROGATE.sub("\ufffd", text)))
        return "".join(map(str.lower, _SPACE.sub(" ", composed)))
    import ftfy  # its tables cost import time that nobody but an encoder should pay

    fixed = _unescape(_unescape(ftfy.fix_text(_sorted_marks(text))))
    return _SPACE.sub(" ", _SURROGATE.sub("\ufffd", fixed).strip()).strip().lower()


def split_words(text: str, rule: Cleaning) -> Iterator[str]:
    """The words of `text`, cleaned by `rule`, in order; spaces are dropped.

    `openai` finds the special strings after cleaning, where a word may begin. `fast` finds them anywhere in the raw
    text and only in lower case; others it cuts into three words, like transformers.
    """
    if rule == "openai":
        yield from _words(clean(text, rule), rule)
        return
    start = 0
    for special in _SPECIAL.finditer(text):
        yield from _plain_words(text[start : special.start()])
        yield special.group()
        start = special.end()
    yield from _plain_words(text[start:])


def byte_symbols() -> tuple[str, ...]:
    """The visible character that stands for each byte value 0..255 (the byte-to-unicode table of GPT-2)."""
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    symbols: list[str] = []
    hidden = 0
    for byte in range(256):
        if byte in visible:
            symbols.append(chr(byte))
        else:
            symbols.append(chr(256 + hidden))
            hidden += 1
    return tuple(symbols)


def alphabet(symbols: tuple[str, ...]) -> tuple[str, ...]:
    """The first 512 vocabulary entries: the visible bytes, then the hidden ones, then both again as word ends."""
    ordered = sorted(symbols, key=ord)
    return (*ordered, *(symbol + WORD_END for symbol in ordered))


def _plain_words(text: str) -> Iterator[str]:
    for word in _words(clean(text, "fast"), "fast"):
        if word in (BOS, EOS):
            yield from (word[:2], word[2:-2], word[-2:])
        else:
            yield word


def _words(text: str, rule: Cleaning) -> Iterator[str]:
    if text.isascii():
        for match in _ASCII_WORD.finditer(text):
            yield match.group()
        return
    here, end = 0, len(text)
    while here < end:
        if _is_space(text[here]):
            here += 1
            continue
        stop = _word_end(text, here, rule)
        yield text[here:stop]
        here = stop


def _word_end(text: str, start: int, rule: Cleaning) -> int:
    """Where the word that begins at `start` stops. `start` is not a space."""
    char = text[start]
    here, end = start + 1, len(text)
    if char == "<" and (special := _SPECIAL.match(text, start)):
        return special.end()
    if char == "'":
        if suffix := _SUFFIX.match(text, start):
            return suffix.end()
        if rule == "openai" and text.startswith(_LONG_S, here):  # its pattern ignores case, and the long s folds to s
            return here + 1
    if char.isalpha():
        while here < end and text[here].isalpha():
            here += 1
    elif not _is_number(char):
        while here < end and not (text[here].isalpha() or _is_space(text[here]) or _is_number(text[here])):
            here += 1
    return here


def _is_number(char: str) -> bool:
    return char.isnumeric() and unicodedata.category(char).startswith("N")


def _is_space(char: str) -> bool:
    """Whether `char` has the Unicode property White_Space; `str.isspace` counts four control characters more."""
    return char.isspace() and not "\x1c" <= char <= "\x1f"


def _unescape(text: str) -> str:
    """`html.unescape` that survives decimal references of any length (Python refuses integers of 4300 digits)."""
    if "&#" in text:
        text = _BEYOND_UNICODE.sub("\ufffd", _LEADING_ZEROS.sub("&#", text))
    return html.unescape(text)


def _sorted_marks(text: str) -> str:
    """`text` with every long run of combining marks in canonical order, which its NFC form has anyway.

    The normaliser sorts such runs by insertion, so a long one in falling order would take quadratic time.
    """
    if text.isascii():
        return text
    parts: list[str] = []
    for is_mark, run in groupby(text, key=lambda char: unicodedata.combining(char) > 0):
        chars = list(run)
        if is_mark and len(chars) > _LONGEST_UNSORTED_RUN:
            chars.sort(key=unicodedata.combining)
        parts.extend(chars)
    return "".join(parts)
