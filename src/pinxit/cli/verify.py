"""`pinxit verify`: paint a picture again and say whether it is the same, how far it is off, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.cli.again import IMAGE, inputs_for, read_recipe
from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.parser import Arguments, Flag, Operand
from pinxit.cli.request_flags import adapter_flag, given
from pinxit.cli.running import MEANS_FLAGS, RUN_FLAGS, adopt_model, means_of, read_image, stoppable, tell_failure
from pinxit.cli.terminal import Terminal
from pinxit.schema.errors import BadImage

if TYPE_CHECKING:
    from pinxit.studio.verify import Verdict

ADAPTER = replace(adapter_flag(), text="flag.adapter-again")
DIFFERS = 1
"""Exit code when the picture is not the same."""


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:
    """Verify a picture; returns 0 when it is equal and 1 when it differs."""
    from pinxit.cli.watching import watcher
    from pinxit.schema.events import Failed
    from pinxit.studio.verify import verify

    path = Path(arguments.operands["FILE"])
    record = read_recipe(path, terminal).record
    if record is None:
        raise BadImage(terminal.say("error.foreign"), hint=terminal.say("hint.foreign"))
    inputs = inputs_for(record.request, arguments.value("image"), path, terminal)
    studio = open_studio(means_of(arguments))
    instead = dict(given(arguments, "model", "adapters"))
    if instead:
        request = adopt_model(record.request.replace(**instead), studio)
        record = record.model_copy(update={"request": request})
    _, picture = read_image(path)
    with stoppable(terminal) as stop, watcher(terminal) as watch:
        verdict = verify(studio, record, picture, inputs, watch=watch, stop=stop)
    if isinstance(verdict, Failed):
        return tell_failure(verdict, terminal)
    if terminal.json:
        terminal.send({"event": "verified", **verdict.to_json()})
    else:
        _tell(verdict, terminal)
    return 0 if verdict.equal else DIFFERS


def _tell(verdict: Verdict, terminal: Terminal) -> None:
    """The verdict in words, then the reasons that the record gives."""
    say = terminal.say
    measured = verdict.difference
    if verdict.equal:
        terminal.result(say("verify.equal"))
    elif measured is None:
        terminal.result(say("verify.sizes"))
    else:
        share = f"{100 * measured.share:.3g}"
        terminal.result(say("verify.differs", share=share, largest=measured.largest, psnr=f"{measured.psnr:.1f}"))
    for change in verdict.changes:
        title = say("request.size.title" if change.what == "size" else f"record.{change.what}.title")
        terminal.result(say("verify.change", what=title, then=change.then, now=change.now))
    if not (verdict.equal or verdict.changes):
        terminal.result(say("verify.unexplained"))


COMMAND = Command(
    name="verify",
    about="about.verify",
    run=run,
    operands=(Operand(name="FILE", text="operand.picture"),),
    flags=(
        IMAGE,
        Flag(name="model", text="flag.model-again", metavar="NAME"),
        ADAPTER,
        *MEANS_FLAGS,
        *RUN_FLAGS,
    ),
    examples=("pinxit verify apple.png", "pinxit verify apple.png --model ~/models/dreamy.safetensors"),
)
