"""`pinxit train`: follow a recipe, alone or as one of torchrun's processes."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.data import report
from pinxit.cli.numbers import whole
from pinxit.cli.parser import Arguments, Flag, Operand
from pinxit.cli.running import RUN_FLAGS
from pinxit.cli.terminal import Terminal
from pinxit.schema.errors import Interrupted, Missing, UnknownName, UsageError

if TYPE_CHECKING:
    import torch

    from pinxit.train.workshop import Job

SUFFIX = ".toml"
CHANGES = {"steps": 1, "decay": 0, "seed": 0}
"""Entries of a recipe's optimisation that flags replace, and the least value of each."""
FIGURES = {"rate": 1, "milliseconds": 0, "memory": 0, "hours": 1}
"""Figures of a probe, and the decimals that are shown."""
DEVICES = ("cpu", "cuda")


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:  # noqa: ARG001  every command's shape
    """Train; returns 130 when the user stopped it, with the state saved."""
    path = recipe_path(arguments.operands["RECIPE"])
    bank, workshop = (_needed(arguments, name, terminal) for name in ("data", "into"))
    seconds = whole(arguments, "seconds", terminal)
    threads = whole(arguments, "threads", terminal)
    samples = whole(arguments, "samples", terminal)
    asked = {name: whole(arguments, name, terminal, least=least) for name, least in CHANGES.items()}
    from pinxit.train.recipe import read_recipe

    recipe = read_recipe(path, changes={name: value for name, value in asked.items() if value is not None})
    import torch

    from pinxit.train.computing import Computing
    from pinxit.train.loop import Limits
    from pinxit.train.parallel import Workers
    from pinxit.train.workshop import Job
    from pinxit.train.workshop import run as work

    if start := arguments.value("start"):
        from pinxit.train.start import fill_workshop

        fill_workshop(Path(start).expanduser(), workshop)
    if threads is not None:
        torch.set_num_threads(threads)
    device = _device(arguments.value("device"), terminal)
    workers = Workers.from_environment(device)
    job = Job(
        name=path.stem,
        recipe=recipe,
        bank=bank,
        workshop=workshop,
        limits=Limits(seconds=seconds, samples_every=samples),
        device=device,
        computing=Computing(compile=arguments.on("compile")),
        workers=workers,
    )
    first = workers.rank == 0
    if arguments.on("probe"):
        _probe(job, terminal)
        return 0
    summary = work(job, lambda line: report(line, terminal) if first else None)
    stopped = not summary.finished and (seconds is None or summary.seconds < seconds)
    if stopped:
        raise Interrupted(terminal.say("train.stopped", steps=summary.steps), hint=terminal.say("train.resume"))
    if first and terminal.json:
        fields = {"steps": summary.steps, "finished": summary.finished, "seconds": summary.seconds}
        terminal.send({"event": "finished", "workshop": str(workshop), **fields})
    elif first:
        terminal.result(workshop)
    return 0


def _probe(job: Job, terminal: Terminal) -> None:
    """Time a few steps in several ways, and tell each as it comes."""
    from pinxit.train.probe import Timed, probe

    def each(row: Timed) -> None:
        told = row.to_json()
        if terminal.json:
            terminal.send({"event": "timed", **told})
        elif row.failure is not None:
            terminal.result(terminal.say("probe.failed", way=_way(told), failure=row.failure))
        else:
            figures = {name: f"{told[name]:.{digits}f}" for name, digits in FIGURES.items()}
            terminal.result(terminal.say("probe.row", way=_way(told), **figures))

    rows = probe(job, lambda line: report(line, terminal), each)
    if terminal.json:
        terminal.send({"event": "probed", "rows": [row.to_json() for row in rows]})
    else:
        terminal.note(terminal.say("probe.nothing"))


def _way(told: dict[str, Any]) -> str:
    """A way of computing in one word, such as `512 bfloat16 channels_last compile`."""
    choices = [name for name in ("channels_last", "compile") if told[name]]
    return " ".join([f"{told['batch']:>4}", told["dtype"], *choices])


def recipe_path(word: str) -> Path:
    """The file that `word` names: a path, or the name of a recipe that comes with pinxit. Raises UnknownName."""
    path = Path(word)
    if word.endswith(SUFFIX) or path.is_file():
        return path
    shipped = shipped_recipes()
    if word not in shipped:
        raise UnknownName("recipe", word, shipped)
    return shipped[word]


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with pinxit, by name."""
    folder = Path(str(resources.files("pinxit.train"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def _device(word: str | None, terminal: Terminal) -> torch.device:
    """The device to train on: the named one, else this process's CUDA device, else the processor."""
    import torch

    if word not in (None, *DEVICES):
        raise UnknownName("device", str(word), DEVICES)
    if word == "cpu" or (word is None and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise Missing(terminal.say("error.cuda"), hint=terminal.say("hint.cuda"))
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def _needed(arguments: Arguments, name: str, terminal: Terminal) -> Path:
    word = arguments.value(name)
    if not word:
        raise UsageError(terminal.say("error.needs", command="train", flag=f"--{name} FOLDER"))
    return Path(word).expanduser()


COMMAND = Command(
    name="train",
    about="about.train",
    run=run,
    operands=(Operand(name="RECIPE", text="operand.recipe"),),
    flags=(
        Flag(name="data", text="flag.bank", metavar="BANK"),
        Flag(name="into", text="flag.into", metavar="WORKSHOP"),
        Flag(name="start", text="flag.start", metavar="MODEL"),
        Flag(name="seconds", text="flag.seconds", metavar="N"),
        Flag(name="steps", text="flag.steps", metavar="N"),
        Flag(name="decay", text="flag.decay", metavar="N"),
        Flag(name="seed", text="flag.train-seed", metavar="N"),
        Flag(name="samples", text="flag.samples", metavar="N"),
        Flag(name="probe", text="flag.probe"),
        Flag(name="compile", text="flag.compile-training"),
        Flag(name="threads", text="flag.threads", metavar="N"),
        Flag(name="device", text="flag.device", metavar="WORD", limits="|".join(DEVICES)),
        *RUN_FLAGS,
    ),
    examples=(
        "pinxit train text --data bank --into workshop",
        "torchrun --nproc-per-node 2 -m pinxit train unet --data bank --into workshop --seconds 3600",
    ),
)
