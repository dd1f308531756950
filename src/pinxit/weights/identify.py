"""Find the layout that explains a header: the best one wins, and what it leaves unexplained is always reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pinxit.schema.errors import BadModelFile, UnknownModelFormat
from pinxit.weights.formula import Scope
from pinxit.weights.header import Header
from pinxit.weights.layout import Entry, Layout, Part, Place, Shape, ShapeFact, SizeFact, View
from pinxit.weights.looks import looks_like

WRAPPERS = ("state_dict.", "module.", "_orig_mod.")
"""What training programs put before every name."""
SPARE = 1000
"""A network that needs this many tensors more than twice those in the file is none that lies in it."""
TOLERATED = 0.1
"""The share of a required network's tensors that may be missing from a file that is still recognised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartMatch:
    """One network found in a file: where, at which sizes, and tensor by tensor (their names complete)."""

    component: str
    place: Place
    sizes: Scope
    entries: tuple[Entry, ...]
    shapes: Mapping[str, Shape]
    missing: tuple[str, ...]

    def dim(self, tensor: str, axis: int) -> int:
        """Length of our `tensor` along `axis`. Raises BadModelFile where it is absent or has too few axes."""
        shape = self.shapes.get(tensor)
        if shape is None:
            raise BadModelFile(f"The {self.component} lacks the tensor {tensor}.", hint="Download the file again.")
        if axis >= len(shape):
            raise BadModelFile(
                f"{tensor} of the {self.component} has the shape {list(shape)}, which has too few axes.",
                hint="Download the file again.",
            )
        return shape[axis]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How one layout explains one header.

    `missing` are tensors that a present part lacks, `unexpected` those that nothing explains (both in the file's
    spelling), `dropped` the known ones that are left out, with reasons. `evidence` says in words what was recognised.
    """

    layout: Layout
    header: Header
    parts: Mapping[str, PartMatch]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    dropped: Mapping[str, str]
    evidence: tuple[str, ...] = field(default=())

    @property
    def family(self) -> str:
        return self.layout.family

    @property
    def axes(self) -> dict[str, Scope]:
        """The measured sizes of every part that is there."""
        return {name: part.sizes for name, part in self.parts.items()}

    def part(self, component: str) -> PartMatch:
        """The part called `component`. Raises BadModelFile when the file does not hold it."""
        if component not in self.parts:
            has = ", ".join(self.parts) or "nothing"
            raise BadModelFile(f"{self.header.path.name} holds no {component}; it holds {has}.")
        return self.parts[component]


def identify(header: Header, layouts: Sequence[Layout], *, views: Views | None = None) -> Match:
    """The layout that explains `header` best: the fewest tensors missing and unexpected.

    `views` may be shared by several questions about one header. Raises UnknownModelFormat when none does, naming what
    the file looks like and why the nearest layouts were refused, or when two do equally well, naming both.
    """
    shapes = header.shapes
    wrapper = next((name for name in WRAPPERS if any(key.startswith(name) for key in shapes)), "")
    matches: list[Match] = []
    refusals: list[str] = []
    views = views or Views(shapes)
    for layout in layouts:
        found = match_layout(header, layout.inside(wrapper) if wrapper else layout, views=views)
        if isinstance(found, Match):
            matches.append(replace(found, layout=layout))
        elif found:
            refusals.append(f"{layout.name} ({found})")
    if not matches:
        raise _unknown(header, layouts, refusals)
    matches.sort(key=_unexplained)
    best = [match for match in matches if _unexplained(match) == _unexplained(matches[0])]
    if len(best) > 1:
        names = " and ".join(match.layout.name for match in best)
        raise UnknownModelFormat(f"{header.path.name} fits {names} equally well.", hint="Name the family yourself.")
    return best[0]


class Views:
    """The names of one file as each place sees them, taken apart once."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self.shapes = shapes
        self._known: dict[tuple[str, bool], View] = {}
        self.found: dict[tuple[int, str], tuple[Place, PartMatch | None]] = {}
        """What is known already, by place and component: families share places. A place that is held keeps its id."""

    def at(self, place: Place) -> View:
        key = place.prefix, place.squash
        if key not in self._known:
            self._known[key] = place.view(self.shapes)
        return self._known[key]


