"""What an adapter is to the engine: a small file that changes some of a model's networks. No torch.

An adapter is bound to one model before anything is loaded (`AdapterKind.bind`), which is where everything that can be
wrong with it is said. What is bound then changes each tensor of a component on its way from the file into the network,
so that a network without adapters is simply one that was loaded without them: nothing has to be taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from pinxit.models.contract import AnyFamily
from pinxit.models.kinds import About
from pinxit.weights.header import Header
from pinxit.weights.identify import Match

if TYPE_CHECKING:
    from torch import Tensor

TensorPatch: TypeAlias = "Callable[[str, Tensor], Tensor]"
"""Takes a tensor's name, ours, and its numbers as the file has them; gives them changed in float32, or untouched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """How strongly an adapter acts on the network that denoises, and on the text encoders: 1 as it was trained."""

    image: float
    text: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An adapter's file. `about` is what it says of itself, `made_for` the title of the family that it is for."""

    name: str
    header: Header
    about: About
    made_for: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The model that an adapter is to change."""

    name: str
    family: AnyFamily
    match: Match


class Adapter(Protocol):
    """One adapter bound to one model."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know, a sentence each."""
        ...

    def strength(self, component: str) -> float:
        """How strongly it changes a component; 0 where it leaves it alone."""
        ...

    def patch(self, component: str) -> TensorPatch:
        """The change of one component's tensors. Raises BadModelFile and NumericError when it is carried out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterKind:
    """A kind of adapter. Its name is that of its files' kind (`models.kinds`), its aliases are further prompt tags.

    `bind` raises ModelError for an adapter that does not fit the model and BadModelFile for a broken file.
    """

    name: str
    title: str
    bind: Callable[[Source, Base, Strength], Adapter]
    aliases: tuple[str, ...] = ()


DEFAULTS = "pinxit.defaults"
"""Metadata of an adapter's file: request fields, as a JSON object, that it is best used with."""
DEFAULT_FIELDS: Mapping[str, str] = {
    "steps": "steps",
    "sampler": "sampler",
    "schedule": "schedule",
    "guidance": "guidance",
    "guidance_rescale": "rescale",
}
"""Which fields these may be, and what `models.contract.Defaults` calls them."""
