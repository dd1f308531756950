"""What text may come in: cleaning of prompts, checks of names, and how a value is shown in an error."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import cast

from pydantic_core import PydanticCustomError

PROMPT_BYTES = 64 * 1024
"""Longest prompt, in UTF-8 bytes."""
NAME_LENGTH = 200
"""Longest name of a model, sampler or similar, in characters."""

SHOWN_LENGTH = 60
"""Characters of a refused value that an error repeats."""

_LINE_BREAK = re.compile("\r\n?")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_DRIVE = re.compile(r"[A-Za-z]:")


def complaint(message: str, hint: str = "") -> PydanticCustomError:
    """An error for a pydantic validator to raise; `message` follows the field's name ("must be ...")."""
    # A field's value may hold braces, which the template syntax would read; so the text travels as context.
    return PydanticCustomError("pinxit", "{message}", {"message": message, "hint": hint})


def clean_text(text: str) -> str:
    """A prompt as the record stores it: line breaks become `\\n`, nothing else changes.

    Tabs and line breaks are allowed. Other control characters (NUL first of all) and lone surrogates are refused
    rather than removed, because a silently changed prompt is a different recipe. Longer than 64 KiB is refused.
    """
    text = _LINE_BREAK.sub("\n", text)
    length = len(text.encode("utf-8", "surrogatepass"))
    if length > PROMPT_BYTES:
        raise complaint(f"may hold {PROMPT_BYTES} bytes of UTF-8, not {length}.", "Shorten the text.")
    refuse_controls(text, allowed="\t\n")
    return text


def clean_name(text: str) -> str:
    """A name without surrounding blanks: 1 to 200 characters, no control characters."""
    name = text.strip()
    if not name:
        raise complaint("must not be empty.", "Leave it out to get the default.")
    if len(name) > NAME_LENGTH:
        raise complaint(f"may be {NAME_LENGTH} characters long, not {len(name)}.")
    refuse_controls(name)
    return name


def bare_file_name(text: str) -> str:
    """A file name without any folder, at most 255 characters; empty is allowed."""
    if len(text) > 255:
        raise complaint(f"may be 255 characters long, not {len(text)}.")
    refuse_controls(text)
    if "/" in text or "\\" in text or text in {".", ".."}:
        raise complaint(f"must be a file name without folders, not {shown(text)}.", "Recipes never hold paths.")
    return text


def holds_a_path(name: str) -> bool:
    """Whether a model's name says where a file lies on someone's machine. `owner/model` does not."""
    parts = name.split("/")
    return name.startswith(("/", "~")) or "\\" in name or ".." in parts or bool(_DRIVE.match(name))


def refuse_controls(text: str, allowed: str = "") -> None:
    """Raise a complaint when `text` holds a control character that is not in `allowed`, or a lone surrogate."""
    for match in _CONTROLS.finditer(text):
        char = match[0]
        if char not in allowed:
            what = "half of a character pair" if char >= "\ud800" else "a control character"
            raise complaint(
                f"holds {what}, U+{ord(char):04X}, at position {match.start()}.",
                "Remove it; line breaks and tabs are the only ones allowed." if allowed else "Remove it.",
            )


def shown(value: object) -> str:
    """`value` as an error repeats it: short whatever its size, and always printable."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        # str() of a very long integer is refused by Python itself.
        return f"a whole number of about {round(value.bit_length() * 0.30103)} digits"
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes"
    if isinstance(value, Mapping):
        return "an object" if value else "an empty object"
    if isinstance(value, Sequence) and not isinstance(value, str):
        count = len(cast("Sequence[object]", value))
        return f"a list of {count} item{'' if count == 1 else 's'}"
    if isinstance(value, str):
        return repr(value) if len(value) <= SHOWN_LENGTH else repr(value[:SHOWN_LENGTH] + "…")
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int | float) else f"a {type(value).__name__}"
