"""`pinxit models convert`: one form of a model into another."""

from __future__ import annotations

from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.models.writing import (
    DTYPE,
    IN,
    KEEP_EMA,
    LAYOUT,
    OUT,
    OVERWRITE,
    SHARDS,
    rewritten,
)
from pinxit.cli.parser import Arguments, Flag
from pinxit.cli.running import RUN_FLAGS
from pinxit.cli.terminal import Terminal


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:
    """Write the model in another form; returns the exit code."""
    from pinxit.studio.convert import convert

    return rewritten(convert, arguments, terminal, open_studio)


COMMAND = Command(
    name="models convert",
    about="about.models-convert",
    run=run,
    operands=(IN, OUT),
    flags=(
        LAYOUT,
        DTYPE,
        Flag(name="components", text="flag.components", metavar="NAMES"),
        SHARDS,
        KEEP_EMA,
        Flag(name="use-ema", text="flag.use-ema"),
        OVERWRITE,
        *RUN_FLAGS,
    ),
    examples=(
        "pinxit models convert old.ckpt new.safetensors",
        "pinxit models convert model.safetensors model-folder --dtype f16",
        "pinxit models convert model-folder model.safetensors --components unet,vae",
    ),
)
