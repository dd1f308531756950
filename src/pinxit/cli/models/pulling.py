"""`pinxit models pull`: fetch a model from a hub, pinned to one commit."""

from __future__ import annotations

from pathlib import Path

from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.models.inspect import size_text
from pinxit.cli.parser import Arguments, Flag, Operand
from pinxit.cli.running import RUN_FLAGS, stoppable
from pinxit.cli.terminal import Terminal
from pinxit.cli.watching import counter


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:  # noqa: ARG001  every command's shape
    """Fetch the files that are missing; the folder is the result. Returns the exit code."""
    from pinxit.studio.hashes import HashCache
    from pinxit.studio.paths import cache_folder, model_folder
    from pinxit.studio.pull import pull

    repository = arguments.operands["REPO"].strip().strip("/")
    to = arguments.value("to")
    folder = Path(to).expanduser() if to else model_folder().joinpath(*_safe_parts(repository))
    include = [pattern for word in (arguments.value("include") or "").split(",") if (pattern := word.strip())]
    told: set[str] = set()

    with stoppable(terminal) as stop, counter(terminal, repository) as count:

        def report(name: str, done: int, size: int) -> None:
            if name not in told:
                told.add(name)
                terminal.note(terminal.say("note.fetching", name=name, size=size_text(size)))
            count(done, size)

        found = pull(
            repository,
            folder,
            cache=HashCache(cache_folder() / "hashes.json"),
            revision=arguments.value("revision"),
            include=include,
            report=report,
            stop=stop,
        )
    terminal.note(
        terminal.say("note.pulled", count=len(found.fetched), total=len(found.files), commit=found.commit[:10])
    )
    if terminal.json:
        terminal.send({"event": "pulled", **found.to_json()})
    else:
        terminal.result(found.folder)
    return 0


def _safe_parts(repository: str) -> list[str]:
    """The folders that a repository's name makes; a name that could lead elsewhere is refused when it is asked for."""
    return [part for part in repository.split("/") if part.strip(".")] or ["_"]


COMMAND = Command(
    name="models pull",
    about="about.models-pull",
    run=run,
    operands=(Operand(name="REPO", text="operand.repository"),),
    flags=(
        Flag(name="revision", text="flag.revision", metavar="REV"),
        Flag(name="include", text="flag.include", metavar="PATTERNS"),
        Flag(name="to", text="flag.to", metavar="DIR"),
        *RUN_FLAGS,
    ),
    examples=(
        "pinxit models pull owner/name",
        'pinxit models pull owner/name --include "*.fp16.safetensors,*.json,*.txt" --revision main',
    ),
)
