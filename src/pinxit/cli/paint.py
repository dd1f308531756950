"""`pinxit paint`: a text in, pictures out."""

from __future__ import annotations

from pathlib import Path

from pinxit.cli.commands import Command, OpenStudio, Studio
from pinxit.cli.parser import Arguments, Flag, Operand
from pinxit.cli.request_flags import given, given_passes, given_source, request_flags
from pinxit.cli.running import (
    MEANS_FLAGS,
    OUTPUT_FLAGS,
    PREVIEWS,
    RUN_FLAGS,
    adopt_model,
    means_of,
    paint_and_tell,
    read_image,
)
from pinxit.cli.terminal import Terminal
from pinxit.prompts.known import read_known, with_nearest
from pinxit.schema.errors import BadInput, UsageError
from pinxit.schema.request import GenerationRequest, validated
from pinxit.schema.text import PROMPT_BYTES

NEAREST = Flag(name="nearest-words", text="flag.nearest-words")
DRY_RUN = Flag(name="dry-run", text="flag.dry-run")


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:
    """Paint what the arguments ask for; returns the exit code."""
    request, inputs = _request(arguments, terminal)
    studio = open_studio(means_of(arguments))
    request = adopt_model(request, studio)
    if arguments.on("nearest-words"):
        request = _reworded(request, studio, terminal)
    return paint_and_tell(studio, request, inputs, arguments, terminal)


def _request(arguments: Arguments, terminal: Terminal) -> tuple[GenerationRequest, dict[str, bytes]]:
    fields = given(arguments) | {"prompt": prompt_of(arguments.operands["PROMPT"], terminal)}
    if (passes := given_passes(arguments)) is not None:
        fields["passes"] = passes
    source = dict(given_source(arguments))
    inputs: dict[str, bytes] = {}
    if source:
        if "image" not in source:
            flag = next(iter(source)).replace("_", "-")
            raise UsageError(terminal.say("error.no-image", flag=f"--{flag}"), hint=terminal.say("hint.image"))
        reference, data = read_image(Path(str(source["image"])))
        inputs[reference.sha256] = data
        fields["source"] = source | {"kind": "image", "image": reference}
    return validated(fields), inputs


def _reworded(request: GenerationRequest, studio: Studio, terminal: Terminal) -> GenerationRequest:
    """The request with words that the model was never taught replaced by the nearest it was, each said aloud."""
    known = read_known(studio.model_path(request.model))
    if known is None:
        terminal.note(terminal.say("paint.no-words"))
        return request
    prompt, changes = with_nearest(request.prompt, known)
    for word, instead in changes:
        terminal.note(terminal.say("paint.nearest", word=word, instead=instead))
    if changes and terminal.json:
        terminal.send({"event": "reworded", "asked": request.prompt, "prompt": prompt, "words": dict(changes)})
    return request.replace(prompt=prompt)


def prompt_of(word: str, terminal: Terminal) -> str:
    """The prompt: `word` itself, or for `-` what standard input holds, without its last line break.

    Raises BadInput when that is too long or not UTF-8.
    """
    if word != "-":
        return word
    data = terminal.input.read(PROMPT_BYTES + len(b"\r\n") + 1)
    if len(data) > PROMPT_BYTES + len(b"\r\n"):
        raise BadInput(terminal.say("error.stdin-long", most=PROMPT_BYTES), field="prompt")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = terminal.say("error.stdin", place=error.start)
        raise BadInput(message, hint=terminal.say("hint.stdin"), field="prompt") from None
    return text.removesuffix("\n").removesuffix("\r")


COMMAND = Command(
    name="paint",
    about="about.paint",
    run=run,
    operands=(Operand(name="PROMPT", text="operand.prompt"),),
    flags=(*OUTPUT_FLAGS, PREVIEWS, DRY_RUN, NEAREST, *RUN_FLAGS, *request_flags(without=("prompt",)), *MEANS_FLAGS),
    examples=(
        'pinxit paint "a red apple"',
        'pinxit paint "a red apple" --seed 7 --steps 12 --size 256x256 --output apple.png',
        'pinxit paint "a green apple" --image apple.png --strength 0.6',
        "echo '一个红苹果' | pinxit paint - --count 4 --output apples",
    ),
)
