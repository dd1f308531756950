"""From words to arguments: long flags with values, switches, operands.

A library would do, but its own messages speak English only and it costs more start-up time than everything else that
`--help` does. Values stay text here; the schema reads and judges them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pinxit.cli.texts import Say
from pinxit.schema.errors import UsageError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """`--name`. Without a `metavar` it is a switch. `text` and `group` are text ids of its help and its heading.

    `limits` and `default` are shown in the help; they decide nothing. `many` may be given again, each time adding.
    """

    name: str
    text: str
    metavar: str = ""
    short: str = ""
    group: str = "group.command"
    limits: str = ""
    default: str = ""
    many: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """A word that stands for itself, such as PROMPT. `text` is the text id of its help.

    The last operand of a command may be `many` words.
    """

    name: str
    text: str
    required: bool = True
    many: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What was given: operands and values by name, and the switches that are on.

    `words` are all operands in their order, which is how those of `many` words are read; `lists` are the values of
    flags that may be given several times.
    """

    operands: Mapping[str, str]
    values: Mapping[str, str]
    switches: frozenset[str]
    words: tuple[str, ...] = ()
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def value(self, name: str) -> str | None:
        """The value of the flag `name`, or None when it was not given."""
        return self.values.get(name)

    def on(self, name: str) -> bool:
        """Whether the switch `name` was given."""
        return name in self.switches


COMMON: tuple[Flag, ...] = (
    Flag(name="help", text="flag.help", short="h", group="group.common"),
    Flag(name="lang", text="flag.lang", metavar="TAG", group="group.common", limits="en|zh-CN"),
    Flag(name="trace", text="flag.trace", group="group.common"),
)
"""Flags of every command."""


def parse(argv: Sequence[str], flags: Sequence[Flag], operands: Sequence[Operand], command: str, say: Say) -> Arguments:
    """Read `argv`. A flag given twice keeps its last value, unless it may be many; after `--` words are operands.

    Raises UsageError, in the language of `say`, with the nearest flag's name for one that does not exist.
    """
    by_name = {f"--{flag.name}": flag for flag in flags} | {f"-{flag.short}": flag for flag in flags if flag.short}
    words: list[str] = []
    values: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    switches: set[str] = set()
    rest = list(argv)
    while rest:
        token = rest.pop(0)
        if token == "--":
            words += rest
            break
        if not token.startswith("-") or token == "-":
            words.append(token)
            continue
        name, equals, value = token.partition("=")
        flag = by_name.get(name)
        if flag is None:
            raise _unknown(name[:60], by_name, command, say)
        if not flag.metavar:
            if equals:
                raise UsageError(say("error.switch", flag=name))
            switches.add(flag.name)
            continue
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UsageError(say("error.value", flag=name, metavar=flag.metavar), hint=_help_hint(command, say))
            value = rest.pop(0)
        if flag.many:
            lists[flag.name] = (*lists.get(flag.name, ()), value)
        else:
            values[flag.name] = value
    assigned = _assigned(words, operands, command, say)
    return Arguments(operands=assigned, values=values, switches=frozenset(switches), words=tuple(words), lists=lists)


def _assigned(words: Sequence[str], operands: Sequence[Operand], command: str, say: Say) -> dict[str, str]:
    for operand in operands[len(words) :]:
        if operand.required:
            raise UsageError(say("error.operand", command=command, operand=operand.name), hint=_help_hint(command, say))
    if len(words) > len(operands) and not (operands and operands[-1].many):
        hint = say("hint.quotes") if operands else _help_hint(command, say)
        raise UsageError(say("error.extra", word=words[len(operands)][:60]), hint=hint)
    return {operand.name: word for operand, word in zip(operands, words, strict=False)}


def _unknown(name: str, known: Mapping[str, Flag], command: str, say: Say) -> UsageError:
    near = nearest(name, (flag for flag in known if flag.startswith("--")))
    if near:
        hint = say("hint.nearest", names=say("word.or").join(near))
    elif name.startswith("--"):
        hint = _help_hint(command, say)
    else:
        hint = say("hint.dash")
    return UsageError(say("error.flag", flag=name), hint=hint)


def _help_hint(command: str, say: Say) -> str:
    return say("hint.help", command=command)
