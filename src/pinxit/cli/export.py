"""`pinxit export`: a trained model as the folder that pinxit and diffusers load."""

from __future__ import annotations

from pathlib import Path

from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.parser import Arguments, Flag, Operand
from pinxit.cli.running import RUN_FLAGS
from pinxit.cli.terminal import Terminal
from pinxit.schema.errors import UsageError


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:  # noqa: ARG001  every command's shape
    """Write the model; its folder is the result."""
    wanted = {"data": "BANK", "out": "FOLDER"}
    for name, metavar in wanted.items():
        if not arguments.value(name):
            raise UsageError(terminal.say("error.needs", command="export", flag=f"--{name} {metavar}"))
    from pinxit.train.data.bank import Bank
    from pinxit.train.export import export

    bank, out = (Path(arguments.value(name) or "").expanduser() for name in wanted)
    written = export(
        Path(arguments.operands["WORKSHOP"]).expanduser(), Bank.open(bank), out, overwrite=arguments.on("replace")
    )
    if terminal.json:
        terminal.send({"event": "finished", "folder": str(out), "files": len(written)})
    else:
        terminal.result(out)
    return 0


COMMAND = Command(
    name="export",
    about="about.export",
    run=run,
    operands=(Operand(name="WORKSHOP", text="operand.workshop"),),
    flags=(
        Flag(name="data", text="flag.bank", metavar="BANK"),
        Flag(name="out", text="flag.model-out", metavar="FOLDER"),
        Flag(name="replace", text="flag.replace"),
        *RUN_FLAGS,
    ),
    examples=("pinxit export workshop --data bank --out my-model",),
)
