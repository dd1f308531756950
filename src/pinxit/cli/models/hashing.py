"""`pinxit models hash`: every fingerprint by which people know a model file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.models.listing import MODELS_FLAG, library_of
from pinxit.cli.parser import Arguments, Flag, Operand
from pinxit.cli.running import RUN_FLAGS, stoppable
from pinxit.cli.terminal import Terminal
from pinxit.schema.errors import Missing, PinxitError, UsageError

if TYPE_CHECKING:
    from pinxit.studio.hashes import Hashes
    from pinxit.studio.library import Library


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:  # noqa: ARG001  every command's shape
    """Tell the fingerprints of files, of models that are called by name, or of all; returns the exit code.

    With `--all` what cannot be read is said and passed over.
    """
    library = library_of(arguments, terminal)
    if not arguments.words and not arguments.on("all"):
        raise UsageError(terminal.say("error.nothing-to-hash"), hint=terminal.say("hint.nothing-to-hash"))
    code = 0
    with stoppable(terminal) as stop:
        for path in _paths(library, arguments):
            try:
                hashes = library.cache.hashes(path, stop=stop)
            except PinxitError as error:
                if not arguments.on("all") or stop.wanted:
                    raise
                code = terminal.fail_with(error)
                continue
            finally:
                library.cache.save()
            _tell(path, hashes, terminal)
    return code


def _paths(library: Library, arguments: Arguments) -> Iterator[Path]:
    for word in arguments.words:
        yield from _named(library, word)
    if arguments.on("all"):
        for entry in library.everything():
            yield from library.weights(entry)


def _named(library: Library, word: str) -> tuple[Path, ...]:
    """The files that `word` is or names. Raises UnknownName, Missing and ModelError."""
    path = Path(word).expanduser()
    if path.is_file():
        return (path,)
    if "/" in word and not path.is_dir() and path.parent.is_dir():
        raise Missing(f"There is no file {path}.", hint="Check the path.")
    entry = library.find(library.adopt(path) if path.is_dir() else word, None)
    return library.weights(entry)


def _tell(path: Path, hashes: Hashes, terminal: Terminal) -> None:
    if terminal.json:
        terminal.send({"event": "hashed", "name": path.name, "path": str(path), "hashes": hashes.to_json()})
        return
    terminal.result(path)
    for name, digits in hashes.to_json().items():
        terminal.result(f"  {name:<8}{digits if digits is not None else terminal.say('hash.none')}")


COMMAND = Command(
    name="models hash",
    about="about.models-hash",
    run=run,
    operands=(Operand(name="FILE", text="operand.hashed", required=False, many=True),),
    flags=(Flag(name="all", text="flag.all"), MODELS_FLAG, *RUN_FLAGS),
    examples=("pinxit models hash model.safetensors", "pinxit models hash dream --json", "pinxit models hash --all"),
)
