"""What a small model was taught: which words of a prompt mean nothing to it, and what comes nearest.

A model that knows a few dozen things tells so in `words.json` beside its weights:

```
names   one object for each thing: `en` and `zh` names, best first, and `many`, the English plural
words   every other word, or Chinese phrase, that its captions used
near    words it does not know, each with the number of the thing that comes nearest
```
Large models bring no such file, and nothing is said about their prompts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

FILE = "words.json"
LISTED = 12
"""Things that a note names."""

_TOKEN = re.compile(r"<[^<>]*>|[A-Za-z]+(?:['’-][A-Za-z]+)*|[\u4e00-\u9fff]+")
_COMMANDS = frozenset({"AND", "BREAK"})
_LONGEST = 5
_LONGEST_RUN = 8
_ALIKE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One thing that the model can paint, by its names."""

    en: tuple[str, ...]
    zh: tuple[str, ...]
    many: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A word of a prompt, from `start` to `end`, that the model was never taught; `plural` when it seems to be one."""

    word: str
    start: int
    end: int
    plural: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that a model was taught. `names` are the number of a thing by every name of it, in lower case."""

    things: tuple[Thing, ...]
    names: Mapping[str, int]
    words: frozenset[str]
    near: Mapping[str, int]

    @property
    def listing(self) -> str:
        """The first things, and how many there are."""
        first = ", ".join(thing.en[0] for thing in self.things[:LISTED])
        return f"{len(self.things)} things, such as {first}" if len(self.things) > LISTED else first


def read_known(folder: Path) -> Known | None:
    """What the model in `folder` tells; None where it tells nothing that can be understood."""
    try:
        told: Any = json.loads((folder / FILE).read_text("utf-8"))
        things = tuple(Thing(en=tuple(row["en"]), zh=tuple(row["zh"]), many=str(row["many"])) for row in told["names"])
        numbered = reversed(list(enumerate(things)))
        names = {name.lower(): at for at, thing in numbered for name in (*thing.en, *thing.zh, thing.many)}
        near = {str(word): int(at) for word, at in told["near"].items() if 0 <= int(at) < len(things)}
        return Known(things=things, names=names, words=frozenset(map(str, told["words"])), near=near)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def unknown_words(prompt: str, known: Known) -> list[Unknown]:
    """The words of `prompt` that the model was never taught, in their order."""
    found: list[Unknown] = []
    tokens = [match for match in _TOKEN.finditer(prompt) if match[0] not in _COMMANDS and match[0][0] != "<"]
    at = 0
    while at < len(tokens):
        if tokens[at][0][0] >= "\u4e00":
            found += _unknown_chinese(tokens[at], known)
            at += 1
            continue
        if length := _phrase(tokens[at:], prompt, known):
            at += length
            continue
        word = tokens[at][0].lower()
        singulars = _singulars(word)
        if word not in known.words and not any(one in known.words or one in known.names for one in singulars):
            plural = word not in known.near and any(one in known.near for one in singulars)
            found.append(Unknown(word=word, start=tokens[at].start(), end=tokens[at].end(), plural=plural))
        at += 1
    return found


def _phrase(tokens: list[re.Match[str]], prompt: str, known: Known) -> int:
    """How many of the first tokens together name a thing, as the prompt has them; 0 for none."""
    for length in range(min(_LONGEST, len(tokens)), 0, -1):
        text = prompt[tokens[0].start() : tokens[length - 1].end()].lower()
        if text in known.names or (length > 1 and text in known.words):
            return length
    return 0


def _unknown_chinese(run: re.Match[str], known: Known) -> Iterator[Unknown]:
    """What is left of a run of characters when every known name and phrase, the longest first, is taken out."""
    text, at, begun = run[0], 0, None
    while at <= len(text):
        parts = (text[at : at + n] for n in range(min(_LONGEST_RUN, len(text) - at), 0, -1))
        length = next((len(part) for part in parts if part in known.names or part in known.words), 0)
        if (length or at == len(text)) and begun is not None:
            word = text[begun:at]
            yield Unknown(word=word, start=run.start() + begun, end=run.start() + at, plural=False)
            begun = None
        elif not length and begun is None and at < len(text):
            begun = at
        at += length or 1


def _singulars(word: str) -> tuple[str, ...]:
    """What `word` may be the plural of, itself first."""
    found = [word]
    for ending, instead in (("ies", "y"), ("ves", "f"), ("es", ""), ("s", ""), ("men", "man")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            found.append(word.removesuffix(ending) + instead)
    return tuple(found)


def nearest_thing(word: str, known: Known) -> Thing | None:
    """The thing that comes nearest in meaning, or else in spelling; None when nothing does."""
    for one in _singulars(word):
        if one in known.near:
            return known.things[known.near[one]]
    close = get_close_matches(word, known.names, n=1, cutoff=_ALIKE)
    return known.things[known.names[close[0]]] if close else None


def with_nearest(prompt: str, known: Known) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The prompt with its unknown words replaced where something comes near, and what was put for what."""
    changes: list[tuple[str, str]] = []
    for found in reversed(unknown_words(prompt, known)):
        thing = nearest_thing(found.word, known)
        if thing is None:
            continue
        name = thing.zh[0] if found.word[0] >= "\u4e00" and thing.zh else thing.many if found.plural else thing.en[0]
        before = re.sub(r"\b([Aa])n?(\s+)$", _article(name), prompt[: found.start])
        prompt = before + name + prompt[found.end :]
        changes.append((found.word, name))
    return prompt, tuple(reversed(changes))


def _article(name: str) -> str:
    return r"\1n\2" if name[:1] in "aeiou" else r"\1\2"


def notes_on(prompt: str, known: Known) -> list[str]:
    """What a plan says of words that mean nothing to the model."""
    words = list(dict.fromkeys(found.word for found in unknown_words(prompt, known)))
    if not words:
        return []
    listed = ", ".join(repr(word) for word in words)
    return [f"the model was never taught {listed}; it knows {known.listing}"]
