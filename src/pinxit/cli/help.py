"""Help pages, made from the same declarations that the parser reads. Chinese characters are two columns wide."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from pinxit.cli.commands import Command, Entry
from pinxit.cli.parser import COMMON, Flag, Operand
from pinxit.cli.texts import Say

WIDTH = 100
INDENT = 26


def root_page(entries: Sequence[Entry], say: Say) -> str:
    """The page of `pinxit --help`: what it is, and its commands."""
    rows = [(entry.name, entry.summary_in(say)) for entry in entries]
    lines = [say("help.usage", usage="pinxit COMMAND ..."), "", say("about"), "", say("help.commands")]
    lines += [line for left, right in rows for line in _row(left, right)]
    version = Flag(name="version", text="flag.version", group="group.common")
    lines += _section((*COMMON, version), say)
    lines += ["", say("help.more"), ""]
    return "\n".join(lines)


def group_page(word: str, about: str | None, entries: Sequence[Entry], say: Say) -> str:
    """The page of `pinxit <word> --help` where `word` begins several commands. `about` is a text id."""
    lines = [say("help.usage", usage=f"pinxit {word} COMMAND ..."), ""]
    if about is not None:
        lines += [*wrapped(say(about), WIDTH), ""]
    lines.append(say("help.commands"))
    lines += [line for entry in entries for line in _row(entry.name, entry.summary_in(say))]
    return "\n".join([*lines, *_section(COMMON, say), "", say("help.more"), ""])


def command_page(command: Command, say: Say) -> str:
    """The page of `pinxit <command> --help`."""
    words = " ".join(_operand(operand) for operand in command.operands)
    usage = f"pinxit {command.name} {say('help.flags')} {words}".rstrip()
    lines = [say("help.usage", usage=usage), "", *wrapped(say(command.about), WIDTH)]
    if command.operands:
        lines.append("")
        lines += [line for operand in command.operands for line in _row(operand.name, say(operand.text))]
    lines += _section(command.flags, say)
    lines += _section(COMMON, say)
    if command.examples:
        lines += ["", say("help.examples"), *(f"  {example}" for example in command.examples)]
    return "\n".join([*lines, ""])


def _operand(operand: Operand) -> str:
    """The operand as the usage shows it: `[NAME]` may be left out, `NAME...` may be repeated."""
    name = f"{operand.name}..." if operand.many else operand.name
    return name if operand.required else f"[{name}]"


def _section(flags: Iterable[Flag], say: Say) -> list[str]:
    groups: dict[str, list[Flag]] = {}
    for flag in flags:
        groups.setdefault(flag.group, []).append(flag)
    lines: list[str] = []
    for group, members in groups.items():
        lines += ["", f"{say(group)}"]
        for flag in members:
            lines += _row(spelling(flag), described(flag, say))
    return lines


def spelling(flag: Flag) -> str:
    """The flag as it is typed: `-o, --output PATH`."""
    short = f"-{flag.short}, " if flag.short else ""
    return f"{short}--{flag.name} {flag.metavar}".rstrip()


def described(flag: Flag, say: Say) -> str:
    """The flag's help with its limits and its default."""
    extras = [flag.limits] if flag.limits else []
    if flag.default:
        extras.append(say("help.default", value=flag.default))
    return say(flag.text) + (f" [{say('word.comma').join(extras)}]" if extras else "")


def _row(left: str, right: str) -> list[str]:
    body = wrapped(right, WIDTH - INDENT)
    head = f"  {left}"
    if columns(head) + 2 > INDENT:
        return [head, *(" " * INDENT + line for line in body)]
    first = head + " " * (INDENT - columns(head)) + body[0]
    return [first, *(" " * INDENT + line for line in body[1:])]


def columns(words: str) -> int:
    """How many columns of a terminal `words` takes."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in words)


def wrapped(words: str, width: int) -> list[str]:
    """`words` in lines of at most `width` columns, broken at blanks and between wide characters."""
    lines, line = [""], 0
    for piece in _pieces(words):
        size = columns(piece)
        if line and line + columns(piece.rstrip()) > width:
            lines[-1] = lines[-1].rstrip()
            lines.append("")
            line = 0
        lines[-1] += piece
        line += size
    return [*lines[:-1], lines[-1].rstrip()]


def _pieces(words: str) -> Iterable[str]:
    """What may not be broken: a word with the blank after it, or one wide character with the marks that close it."""
    piece = ""
    for index, char in enumerate(words):
        piece += char
        following = words[index + 1 : index + 2]
        wide = unicodedata.east_asian_width(char) in "WF"
        starts_wide = following != "" and unicodedata.east_asian_width(following) in "WF" and char.isascii()
        if char == " " or ((wide or starts_wide) and following not in "，。；：、）！？”" and char not in "（“"):
            yield piece
            piece = ""
    if piece:
        yield piece
