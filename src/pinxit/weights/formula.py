"""Index formulas in the tables: `input_blocks.{1+3*i+j}.0`. A small arithmetic of its own; nothing is evaluated.

```
sum     = product (("+" | "-") product)*
product = atom ("*" atom)*
atom    = number | name | name "[" sum "]" | "(" sum ")"
```
A name is an axis or a size; a size may be a list, taken at an index.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

Scope: TypeAlias = Mapping[str, int | tuple[int, ...]]
Formula: TypeAlias = Callable[[Scope], int]

_TOKEN = re.compile(r"\s*(\d+|[A-Za-z_]\w*|[-+*()\[\]])")
_BRACES = re.compile(r"\{([^{}]*)\}")


def parse(text: str) -> Formula:
    """The function of a scope that `text` stands for. Raises ValueError where the text does not follow the grammar."""
    tokens, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"unexpected {text[at]!r} in the formula {text!r}")
        tokens.append(match[1])
        at = match.end()
    reader = _Reader(text, tokens)
    formula = reader.sum()
    if reader.peek():
        raise ValueError(f"unexpected {reader.peek()!r} in the formula {text!r}")
    return formula


class _Reader:
    """Tokens of one formula, read from left to right."""

    def __init__(self, text: str, tokens: list[str]) -> None:
        self.text = text
        self.tokens = tokens
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.peek()
        if not token or (expected and token != expected):
            raise ValueError(f"expected {expected or 'a value'} after {self.tokens[: self.at]} in {self.text!r}")
        self.at += 1
        return token

    def sum(self) -> Formula:
        left = self.product()
        while self.peek() in ("+", "-"):
            left = self._and_next(left)
        return left

    def _and_next(self, left: Formula) -> Formula:
        sign = 1 if self.take() == "+" else -1
        right = self.product()
        return lambda scope: left(scope) + sign * right(scope)

    def product(self) -> Formula:
        factors = [self.atom()]
        while self.peek() == "*":
            self.take()
            factors.append(self.atom())
        if len(factors) == 1:
            return factors[0]
        first, *rest = factors

        def multiply(scope: Scope) -> int:
            result = first(scope)
            for factor in rest:
                result *= factor(scope)
            return result

        return multiply

    def atom(self) -> Formula:
        token = self.take()
        if token == "(":
            inner = self.sum()
            self.take(")")
            return inner
        if token.isdigit():
            number = int(token)
            return lambda _: number
        if not token.isidentifier():
            raise ValueError(f"unexpected {token!r} in the formula {self.text!r}")
        if self.peek() != "[":
            return lambda scope: _whole(token, scope[token])
        self.take("[")
        index = self.sum()
        self.take("]")
        return lambda scope: _item(token, scope[token], index(scope))


def _whole(name: str, value: int | tuple[int, ...]) -> int:
    if isinstance(value, tuple):
        raise TypeError(f"{name} is a list: take an item with {name}[...]")
    return value


def _item(name: str, value: int | tuple[int, ...], index: int) -> int:
    if isinstance(value, int):
        raise TypeError(f"{name} is a number, not a list")
    if not 0 <= index < len(value):
        raise IndexError(f"{name} has {len(value)} items, not an item {index}")
    return value[index]


class Template:
    """A name with formulas in braces. Two templates with one text are equal."""

    __slots__ = ("_formulas", "_literals", "text")

    def __init__(self, text: str) -> None:
        pieces = _BRACES.split(text)
        self.text = text
        self._literals = tuple(pieces[0::2])
        self._formulas = tuple(parse(piece) for piece in pieces[1::2])
        if any(brace in literal for literal in self._literals for brace in "{}"):
            raise ValueError(f"unbalanced braces in {text!r}")

    def fill(self, scope: Scope) -> str:
        """The name with every formula replaced by its value."""
        name = self._literals[0]
        for formula, literal in zip(self._formulas, self._literals[1:], strict=True):
            name += str(formula(scope)) + literal
        return name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Template({self.text!r})"
