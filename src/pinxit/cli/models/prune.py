"""`pinxit models prune`: a model without what painting does not need."""

from __future__ import annotations

from pathlib import Path

from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.models.writing import (
    DTYPE,
    IN,
    KEEP_EMA,
    OUT,
    OVERWRITE,
    SHARDS,
    catalog_of,
    model_at,
    tell,
    tidy,
    wish_of,
)
from pinxit.cli.parser import Arguments
from pinxit.cli.running import RUN_FLAGS
from pinxit.cli.terminal import Terminal


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:
    """Write the smaller model; returns the exit code."""
    from pinxit.studio.convert import prune

    destination = Path(arguments.operands["OUT"]).expanduser()
    source = model_at(arguments.operands["IN"], open_studio)
    with tidy():
        done = prune(source, destination, catalog_of(open_studio), wish_of(arguments))
    return tell(done, destination, terminal)


COMMAND = Command(
    name="models prune",
    about="about.models-prune",
    run=run,
    operands=(IN, OUT),
    flags=(DTYPE, KEEP_EMA, SHARDS, OVERWRITE, *RUN_FLAGS),
    examples=("pinxit models prune model.safetensors small.safetensors",),
)
