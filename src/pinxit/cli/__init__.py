"""The command line: parse, call, print. Nothing here knows a model, and `--help` loads no library."""

from __future__ import annotations


def main() -> None:
    """The entry point of the `pinxit` command: run it and exit with its code."""
    import sys

    from pinxit.cli.app import run
    from pinxit.cli.terminal import standard

    sys.exit(run(sys.argv[1:], standard(sys.argv[1:])))
