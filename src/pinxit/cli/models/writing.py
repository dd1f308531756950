"""What the commands that write models share: their flags, how they are asked for, and how the result is told."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Protocol, cast

from pinxit.cli.commands import OpenStudio
from pinxit.cli.models.inspect import find
from pinxit.cli.parser import Arguments, Flag, Operand
from pinxit.cli.terminal import Terminal

if TYPE_CHECKING:
    from pinxit.engine.catalog import Catalog
    from pinxit.studio.convert import Converted, Wish

    class Rewrite(Protocol):
        """Makes one model of another."""

        def __call__(self, source: Path, destination: Path, catalog: Catalog, wish: Wish, /) -> Converted: ...


IN = Operand(name="IN", text="operand.model-in")
OUT = Operand(name="OUT", text="operand.model-out")
DTYPE = Flag(name="dtype", text="flag.dtype", metavar="TYPE", limits="f32|f16|bf16")
LAYOUT = Flag(name="layout", text="flag.layout", metavar="LAYOUT", limits="single|diffusers|same")
SHARDS = Flag(name="max-shard-size", text="flag.max-shard-size", metavar="SIZE")
OVERWRITE = Flag(name="overwrite", text="flag.overwrite")
KEEP_EMA = Flag(name="keep-ema", text="flag.keep-ema")


def wish_of(arguments: Arguments) -> Wish:
    """What the flags ask for. Raises BadInput."""
    from pinxit.studio.convert import Wish
    from pinxit.studio.convert.understanding import parse_size
    from pinxit.weights.numbers import named_dtype

    components = arguments.value("components")
    average = "use" if arguments.on("use-ema") else "keep" if arguments.on("keep-ema") else "drop"
    return Wish(
        layout=arguments.value("layout"),
        dtype=named_dtype(arguments.value("dtype")),
        components=None if components is None else tuple(name.strip() for name in components.split(",")),
        average=average,
        max_shard_bytes=parse_size(arguments.value("max-shard-size")),
        overwrite=arguments.on("overwrite"),
    )


def model_at(word: str, open_studio: OpenStudio) -> Path:
    """The file or folder that `word` is, or that of the listed model which it names."""
    return find(word, open_studio)


def catalog_of(open_studio: OpenStudio) -> Catalog:
    """Everything that plugins registered."""
    return cast("Catalog", open_studio().catalog)


def rewritten(make: Rewrite, arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:
    """Make OUT of IN as the flags ask, and tell what was written; returns the exit code."""
    destination = Path(arguments.operands["OUT"]).expanduser()
    source = model_at(arguments.operands["IN"], open_studio)
    with tidy():
        done = make(source, destination, catalog_of(open_studio), wish_of(arguments))
    return tell(done, destination, terminal)


@contextmanager
def tidy() -> Generator[None]:
    """Let SIGTERM end the work as Ctrl-C does, so that what was half written is removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def tell(converted: Converted, destination: Path, terminal: Terminal) -> int:
    """The path of what was written is the result; what did not come along is a note. Returns the exit code."""
    if terminal.json:
        terminal.send({"event": "finished", "path": str(destination), **converted.to_json()})
        return 0
    for reason, count in converted.left_out.items():
        terminal.note(terminal.say("note.left-out", count=count, reason=reason))
    for note in converted.notes:
        terminal.note(note)
    size = f"{converted.size / 1e6:,.1f} MB"
    parts = ", ".join(converted.components) or converted.layout
    terminal.note(terminal.say("note.written", tensors=converted.tensors, parts=parts, size=size))
    terminal.result(destination)
    return 0
