"""`pinxit data build`: make the bank of drawings that models are trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.numbers import whole, wholes
from pinxit.cli.parser import Arguments, Flag
from pinxit.cli.running import RUN_FLAGS
from pinxit.cli.terminal import Terminal
from pinxit.schema.errors import Missing, UsageError


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:  # noqa: ARG001  every command's shape
    """Build a bank; its folder is the result."""
    out = arguments.value("out")
    if not out:
        raise UsageError(terminal.say("error.needs", command="data build", flag="--out FOLDER"))
    sizes = wholes(arguments, "size", terminal)
    limit = whole(arguments, "limit", terminal)
    try:
        from pinxit.train.data.build import BuildOptions, build
    except ModuleNotFoundError as error:
        message = terminal.say("error.extra-missing", name=error.name or "?")
        raise Missing(message, hint='pip install "pinxit[data]"') from error
    from pinxit.studio.paths import cache_folder

    cache = arguments.value("cache")
    options = BuildOptions(
        folder=Path(out).expanduser(),
        cache=Path(cache).expanduser() if cache else cache_folder() / "drawings",
        limit=limit,
        keep_going=arguments.on("keep-going"),
    )
    sources = arguments.value("sources")
    if sources is not None:
        options = replace(options, sources=tuple(name.strip() for name in sources.split(",") if name.strip()))
    if sizes:
        options = replace(options, sizes=sizes)
    bank = build(options, lambda line: report(line, terminal))
    if terminal.json:
        terminal.send({"event": "finished", "folder": str(options.folder), "drawings": len(bank.drawings)})
    else:
        terminal.result(options.folder)
    return 0


def report(line: str, terminal: Terminal) -> None:
    """One line of progress from a long job."""
    if terminal.json:
        terminal.send({"event": "report", "line": line})
    terminal.note(line)


COMMAND = Command(
    name="data build",
    about="about.data",
    run=run,
    flags=(
        Flag(name="out", text="flag.out", metavar="FOLDER"),
        Flag(name="sources", text="flag.sources", metavar="A,B"),
        Flag(name="size", text="flag.sizes", metavar="N,N", default="256,128"),
        Flag(name="limit", text="flag.limit", metavar="N"),
        Flag(name="cache", text="flag.cache", metavar="FOLDER"),
        Flag(name="keep-going", text="flag.keep-going"),
        *RUN_FLAGS,
    ),
    examples=("pinxit data build --out bank", "pinxit data build --out small --sources noto --size 128 --limit 200"),
)
