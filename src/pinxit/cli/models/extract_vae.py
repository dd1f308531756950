"""`pinxit models extract-vae`: a model's VAE as a file of its own."""

from __future__ import annotations

from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.models.writing import DTYPE, IN, OUT, OVERWRITE, rewritten
from pinxit.cli.parser import Arguments
from pinxit.cli.running import RUN_FLAGS
from pinxit.cli.terminal import Terminal


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:
    """Write the VAE; returns the exit code."""
    from pinxit.studio.convert import extract_vae

    return rewritten(extract_vae, arguments, terminal, open_studio)


COMMAND = Command(
    name="models extract-vae",
    about="about.models-extract-vae",
    run=run,
    operands=(IN, OUT),
    flags=(DTYPE, OVERWRITE, *RUN_FLAGS),
    examples=("pinxit models extract-vae model.safetensors vae.safetensors",),
)
