"""`pinxit compare`: paint the same recipes in two number formats and tell how alike the pictures are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.numbers import whole
from pinxit.cli.parser import Arguments, Flag, Operand
from pinxit.cli.running import RUN_FLAGS, adopt_model
from pinxit.cli.terminal import Terminal
from pinxit.schema.errors import BadInput

if TYPE_CHECKING:
    from pinxit.studio.likeness import Comparison
    from pinxit.studio.studio import Studio

PRECISION, AGAINST, COUNT = "int8", "auto", 4
VERDICTS = {"same": "compare.same", "close": "compare.close", "differs": "compare.differs"}


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:
    """Compare two number formats; returns 0 whatever comes out."""
    from pinxit.engine.means import Means
    from pinxit.studio.likeness import compare, recipes

    names = (arguments.value("precision") or PRECISION, arguments.value("against") or AGAINST)
    count, steps = (whole(arguments, name, terminal) for name in ("count", "steps"))
    requests = recipes(count or COUNT, arguments.operands.get("MODEL"), steps)
    if count is not None and count > len(requests):
        raise BadInput(terminal.say("error.recipes", count=len(requests)), field="count")
    one, other = (cast("Studio", open_studio(Means.of(precision=name))) for name in names)
    for studio in (one, other):
        requests = tuple(adopt_model(request, studio) for request in requests)
    output = arguments.value("output")
    found = compare(one, other, requests, folder=None if output is None else Path(output).expanduser())
    if terminal.json:
        terminal.send({"event": "compared", "precision": names[0], "against": names[1], **found.to_json()})
    else:
        _tell(found, names, terminal)
    return 0


def _tell(found: Comparison, names: tuple[str, str], terminal: Terminal) -> None:
    """A line for each picture, then the verdict."""
    say = terminal.say
    for one in found.pictures:
        numbers = {"psnr": f"{one.psnr:.1f}", "ssim": f"{one.ssim:.4f}", "latent": f"{one.latent:.4f}"}
        terminal.result(say("compare.picture", prompt=one.prompt, seed=one.seed, **numbers))
    new, old = found.seconds
    terminal.result(say("compare.seconds", new=f"{new:.1f}", old=f"{old:.1f}", ratio=f"{old / new:.2f}"))
    terminal.result(say(VERDICTS[found.verdict], one=names[0], other=names[1], worst=f"{found.worst:.4f}"))


COMMAND = Command(
    name="compare",
    about="about.compare",
    run=run,
    operands=(Operand(name="MODEL", text="operand.model-compared", required=False),),
    flags=(
        Flag(name="precision", text="flag.compared", metavar="NAME", default=PRECISION),
        Flag(name="against", text="flag.compared-with", metavar="NAME", default=AGAINST),
        Flag(name="count", text="flag.recipes", metavar="N", default=str(COUNT)),
        Flag(name="steps", text="flag.recipe-steps", metavar="N"),
        Flag(name="output", text="flag.pairs", metavar="FOLDER", short="o"),
        *RUN_FLAGS,
    ),
    examples=("pinxit compare", "pinxit compare ~/models/dreamy.safetensors --steps 20 --output pairs"),
)
