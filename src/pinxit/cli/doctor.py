"""`pinxit doctor`: is everything here that painting needs? One line for each thing looked at."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from pinxit import __version__
from pinxit.cli.commands import Command, OpenStudio
from pinxit.cli.parser import Arguments
from pinxit.cli.running import DEFAULT_OUTPUT, RUN_FLAGS
from pinxit.cli.terminal import Terminal
from pinxit.schema.errors import Missing, PinxitError

State = Literal["ok", "note", "bad"]
GIB = 2**30
LITTLE_SPACE = 1 * GIB
EXTRAS: dict[str, tuple[str, ...]] = {
    "data": ("resvg_py", "lxml"),
    "hub": ("huggingface_hub",),
    "parity": ("diffusers", "transformers"),
    "torchao": ("torchao",),
}
"""Modules by which an optional part of the installation is known."""
PLUGIN_GROUP = "pinxit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at, named by the last part of a text id. `note` is worth knowing, `bad` prevents painting."""

    name: str
    state: State
    found: str
    hint: str = ""


def run(arguments: Arguments, terminal: Terminal, open_studio: OpenStudio) -> int:  # noqa: ARG001  every command's shape
    """Look at everything; returns 0, or 5 when something is bad."""
    bad = 0
    for look in LOOKS:
        for check in look(terminal, open_studio):
            bad += check.state == "bad"
            _tell(check, terminal)
    if terminal.json:
        terminal.send({"event": "examined", "healthy": not bad})
    else:
        terminal.result(terminal.say("doctor.bad", count=bad) if bad else terminal.say("doctor.healthy"))
    return Missing.exit_code if bad else 0


def _tell(check: Check, terminal: Terminal) -> None:
    if terminal.json:
        fields = {"name": check.name, "state": check.state, "found": check.found, "hint": check.hint}
        terminal.send({"event": "check", **fields})
        return
    mark = terminal.say(f"doctor.mark.{check.state}")
    terminal.result(f"{mark}  {terminal.say(f'check.{check.name}')}: {check.found}")
    if check.hint:
        terminal.result(f"      {check.hint}")


def _program(terminal: Terminal, open_studio: OpenStudio) -> Iterator[Check]:  # noqa: ARG001  every look's shape
    yield Check(name="pinxit", state="ok", found=__version__)
    place = f"{platform.python_version()} ({sys.executable}), {platform.platform()}"
    yield Check(name="python", state="ok", found=place)


def _torch(terminal: Terminal, open_studio: OpenStudio) -> Iterator[Check]:  # noqa: ARG001  every look's shape
    """Torch and what it makes of the processor. A broken installation may raise anything on import."""
    try:
        import torch
    except (ImportError, OSError, RuntimeError) as error:
        found = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        yield Check(name="torch", state="bad", found=found, hint=terminal.say("doctor.reinstall"))
        return
    yield Check(name="torch", state="ok", found=torch.__version__)
    yield Check(name="processor", state="ok", found=f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}")
    yield Check(
        name="threads",
        state="ok",
        found=terminal.say("doctor.threads", threads=torch.get_num_threads(), cores=os.cpu_count() or 1),
    )


def _memory(terminal: Terminal, open_studio: OpenStudio) -> Iterator[Check]:  # noqa: ARG001  every look's shape
    from pinxit.engine.machine import this_machine
    from pinxit.engine.means import Means, way_of

    machine = this_machine()
    for gpu in machine.gpus:
        told = terminal.say("doctor.free", free=f"{gpu.free / GIB:.1f}", whole=f"{gpu.memory / GIB:.1f}")
        yield Check(name="gpu", state="ok", found=f"{gpu.device}, {gpu.name}: {told}")
    way = way_of(machine, Means())
    yield Check(name="computes", state="ok", found=f"{way.device}, {way.dtype}")
    if machine.memory is None or machine.available is None:
        yield Check(name="memory", state="note", found=terminal.say("doctor.unknown"))
        return
    free, whole = f"{machine.available / GIB:.1f}", f"{machine.memory / GIB:.1f}"
    state: State = "ok" if machine.available > LITTLE_SPACE else "note"
    yield Check(name="memory", state=state, found=terminal.say("doctor.free", free=free, whole=whole))


def _models(terminal: Terminal, open_studio: OpenStudio) -> Iterator[Check]:
    """The built-in model is planned with, which reads its files' headers and fingerprints; the others are counted."""
    from pinxit.schema.request import GenerationRequest

    try:
        studio = open_studio()
        studio.plan(GenerationRequest(prompt="a red apple"))
    except PinxitError as error:
        yield Check(name="model", state="bad", found=error.message, hint=error.hint)
        return
    names = [entry.name for entry in studio.models()]
    yield Check(name="model", state="ok", found=terminal.say("doctor.model"))
    if len(names) > 1:
        yield Check(name="models", state="ok", found=", ".join(names[1:]))


def _folders(terminal: Terminal, open_studio: OpenStudio) -> Iterator[Check]:  # noqa: ARG001  every look's shape
    from pinxit.studio.paths import cache_folder, model_folder

    folders = (("pictures", DEFAULT_OUTPUT.absolute()), ("model-folder", model_folder()), ("cache", cache_folder()))
    for name, folder in folders:
        there = _nearest_folder(folder)
        if not _writable(there):
            state: State = "bad" if name == "pictures" else "note"
            found = terminal.say("doctor.unwritable", folder=there)
            yield Check(name=name, state=state, found=found, hint=terminal.say("doctor.permissions"))
            continue
        free = shutil.disk_usage(there).free
        found = terminal.say("doctor.folder", folder=folder, free=f"{free / GIB:.1f}")
        yield Check(name=name, state="ok" if free > LITTLE_SPACE else "note", found=found)


def _nearest_folder(folder: Path) -> Path:
    """The folder itself, or the closest one above it that exists."""
    return next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))


def _writable(folder: Path) -> bool:
    """Whether a file can be made there; permission bits alone do not tell on every system."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _extras(terminal: Terminal, open_studio: OpenStudio) -> Iterator[Check]:  # noqa: ARG001  every look's shape
    for extra, modules in EXTRAS.items():
        absent = [module for module in modules if importlib.util.find_spec(module) is None]
        if absent:
            hint = f'pip install "pinxit[{extra}]"'
            found = terminal.say("doctor.no-extra", extra=extra, names=", ".join(absent))
            yield Check(name="extra", state="note", found=found, hint=hint)
        else:
            yield Check(name="extra", state="ok", found=extra)


def _plugins(terminal: Terminal, open_studio: OpenStudio) -> Iterator[Check]:  # noqa: ARG001  every look's shape
    """Plugins are listed by what their packages declare; none is imported."""
    for entry in metadata.entry_points(group=PLUGIN_GROUP):
        package = f" ({entry.dist.name} {entry.dist.version})" if entry.dist else ""
        yield Check(name="plugin", state="ok", found=f"{entry.name}{package}")


LOOKS: Sequence[Callable[[Terminal, OpenStudio], Iterator[Check]]] = (
    _program,
    _torch,
    _memory,
    _models,
    _folders,
    _extras,
    _plugins,
)

COMMAND = Command(
    name="doctor",
    about="about.doctor",
    run=run,
    flags=(RUN_FLAGS[0],),
    examples=("pinxit doctor", "pinxit doctor --json"),
)
