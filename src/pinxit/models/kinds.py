"""A kind: any single network file that is not a whole checkpoint, such as a VAE, a ControlNet or a LoRA. No torch.

A family (`contract`) paints; a kind goes with one. Both are tables: `find_kind` asks which kind's layout explains a
file. Files that hold no network of a fixed form (LoRA, embeddings) are recognised by a function instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from pinxit.schema.errors import BadModelFile, ModelError, UnknownModelFormat
from pinxit.weights.folder import WEIGHT_STEMS
from pinxit.weights.header import Header
from pinxit.weights.identify import Match, identify
from pinxit.weights.layout import Layout
from pinxit.weights.settings import Settings, read_json

if TYPE_CHECKING:
    from torch import nn


LATENT = "pinxit.latent"
"""Metadata of a VAE that was taken out of a model: its latents' scale and shift, as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a file says of itself: the names of the families that it goes with, most likely first, and which sort it is.

    `bases` is empty where every family will do or none is known; `evidence` says in words how it is known.
    """

    bases: tuple[str, ...] = ()
    variant: str = ""
    evidence: tuple[str, ...] = ()


class KindConfig(Protocol):
    """What the configuration of every kind offers."""

    @property
    def about(self) -> About: ...


C = TypeVar("C", bound=KindConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[C]):
    """A kind of network file.

    `config_from` reads sizes off a matched file; `build` makes the network without weights, and is None where the file
    holds none of its own; `recognise` finds a file that no layout can describe. Every layout has one part, and that
    part has the kind's name. `hint` says what such a file is for. `files` are the JSON files of its own folder, by
    name; None where we write none.
    """

    name: str
    title: str
    hint: str
    config_from: Callable[[Match], C]
    layouts: tuple[Layout, ...] = ()
    build: Callable[[C], nn.Module] | None = None
    recognise: Callable[[Header], Match | None] | None = None
    files: Callable[[C], Mapping[str, object]] | None = None
    aliases: tuple[str, ...] = ()

    def base(self, config: C) -> str:
        """The family that a file goes with; empty where every family will do or none is known."""
        return config.about.bases[0] if config.about.bases else ""

    def network(self, config: C) -> nn.Module:
        """The network without weights. Raises ModelError for a kind that has none."""
        if self.build is None:
            raise ModelError(f"A file of the kind {self.name} holds no network of its own.", hint=self.hint)
        return self.build(config)


AnyKind: TypeAlias = Kind[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Generic[C]):
    """A file that is understood: its kind, and how its tensors are explained."""

    kind: Kind[C]
    match: Match

    @property
    def config(self) -> C:
        """Its configuration. Raises BadModelFile where tensors that tell a size lack or contradict each other."""
        return self.kind.config_from(self.match)

    @property
    def about(self) -> About:
        """What it says of itself. Raises BadModelFile as `config` does."""
        return self.config.about


def find_kind(header: Header, kinds: Iterable[AnyKind]) -> Found[Any]:
    """The kind that explains `header` best.

    Raises UnknownModelFormat when none does or two do equally well.
    """
    kinds = tuple(kinds)
    by_layout = {layout.name: kind for kind in kinds for layout in kind.layouts}
    try:
        match = identify(header, [layout for kind in kinds for layout in kind.layouts])
    except UnknownModelFormat:
        for kind in kinds:
            found = kind.recognise(header) if kind.recognise is not None else None
            if found is not None:
                return Found(kind=kind, match=found)
        raise
    kind = by_layout[match.layout.name]
    return Found(kind=kind, match=match)


def identify_model(header: Header, layouts: Sequence[Layout], kinds: Iterable[AnyKind]) -> Match:
    """The family's layout that explains a whole model.

    Raises UnknownModelFormat where none does, and says so where the file is a network by itself, of one of `kinds`.
    """
    try:
        return identify(header, layouts)
    except UnknownModelFormat:
        try:
            kind = find_kind(header, kinds).kind
        except UnknownModelFormat:
            kind = None
        if kind is None:
            raise
        message = f"{header.path.name} is no whole model; its kind: {kind.title}."
        raise UnknownModelFormat(message, hint=kind.hint) from None


def recognised(header: Header, kind: str, evidence: Iterable[str]) -> Match:
    """The match of a file that is known by its names and has no table of tensors."""
    layout = Layout(name=kind, family=kind, parts=())
    return Match(
        layout=layout, header=header, parts={}, missing=(), unexpected=(), dropped={}, evidence=tuple(evidence)
    )


def settings_beside(match: Match) -> Settings:
    """The network's JSON: config.json of its folder, or the JSON file of a single file's stem. Empty where none is.

    Other programs keep notes of their own beside single files, so what cannot be read there is left alone.
    """
    header = match.header
    if "config.json" in header.configs:
        return Settings(source="config.json", values=header.configs["config.json"])
    path = header.path
    stem = path.name.split(".")[0]
    beside = path.with_name("config.json") if stem in WEIGHT_STEMS else path.with_suffix(".json")
    if path.name.endswith(".safetensors") and beside.is_file():
        try:
            return Settings(source=beside.name, values=read_json(beside))
        except BadModelFile:
            pass
    return Settings(source=beside.name, values={})
