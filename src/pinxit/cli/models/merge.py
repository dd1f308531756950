"""`pinxit models merge`: a mixture of two or three models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.models.writing import DTYPE, LAYOUT, OVERWRITE, SHARDS, catalog_of, model_at, tell, tidy, wish_of
from pinxit.cli.parser import Arguments, Flag, Operand
from pinxit.cli.running import RUN_FLAGS
from pinxit.cli.terminal import Terminal
from pinxit.schema.errors import UsageError

if TYPE_CHECKING:
    from pinxit.studio.convert import Mixture


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:
    """Write the mixture; returns the exit code."""
    from pinxit.studio.convert import merge
    from pinxit.studio.hashes import HashCache
    from pinxit.studio.paths import cache_folder

    out = arguments.value("out")
    if not out:
        raise UsageError(terminal.say("error.needs", command="models merge", flag="--out FILE"))
    destination = Path(out).expanduser()
    sources = [model_at(word, open_studio) for word in arguments.operands.values()]
    mixture, wish = _mixture(arguments, terminal), wish_of(arguments)
    known = HashCache(cache_folder() / "hashes.json")
    with tidy():
        done = merge(sources, destination, catalog_of(open_studio), mixture, wish, fingerprint=known.sha256)
    known.save()
    return tell(done, destination, terminal)


def _mixture(arguments: Arguments, terminal: Terminal) -> Mixture:
    from pinxit.studio.convert import Mixture

    given = {name: value for name in ("mode", "vae", "text", "blocks") if (value := arguments.value(name)) is not None}
    usual = Mixture()
    return Mixture(
        mode=given.get("mode", usual.mode),
        ratio=_ratio(arguments.value("ratio"), usual.ratio, terminal),
        blocks=given.get("blocks"),
        vae=given.get("vae", usual.vae).lower(),
        text=given.get("text", usual.text).lower(),
    )


def _ratio(text: str | None, usual: float, terminal: Terminal) -> float:
    if text is None:
        return usual
    try:
        return float(text)
    except ValueError:
        raise UsageError(terminal.say("error.ratio", given=text[:40])) from None


COMMAND = Command(
    name="models merge",
    about="about.models-merge",
    run=run,
    operands=(
        Operand(name="A", text="operand.merge-a"),
        Operand(name="B", text="operand.merge-b"),
        Operand(name="C", text="operand.merge-c", required=False),
    ),
    flags=(
        Flag(name="out", text="flag.merge-out", metavar="FILE"),
        Flag(name="mode", text="flag.merge-mode", metavar="MODE", limits="weighted|add-difference", default="weighted"),
        Flag(name="ratio", text="flag.ratio", metavar="NUMBER", default="0.5"),
        Flag(name="blocks", text="flag.blocks", metavar="WEIGHTS"),
        Flag(name="vae", text="flag.merge-vae", metavar="FROM", limits="a|b|merge", default="a"),
        Flag(name="text", text="flag.merge-text", metavar="FROM", limits="a|b|merge", default="a"),
        DTYPE,
        LAYOUT,
        SHARDS,
        OVERWRITE,
        *RUN_FLAGS,
    ),
    examples=(
        "pinxit models merge a.safetensors b.safetensors --out mixed.safetensors --ratio 0.4",
        "pinxit models merge a.safetensors b.safetensors --out mixed.safetensors --blocks grad-v,mid=0.5",
        "pinxit models merge inpainting dreamy base --out dreamy-inpaint.safetensors --mode add-difference",
    ),
)
