"""One call of the command line: find the command, run it, and turn whatever happens into an exit code."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from pinxit import __version__
from pinxit.cli.commands import COMMANDS, GROUPS, Command, Entry, OpenStudio, Studio
from pinxit.cli.help import command_page, group_page, root_page
from pinxit.cli.parser import COMMON, Flag, parse
from pinxit.cli.terminal import Terminal, known_language
from pinxit.cli.texts import LANGUAGES, Say
from pinxit.schema.errors import Interrupted, OutOfMemory, OutOfSpace, PinxitError, UsageError, nearest

if TYPE_CHECKING:
    from pinxit.engine.means import Means

INTERNAL = 70
"""Exit code of an error that nobody foresaw: the name EX_SOFTWARE of old."""
PIPE_CLOSED = 141
"""Exit code when the reader of our output went away: 128 + SIGPIPE."""

VERSION = Flag(name="version", text="flag.version", group="group.common")


def run(
    argv: Sequence[str],
    terminal: Terminal,
    *,
    open_studio: OpenStudio | None = None,
    commands: Sequence[Entry] = COMMANDS,
) -> int:
    """Run the command that `argv` names and return the exit code; no error leaves this function."""
    terminal = terminal.mannered(argv)
    try:
        return _dispatch(list(argv), terminal, open_studio or _studio, commands)
    except BrokenPipeError:
        _let_go_of_output()
        return PIPE_CLOSED
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  the last line of defence: no trace reaches a user
        return _explained(error, terminal)


def _dispatch(argv: list[str], terminal: Terminal, open_studio: OpenStudio, commands: Sequence[Entry]) -> int:
    say = terminal.say
    count = _leading_flags(argv)
    asked = parse(argv[:count], (*COMMON, VERSION), (), "", say)
    words = argv[count:]
    if asked.on("version"):
        terminal.result(f"pinxit {__version__}")
        return 0
    if not words:
        terminal.result(root_page(commands, say), lines=True)
        return 0 if asked.on("help") else UsageError.exit_code
    entry = _entry(words, commands)
    group = _group(words[0], commands)
    if entry is None and group and (asked.on("help") or _asks_for_help(words[:2])):
        terminal.result(group_page(words[0], GROUPS.get(words[0]), group, say), lines=True)
        return 0
    if entry is None:
        raise _no_command(words, group, commands, say)
    rest = words[len(entry.name.split()) :]
    loaded = entry.load()
    if not isinstance(loaded, Command):
        return loaded(["--help", *rest] if asked.on("help") else rest)
    if asked.on("help") or _asks_for_help(rest):
        terminal.result(command_page(loaded, say), lines=True)
        return 0
    arguments = parse(rest, (*loaded.flags, *COMMON), loaded.operands, loaded.name, say)
    for tag in (asked.value("lang"), arguments.value("lang")):
        if tag is not None and not known_language(tag):
            raise UsageError(say("error.language", tag=tag), hint=say("hint.language", names=", ".join(LANGUAGES)))
    return loaded.run(arguments, terminal, open_studio)


def _leading_flags(argv: Sequence[str]) -> int:
    """How many words stand before the command: flags, and the value of `--lang`."""
    count = 0
    while count < len(argv) and argv[count].startswith("-"):
        count += 2 if argv[count] == "--lang" else 1
    return min(count, len(argv))


def _asks_for_help(words: Sequence[str]) -> bool:
    words = words[: words.index("--")] if "--" in words else words
    return "--help" in words or "-h" in words


def _entry(words: Sequence[str], commands: Sequence[Entry]) -> Entry | None:
    """The command that `words` begin with."""
    return next((entry for entry in commands if words[: len(name := entry.name.split())] == name), None)


def _group(word: str, commands: Sequence[Entry]) -> list[Entry]:
    """The commands of several words whose first one is `word`."""
    return [entry for entry in commands if entry.name.split()[0] == word and " " in entry.name]


def _no_command(words: Sequence[str], group: Sequence[Entry], commands: Sequence[Entry], say: Say) -> UsageError:
    """The error that says what `words` might have meant."""
    if group and len(words) == 1:
        known = ", ".join(entry.name for entry in group)
        return UsageError(say("error.family", word=words[0]), hint=say("hint.family", names=known))
    asked = " ".join(words[:2]) if group else words[0]
    near = nearest(asked, (entry.name for entry in group or commands))
    if near:
        hint = say("hint.nearest", names=say("word.or").join(f"pinxit {name}" for name in near))
    elif group:
        hint = say("hint.help", command=words[0])
    elif " " in words[0] or not words[0].isascii():
        hint = say("hint.paint", prompt=words[0][:200])
    else:
        hint = say("hint.commands")
    return UsageError(say("error.command", word=asked[:60]), hint=hint)


def _explained(error: BaseException, terminal: Terminal) -> int:
    """Tell the user about `error`; returns the exit code."""
    if terminal.trace:
        traceback.print_exception(error, file=terminal.err)
    known = _as_ours(error, terminal)
    if known is not None:
        return terminal.fail_with(known)
    lines = str(error).strip().splitlines()
    kind = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    terminal.fail("internal", terminal.say("error.internal", kind=kind), terminal.say("hint.trace"))
    return INTERNAL


def _as_ours(error: BaseException, terminal: Terminal) -> PinxitError | None:
    """The typed error that says the same, if there is one."""
    if isinstance(error, PinxitError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted(terminal.say("error.interrupted"))
    if isinstance(error, MemoryError):
        return OutOfMemory(terminal.say("error.memory"), hint=terminal.say("hint.memory"))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutOfSpace(terminal.say("error.space"), hint=terminal.say("hint.space"))
    return None


def _let_go_of_output() -> None:
    """Point standard output at nothing, so that Python's own flush on exit does not complain about the closed pipe."""
    with suppress(OSError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.close(nothing)


def _studio(means: Means | None = None, /) -> Studio:
    from pinxit.studio import Studio as RealStudio

    return RealStudio(means=means)
