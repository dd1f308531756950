"""`pinxit models prune`: a model without what painting does not need."""

from __future__ import annotations

from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.models.writing import (
    DTYPE,
    IN,
    KEEP_EMA,
    OUT,
    OVERWRITE,
    SHARDS,
    rewritten,
)
from pinxit.cli.parser import Arguments
from pinxit.cli.running import RUN_FLAGS
from pinxit.cli.terminal import Terminal


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:
    """Write the smaller model; returns the exit code."""
    from pinxit.studio.convert import prune

    return rewritten(prune, arguments, terminal, open_studio)


COMMAND = Command(
    name="models prune",
    about="about.models-prune",
    run=run,
    operands=(IN, OUT),
    flags=(DTYPE, KEEP_EMA, SHARDS, OVERWRITE, *RUN_FLAGS),
    examples=("pinxit models prune model.safetensors small.safetensors",),
)
