"""The reference page of the command line, made from the commands' declarations."""

from __future__ import annotations

from collections.abc import Sequence

from pinxit.cli.commands import COMMANDS, Command, Entry
from pinxit.cli.help import described, spelling
from pinxit.cli.parser import COMMON, Flag
from pinxit.cli.texts import ENGLISH, Say, text


def reference(lang: str = "en") -> str:
    """Exit codes and every command of ours with its flags, as Markdown in the language `lang`."""

    def say(key: str, **values: object) -> str:
        return text(key, lang).format(**values)

    ours = [loaded for entry in COMMANDS if (loaded := _ours(entry)) is not None]
    common = f"## {say('group.common')}\n\n{_flags(COMMON, say)}"
    return "\n\n".join((_exit_codes(say), common, *(_section(command, say) for command in ours))) + "\n"


def exit_codes() -> tuple[int, ...]:
    """Every exit code that has a meaning of its own."""
    return tuple(sorted(int(key.removeprefix("exit.")) for key in ENGLISH if key.startswith("exit.")))


def _ours(entry: Entry) -> Command | None:
    """The command's declaration; None for one that reads its words itself."""
    if not entry.target.startswith("pinxit.cli."):
        return None
    loaded = entry.load()
    return loaded if isinstance(loaded, Command) else None


def _exit_codes(say: Say) -> str:
    rows = [f"| {code} | {say(f'exit.{code}')} |" for code in exit_codes()]
    return "\n".join((f"| {say('page.table.code')} | {say('page.table.meaning')} |", "|---|---|", *rows))


def _section(command: Command, say: Say) -> str:
    words = " ".join(operand.name for operand in command.operands)
    lines = [f"## {f'pinxit {command.name} {words}'.rstrip()}", "", say(command.about)]
    lines += [f"\n`{operand.name}`: {say(operand.text)}" for operand in command.operands]
    groups = dict.fromkeys(flag.group for flag in command.flags)
    for group in groups:
        members = [flag for flag in command.flags if flag.group == group]
        lines += ["", f"### {say(group)}", "", _flags(members, say)]
    return "\n".join((*lines, "", "```sh", *command.examples, "```"))


def _flags(flags: Sequence[Flag], say: Say) -> str:
    rows = [(f"`{spelling(flag)}`", described(flag, say).replace("|", "\\|")) for flag in flags]
    head = f"| {say('page.table.flag')} | {say('page.table.meaning')} |"
    return "\n".join((head, "|---|---|", *(f"| {name} | {meaning} |" for name, meaning in rows)))
