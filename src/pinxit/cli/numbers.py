"""Whole numbers given to commands that have no schema of their own."""

from __future__ import annotations

import re

from pinxit.cli.parser import Arguments
from pinxit.cli.terminal import Terminal
from pinxit.schema.errors import BadInput
from pinxit.schema.text import shown

_WHOLE = re.compile(r"[0-9]{1,12}", re.ASCII)


def whole(arguments: Arguments, name: str, terminal: Terminal, *, least: int = 1) -> int | None:
    """The flag's value, or None when it was not given. Raises BadInput when it is no whole number from `least` up."""
    word = arguments.value(name)
    return None if word is None else _read(word, name, terminal, least)


def wholes(arguments: Arguments, name: str, terminal: Terminal) -> tuple[int, ...]:
    """The flag's values, separated by commas; empty when it was not given. Raises BadInput."""
    word = arguments.value(name)
    return () if word is None else tuple(_read(part.strip(), name, terminal, 1) for part in word.split(","))


def _read(word: str, name: str, terminal: Terminal, least: int) -> int:
    if not _WHOLE.fullmatch(word) or int(word) < least:
        raise BadInput(terminal.say("error.whole", flag=f"--{name}", least=least, given=shown(word)), field=name)
    return int(word)
