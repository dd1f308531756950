"""What the file of a hypernetwork says: the widths of what it changes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pinxit.models.kinds import About, recognised
from pinxit.weights.header import Header
from pinxit.weights.identify import Match

_NAME = re.compile(r"^(\d+)\.([01])\.linear(\.\d+|\d)\.(weight|bias)$")
"""The width, whether keys or values are changed, the layer; as the pickle's dictionary unfolds."""
CONTEXT = {768: "sd1", 1024: "sd2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HypernetworkFile:
    """One hypernetwork: the widths of keys and values that it changes, the text's among them."""

    about: About
    widths: tuple[int, ...]


def recognise(header: Header) -> Match | None:
    """The match of a hypernetwork, by its tensors' names; None for any other file."""
    if not header.tensors or not all(_NAME.match(name) for name in header.tensors):
        return None
    return recognised(header, "hypernetwork", [f"{len(header.tensors)} tensors by the width of what they change"])


def config_from(match: Match) -> HypernetworkFile:
    """What the file of a recognised hypernetwork says."""
    widths = sorted({int(found[1]) for name in match.header.tensors if (found := _NAME.match(name))})
    bases = tuple(base for width, base in CONTEXT.items() if width in widths)
    return HypernetworkFile(
        about=About(bases=bases, evidence=(f"changes keys and values {', '.join(map(str, widths))} wide",)),
        widths=tuple(widths),
    )
