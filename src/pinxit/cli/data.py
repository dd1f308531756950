"""`pinxit data build`, `pack`, `sheet` and `words`: the bank of drawings that models are trained on, and its words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.numbers import whole, wholes
from pinxit.cli.parser import Arguments, Flag, Operand
from pinxit.cli.running import RUN_FLAGS
from pinxit.cli.terminal import Terminal
from pinxit.schema.errors import BadInput, Missing, UsageError

if TYPE_CHECKING:
    from pinxit.train.data.build import BuildOptions

SHEET_BYTES = 60_000
"""Most bytes of a contact sheet."""


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:  # noqa: ARG001  every command's shape
    """Build a bank; its folder is the result."""
    out = _out(arguments, terminal, "data build")
    sizes = wholes(arguments, "size", terminal)
    limit = whole(arguments, "limit", terminal)
    options = _options(arguments, terminal, out)
    from pinxit.train.data.build import build

    pack = arguments.value("pack")
    options = replace(options, limit=limit, pack=Path(pack).expanduser() if pack else None)
    if sizes:
        options = replace(options, sizes=sizes)
    bank = build(options, lambda line: report(line, terminal))
    _finished(terminal, options.folder, drawings=len(bank.drawings))
    return 0


def run_pack(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:  # noqa: ARG001  as above
    """Pack the drawings as they come from their packages; the file is the result."""
    options = _options(arguments, terminal, _out(arguments, terminal, "data pack", "FILE"))
    from pinxit.train.data.listing import list_drawings
    from pinxit.train.data.pack import write_pack

    listing = list_drawings(
        options.table,
        options.labels,
        options.cache,
        lambda line: report(line, terminal),
        wanted=options.sources,
        keep_going=options.keep_going,
    )
    options.folder.parent.mkdir(parents=True, exist_ok=True)
    size = write_pack(listing, options.folder)
    drawings = sum(len(listing.packages[source.name].candidates) for source in listing.sources)
    terminal.note(terminal.say("data.packed", count=drawings, megabytes=f"{size / 1e6:.1f}"))
    _finished(terminal, options.folder, drawings=drawings, bytes=size)
    return 0


def run_sheet(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:  # noqa: ARG001  as above
    """Write a contact sheet for each source of a bank, and a page that shows them; the folder is the result."""
    out = _out(arguments, terminal, "data sheet")
    from pinxit.train.data.bank import Bank
    from pinxit.train.data.sheet import write_sheets

    write_sheets(Bank.open(Path(arguments.operands["BANK"]).expanduser()), out, limit=SHEET_BYTES)
    _finished(terminal, out)
    return 0


def run_words(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:  # noqa: ARG001  as above
    """Write the words that a model was taught into its folder; the file is the result. Raises BadInput, Missing."""
    from pinxit.evaluate.asks import domain_of
    from pinxit.prompts.known import FILE
    from pinxit.train.data.bank import Bank
    from pinxit.train.data.fetch import fetch
    from pinxit.train.data.known import WORDNET, as_text, known_words, taught
    from pinxit.train.data.names import read_labels
    from pinxit.train.data.sources import LABELS

    folder = Path(arguments.operands["MODEL"]).expanduser()
    domain = domain_of(folder)
    if domain is None:
        raise BadInput(terminal.say("error.untrained", folder=folder), hint=terminal.say("hint.untrained"))
    if not (data := arguments.value("data")):
        raise UsageError(terminal.say("error.needs", command="data words", flag="--data BANK"))
    bank = Bank.open(Path(data).expanduser())
    concepts = taught(bank, domain.concepts, domain.styles)
    options = _options(arguments, terminal, folder)
    labels = read_labels(fetch(LABELS, options.cache))
    told = known_words(concepts, domain.styles, fetch(WORDNET, options.cache), labels)
    (folder / FILE).write_text(as_text(told), "utf-8")
    _finished(terminal, folder / FILE, things=len(concepts))
    return 0


def _out(arguments: Arguments, terminal: Terminal, command: str, metavar: str = "FOLDER") -> Path:
    out = arguments.value("out")
    if not out:
        raise UsageError(terminal.say("error.needs", command=command, flag=f"--out {metavar}"))
    return Path(out).expanduser()


def _options(arguments: Arguments, terminal: Terminal, out: Path) -> BuildOptions:
    try:
        from pinxit.train.data.build import BuildOptions
    except ModuleNotFoundError as error:
        message = terminal.say("error.extra-missing", name=error.name or "?")
        raise Missing(message, hint='pip install "pinxit[data]"') from error
    sources = arguments.value("sources")
    return BuildOptions(
        folder=out,
        cache=drawings_cache(arguments),
        sources=None if sources is None else tuple(name.strip() for name in sources.split(",") if name.strip()),
        keep_going=arguments.on("keep-going"),
    )


def drawings_cache(arguments: Arguments) -> Path:
    """Where fetched packages are kept."""
    from pinxit.studio.paths import cache_folder

    cache = arguments.value("cache")
    return Path(cache).expanduser() if cache else cache_folder() / "drawings"


def _finished(terminal: Terminal, path: Path, **facts: int) -> None:
    if terminal.json:
        terminal.send({"event": "finished", "folder": str(path), **facts})
    else:
        terminal.result(path)


def report(line: str, terminal: Terminal) -> None:
    """One line of progress from a long job."""
    if terminal.json:
        terminal.send({"event": "report", "line": line})
    terminal.note(line)


_FROM_PACKAGES = (
    Flag(name="sources", text="flag.sources", metavar="A,B"),
    Flag(name="cache", text="flag.cache", metavar="FOLDER"),
    Flag(name="keep-going", text="flag.keep-going"),
)

COMMAND = Command(
    name="data build",
    about="about.data",
    run=run,
    flags=(
        Flag(name="out", text="flag.out", metavar="FOLDER"),
        Flag(name="pack", text="flag.pack", metavar="FILE"),
        Flag(name="size", text="flag.sizes", metavar="N,N", default="256,128"),
        Flag(name="limit", text="flag.limit", metavar="N"),
        *_FROM_PACKAGES,
        *RUN_FLAGS,
    ),
    examples=(
        "pinxit data build --out bank",
        "pinxit data build --out small --sources noto --size 128 --limit 200",
        "pinxit data build --out bank --pack drawings.tar.xz",
    ),
)

PACK = Command(
    name="data pack",
    about="about.data-pack",
    run=run_pack,
    flags=(Flag(name="out", text="flag.pack-out", metavar="FILE"), *_FROM_PACKAGES, *RUN_FLAGS),
    examples=("pinxit data pack --out drawings.tar.xz",),
)

SHEET = Command(
    name="data sheet",
    about="about.data-sheet",
    run=run_sheet,
    operands=(Operand(name="BANK", text="operand.bank"),),
    flags=(Flag(name="out", text="flag.sheet-out", metavar="FOLDER"), *RUN_FLAGS),
    examples=("pinxit data sheet bank --out sheets",),
)

WORDS = Command(
    name="data words",
    about="about.data-words",
    run=run_words,
    operands=(Operand(name="MODEL", text="operand.trained"),),
    flags=(
        Flag(name="data", text="operand.bank", metavar="BANK"),
        Flag(name="cache", text="flag.cache", metavar="FOLDER"),
        *RUN_FLAGS,
    ),
    examples=("pinxit data words my-model --data bank",),
)
