"""The command line: parse, call, print. Nothing here knows a model, and `--help` loads no library."""

from __future__ import annotations


def main() -> None:
    """The entry point of the `pinxit` command: run it and exit with its code."""
    import gc
    import sys

    from pinxit.cli.app import run
    from pinxit.cli.terminal import standard

    code = run(sys.argv[1:], standard(sys.argv[1:]))
    gc.freeze()  # Python would else look at every object of torch once more before it ends: half a second
    sys.exit(code)