def match_layout(
    header: Header, layout: Layout, shapes: Mapping[str, Shape] | None = None, *, views: Views | None = None
) -> Match | str:
    """How `layout` explains `header`; or why it does not (empty when nothing in the file resembles it)."""
    views = views or Views(header.shapes if shapes is None else shapes)
    shapes = views.shapes
    parts: dict[str, PartMatch] = {}
    for part in layout.parts:
        found = _best_place(part, views, parts)
        if found is None and part.required:
            return ""
        if found is not None:
            parts[part.component] = found
            if part.required and len(found.missing) > TOLERATED * len(found.entries):
                return f"{len(found.missing)} of the {len(found.entries)} tensors of its {part.component} are missing"
    known = {name for part in parts.values() for entry in part.entries for name in entry.theirs}
    rest = [name for name in shapes if name not in known]
    reasons = {name: layout.reason_to_drop(name) for name in rest}
    unexpected = tuple(name for name, reason in reasons.items() if reason is None)
    evidence: list[str] = [
        f"{part.component}: {len(part.entries)} tensors as {part.place.table.name}" for part in parts.values()
    ]
    evidence += [f"{part.component}: {part.place.note}" for part in parts.values() if part.place.note]
    for fact in layout.facts:
        holds, words = _check(fact, parts)
        if not holds:
            return words
        evidence.append(words)
    if len(unexpected) > len(known):
        return f"it leaves {len(unexpected):,} of {len(shapes):,} tensors unexplained"
    return Match(
        layout=layout,
        header=header,
        parts=parts,
        missing=tuple(name for part in parts.values() for name in part.missing),
        unexpected=unexpected,
        dropped={name: reason for name, reason in reasons.items() if reason is not None},
        evidence=tuple(evidence),
    )


def _unexplained(match: Match) -> int:
    return len(match.missing) + len(match.unexpected)


def _best_place(part: Part, views: Views, parts: Mapping[str, PartMatch]) -> PartMatch | None:
    """The place that explains most, the earlier one on a tie; None when the part is not there."""
    found = [match for place in part.places if (match := _at_place(part, place, views, parts)) is not None]
    return min(found, key=lambda match: len(match.missing) - len(match.shapes), default=None)


def _at_place(part: Part, place: Place, views: Views, parts: Mapping[str, PartMatch]) -> PartMatch | None:
    if part.like:
        return _match_at(part, place, views, parts)
    key = id(place), part.component
    if key not in views.found:
        views.found[key] = place, _match_at(part, place, views, parts)
    return views.found[key][1]


def _match_at(part: Part, place: Place, views: Views, parts: Mapping[str, PartMatch]) -> PartMatch | None:
    shapes, view = views.shapes, views.at(place)
    if part.like:
        model = parts.get(part.like)
        if model is None or model.place.prefix == place.prefix:
            return None
        sizes, view = model.sizes, View(model.shapes)
    else:
        sizes = place.table.measure(view)
    if sizes is None:
        return None
    most = SPARE + len(shapes) * 2
    found = place.table.entries(sizes, view, "theirs", most=most)
    if len(found) == most:
        return None
    entries = tuple(replace(entry, theirs=tuple(place.spell(name) for name in entry.theirs)) for entry in found)
    names = [name for entry in entries for name in entry.theirs]
    missing = tuple(name for name in names if name not in shapes)
    if len(missing) == len(names):
        return None
    return PartMatch(
        component=part.component,
        place=place,
        sizes=sizes,
        entries=entries,
        shapes=_our_shapes(entries, shapes),
        missing=missing,
    )


def _our_shapes(entries: tuple[Entry, ...], shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    ours: dict[str, Shape] = {}
    for entry in entries:
        if all(name in shapes for name in entry.theirs):
            ours.update(zip(entry.ours, entry.ours_shapes(tuple(shapes[name] for name in entry.theirs)), strict=True))
    return ours


def _check(fact: ShapeFact | SizeFact, parts: Mapping[str, PartMatch]) -> tuple[bool, str]:
    """Whether `fact` holds, and the sentence that says so or says why not. A fact about an absent part holds."""
    part = parts.get(fact.component)
    if part is None:
        return True, f"{fact.what}: not in the file"
    if isinstance(fact, SizeFact):
        size = part.sizes.get(fact.size, 0)
        value = len(size) if isinstance(size, tuple) else size
    else:
        shape = part.shapes.get(fact.tensor)
        if shape is None:
            return False, f"{fact.what} cannot be seen: {fact.tensor} is missing"
        value = len(shape) if fact.axis is None else shape[fact.axis] if fact.axis < len(shape) else 0
    if isinstance(fact, SizeFact) and not fact.allowed:
        return value not in fact.refused, f"{fact.what}: {value}"
    allowed = " or ".join(map(str, fact.allowed))
    return (True, f"{fact.what}: {value}") if value in fact.allowed else (False, f"{fact.what}: {value}, not {allowed}")


def _unknown(header: Header, layouts: Sequence[Layout], refusals: list[str]) -> UnknownModelFormat:
    noun, hint = looks_like(header)
    message = f"{header.path.name} is a healthy file, but no known model: it looks like {noun}."
    if refusals:
        message += f" Nearest: {'; '.join(refusals)}."
    families = ", ".join(dict.fromkeys(layout.family for layout in layouts))
    return UnknownModelFormat(message, hint=hint or f"Known families: {families or 'none'}.")
