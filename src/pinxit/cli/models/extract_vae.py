"""`pinxit models extract-vae`: a model's VAE as a file of its own."""

from __future__ import annotations

from pathlib import Path

from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.models.writing import DTYPE, IN, OUT, OVERWRITE, catalog_of, model_at, tell, tidy, wish_of
from pinxit.cli.parser import Arguments
from pinxit.cli.running import RUN_FLAGS
from pinxit.cli.terminal import Terminal


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:
    """Write the VAE; returns the exit code."""
    from pinxit.studio.convert import extract_vae

    destination = Path(arguments.operands["OUT"]).expanduser()
    source = model_at(arguments.operands["IN"], open_studio)
    with tidy():
        done = extract_vae(source, destination, catalog_of(open_studio), wish_of(arguments))
    return tell(done, destination, terminal)


COMMAND = Command(
    name="models extract-vae",
    about="about.models-extract-vae",
    run=run,
    operands=(IN, OUT),
    flags=(DTYPE, OVERWRITE, *RUN_FLAGS),
    examples=("pinxit models extract-vae model.safetensors vae.safetensors",),
)
