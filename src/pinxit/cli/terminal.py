"""Where words go: results to standard output, everything else to standard error, and nothing that drives a terminal."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, TextIO, cast

from pinxit.cli.texts import LANGUAGES, language, text
from pinxit.schema.errors import PinxitError

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_KEPT = "\n\t"


def safe(words: object, *, lines: bool = False) -> str:
    """`words` without control characters, direction marks and lone surrogates; `lines` keeps line breaks and tabs."""
    return _CONTROLS.sub(lambda match: match[0] if lines and match[0] in _KEPT else "", str(words))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """The streams of one call, its language, and how it wants to be spoken to.

    `json` asks for one JSON value per line on `out`; `quiet` for errors only on `err`; `trace` for Python's own account
    of an error.
    """

    out: TextIO
    err: TextIO
    input: BinaryIO
    lang: str = "en"
    json: bool = False
    quiet: bool = False
    trace: bool = False

    def say(self, key: str, **values: object) -> str:
        """The text called `key` in this terminal's language, its `{places}` filled."""
        return text(key, self.lang).format(**values)

    def result(self, words: object = "", *, lines: bool = False) -> None:
        """One line of the result."""
        print(safe(words, lines=lines), file=self.out, flush=True)

    def note(self, words: object) -> None:
        """One line for people, unless they asked for quiet or for JSON."""
        if not (self.quiet or self.json):
            print(safe(words), file=self.err, flush=True)

    def send(self, value: Mapping[str, object]) -> None:
        """One line of JSON, in ASCII: other characters are escaped, so that no terminal acts on them."""
        print(json.dumps(value, allow_nan=False), file=self.out, flush=True)

    def fail(self, code: str, message: str, hint: str = "", field: str | None = None) -> None:
        """Say what went wrong: one line and one with the hint, or the failed event."""
        if self.json:
            self.send({"event": "failed", "code": code, "message": message, "hint": hint, "field": field})
            return
        print(safe(self.say("error.line", message=message)), file=self.err)
        if hint:
            print(safe(self.say("error.hint", hint=hint)), file=self.err)
        self.err.flush()

    def fail_with(self, error: PinxitError) -> int:
        """Say what `error` says; returns its exit code."""
        self.fail(error.code, error.message, error.hint, error.field)
        return error.exit_code

    def mannered(self, argv: Sequence[str]) -> Terminal:
        """The same terminal with the manners that the switches in `argv` ask for, so that errors have them too."""
        words = set(_before_operands(argv))
        return replace(self, json="--json" in words, quiet=bool({"--quiet", "-q"} & words), trace="--trace" in words)


def standard(argv: Sequence[str]) -> Terminal:
    """The process's own streams, in the language that `argv` or the environment asks for."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return Terminal(
        out=sys.stdout,
        err=sys.stderr,
        input=cast(BinaryIO, sys.stdin.buffer) if sys.stdin is not None else io.BytesIO(),
        lang=language_of(argv, os.environ),
    )


def language_of(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """The language to speak: `--lang`, else PINXIT_LANG, LC_ALL, LC_MESSAGES, LANG; English where none is ours."""
    words = _before_operands(argv)
    for index, word in enumerate(words):
        if word.startswith("--lang="):
            return language(word.removeprefix("--lang="))
        if word == "--lang" and index + 1 < len(words):
            return language(words[index + 1])
    names = ("PINXIT_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
    return language(next((environment[name] for name in names if environment.get(name)), "en"))


def known_language(tag: str) -> bool:
    """Whether `tag` names one of our languages, not merely one for which English stands in."""
    return tag.replace("_", "-").split(".")[0].split("-")[0].lower() in {ours.split("-")[0] for ours in LANGUAGES}


def _before_operands(argv: Sequence[str]) -> Sequence[str]:
    return argv[: argv.index("--")] if "--" in argv else argv
