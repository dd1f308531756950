"""The table of commands. Each is loaded when it is called, so the table costs nothing and anybody can add to it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, cast

from pinxit.cli.parser import Arguments, Flag, Operand
from pinxit.cli.terminal import Terminal
from pinxit.cli.texts import ENGLISH, Say
from pinxit.schema.errors import Missing

if TYPE_CHECKING:
    from pinxit.engine.means import Means
    from pinxit.schema.events import Event
    from pinxit.schema.request import GenerationRequest


class Plan(Protocol):
    """What the studio is going to do."""

    @property
    def notes(self) -> tuple[str, ...]: ...
    def to_json(self) -> Mapping[str, object]: ...
    def lines(self) -> Sequence[str]: ...


class Named(Protocol):
    """What can be asked for by name."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...


class Catalog(Protocol):
    """The names that plugins can add to."""

    @property
    def samplers(self) -> Iterable[Named]: ...
    @property
    def schedules(self) -> Iterable[Named]: ...


class Studio(Protocol):
    """What the commands need of the studio."""

    def plan(self, request: GenerationRequest, inputs: Mapping[str, bytes] | None = ...) -> Plan: ...
    def paint(
        self,
        request: GenerationRequest,
        inputs: Mapping[str, bytes] | None = ...,
        *,
        output: Path | None = ...,
        stop: Callable[[], bool] = ...,
        previews: bool = ...,
    ) -> Iterator[Event]: ...
    def models(self) -> Sequence[Named]: ...
    def adapters(self) -> Sequence[Named]: ...
    def add_model(self, path: Path) -> str: ...
    def model_path(self, name: str | None) -> Path: ...
    @property
    def catalog(self) -> Catalog: ...


class OpenStudio(Protocol):
    """Makes a studio that computes with these means; None leaves them to the machine."""

    def __call__(self, means: Means | None = None, /) -> Studio: ...


Run = Callable[[Arguments, Terminal, OpenStudio], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command with its declaration. `about` is the text id of its first paragraph; `run` returns the exit code."""

    name: str
    about: str
    run: Run
    operands: tuple[Operand, ...] = ()
    flags: tuple[Flag, ...] = ()
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the table.

    `target` is `module:name` of a Command, or of a function that takes the remaining words and returns the exit code.
    `summary` is a text id of ours, or, from a plugin, the text itself.
    """

    name: str
    target: str
    summary: str

    def load(self) -> Command | Callable[[Sequence[str]], int]:
        """What the target names. Raises Missing when it cannot be imported."""
        module, _, name = self.target.partition(":")
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise Missing(
                f"The command {self.name} cannot be loaded: {error}.", hint="Check the installation: pinxit doctor"
            ) from error
        return cast("Command | Callable[[Sequence[str]], int]", found)

    def summary_in(self, say: Say) -> str:
        """The summary in the language of `say`."""
        return say(self.summary) if self.summary in ENGLISH else self.summary


COMMANDS: tuple[Entry, ...] = (
    Entry(name="paint", target="pinxit.cli.paint:COMMAND", summary="summary.paint"),
    Entry(name="info", target="pinxit.cli.info:COMMAND", summary="summary.info"),
    Entry(name="redo", target="pinxit.cli.redo:COMMAND", summary="summary.redo"),
    Entry(name="verify", target="pinxit.cli.verify:COMMAND", summary="summary.verify"),
    Entry(name="compare", target="pinxit.cli.compare:COMMAND", summary="summary.compare"),
    Entry(name="list", target="pinxit.cli.names:COMMAND", summary="summary.list"),
    Entry(name="doctor", target="pinxit.cli.doctor:COMMAND", summary="summary.doctor"),
    Entry(name="data build", target="pinxit.cli.data:COMMAND", summary="summary.data"),
    Entry(name="data pack", target="pinxit.cli.data:PACK", summary="summary.data-pack"),
    Entry(name="data sheet", target="pinxit.cli.data:SHEET", summary="summary.data-sheet"),
    Entry(name="data words", target="pinxit.cli.data:WORDS", summary="summary.data-words"),
    Entry(name="train", target="pinxit.cli.train:COMMAND", summary="summary.train"),
    Entry(name="export", target="pinxit.cli.export:COMMAND", summary="summary.export"),
    Entry(name="models list", target="pinxit.cli.models.listing:COMMAND", summary="summary.models-list"),
    Entry(name="models inspect", target="pinxit.cli.models.inspect:COMMAND", summary="summary.models-inspect"),
    Entry(name="models hash", target="pinxit.cli.models.hashing:COMMAND", summary="summary.models-hash"),
    Entry(name="models pull", target="pinxit.cli.models.pulling:COMMAND", summary="summary.models-pull"),
    Entry(name="evaluate", target="pinxit.cli.evaluate:COMMAND", summary="summary.evaluate"),
    Entry(name="cite", target="pinxit.cli.cite:COMMAND", summary="summary.cite"),
    Entry(name="models convert", target="pinxit.cli.models.convert:COMMAND", summary="summary.models-convert"),
    Entry(name="models merge", target="pinxit.cli.models.merge:COMMAND", summary="summary.models-merge"),
    Entry(
        name="models extract-vae", target="pinxit.cli.models.extract_vae:COMMAND", summary="summary.models-extract-vae"
    ),
    Entry(name="models prune", target="pinxit.cli.models.prune:COMMAND", summary="summary.models-prune"),
    Entry(name="bench", target="pinxit.bench.command:main", summary="summary.bench"),
)
"""A name may have several words; those that share the first one have a page together."""

GROUPS: Mapping[str, str] = MappingProxyType({"models": "about.models"})
"""Text ids of what such a page begins with, by the first word."""
