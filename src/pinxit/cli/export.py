"""`pinxit export`: a trained model as the folder that pinxit and diffusers load."""

from __future__ import annotations

from pathlib import Path

from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.data import drawings_cache
from pinxit.cli.parser import Arguments, Flag, Operand
from pinxit.cli.running import RUN_FLAGS
from pinxit.cli.terminal import Terminal
from pinxit.schema.errors import Missing, UsageError


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:  # noqa: ARG001  every command's shape
    """Write the model, or a part beside it; its folder is the result."""
    workshop, replaces = Path(arguments.operands["WORKSHOP"]).expanduser(), arguments.on("replace")
    if arguments.on("refiner"):
        from pinxit.train.export import export_refiner

        out = _needed(arguments, "out", "FOLDER", terminal)
        return _tell(export_refiner(workshop, out, overwrite=replaces), out, terminal)
    bank, out = (_needed(arguments, *named, terminal) for named in (("data", "BANK"), ("out", "FOLDER")))
    if model := arguments.value("judges"):
        _judges(workshop, bank, out, Path(model).expanduser())
        terminal.result(out)
        return 0
    from pinxit.train.data.bank import Bank
    from pinxit.train.data.fetch import fetched
    from pinxit.train.data.known import WORDNET
    from pinxit.train.data.names import read_labels
    from pinxit.train.data.sources import LABELS
    from pinxit.train.export import export

    cache = drawings_cache(arguments)
    wordnet, labels = fetched(WORDNET, cache), fetched(LABELS, cache)
    if wordnet is None or labels is None:
        terminal.note(terminal.say("export.no-wordnet", model=out, bank=bank))
    named = None if labels is None else read_labels(labels)
    files = export(workshop, Bank.open(bank), out, overwrite=replaces, wordnet=wordnet, labels=named)
    return _tell(files, out, terminal)


def _needed(arguments: Arguments, name: str, metavar: str, terminal: Terminal) -> Path:
    """The path of a flag that must be given. Raises UsageError."""
    word = arguments.value(name)
    if not word:
        raise UsageError(terminal.say("error.needs", command="export", flag=f"--{name} {metavar}"))
    return Path(word).expanduser()


def _tell(written: tuple[Path, ...], out: Path, terminal: Terminal) -> int:
    if terminal.json:
        terminal.send({"event": "finished", "folder": str(out), "files": len(written)})
    else:
        terminal.result(out)
    return 0


def _judges(workshop: Path, bank: Path, out: Path, model: Path) -> None:
    """Write trained judges with what they compare with, for models of the domain of the one in `model`."""
    from pinxit.evaluate.asks import domain_of
    from pinxit.evaluate.prepare import prepare
    from pinxit.train.data.bank import Bank

    domain = domain_of(model)
    if domain is None:
        raise Missing(f"{model} holds no training.json.", hint="Name a model folder that `pinxit export` wrote.")
    prepare(workshop, Bank.open(bank), out, domain)


COMMAND = Command(
    name="export",
    about="about.export",
    run=run,
    operands=(Operand(name="WORKSHOP", text="operand.workshop"),),
    flags=(
        Flag(name="data", text="flag.bank", metavar="BANK"),
        Flag(name="out", text="flag.model-out", metavar="FOLDER"),
        Flag(name="cache", text="flag.cache", metavar="FOLDER"),
        Flag(name="replace", text="flag.replace"),
        Flag(name="refiner", text="flag.export-refiner"),
        Flag(name="judges", text="flag.export-judges", metavar="MODEL"),
        *RUN_FLAGS,
    ),
    examples=("pinxit export workshop --data bank --out my-model",),
)
