"""What a checkpoint can look like, as tables: rows of names, the same for reading and for writing.

```
Layout  a kind of checkpoint        = Parts + Drops + Facts
Part    one network in it           = Places, the usual one first
Place   where the network's names lie and how they are spelt  = prefix + Table
Table   our names and theirs        = Rows + how many of everything there is (measure)
Row     one block, repeated over axes                = two templates + Leaves
Leaf    one layer of the block, `.weight` and `.bias` implied
```
Our names are those of the reference repositories. `measure` reads the sizes of the axes off the names that are there,
so one table serves every depth and width.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from fnmatch import fnmatchcase
from itertools import islice
from typing import Literal, TypeAlias

from pinxit.schema.errors import BadModelFile
from pinxit.weights.formula import Formula, Scope, Template, parse

Shape: TypeAlias = tuple[int, ...]
Side: TypeAlias = Literal["ours", "theirs"]

BOTH = ("weight", "bias")
WEIGHT = ("weight",)
WHOLE = ("",)
"""The tensors of a leaf: weight and bias, weight alone, or a tensor whose name is complete as it stands."""


class Op(Enum):
    """How a tensor of theirs differs from ours. Joining needs no op: one side of the leaf names several tensors."""

    SWAP = "swap the halves of the first axis"
    SQUEEZE = "a linear layer of theirs is a 1x1 convolution of ours"
    TRANSPOSE = "transposed"
    COLUMN = "a vector of theirs is a matrix of one column of ours"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One layer in both spellings. A `*` in a name stands for the kind where it is not a suffix of its own.

    `kinds` are the tensors that it has. `unequal` names a sibling of the same row (our spelling): the leaf is there
    exactly where that sibling's weight has different numbers of outputs and inputs, as a shortcut is.
    """

    ours: str | tuple[str, ...]
    theirs: str | tuple[str, ...]
    kinds: tuple[str, ...] = BOTH
    op: Op | None = None
    unequal: str = ""


ITSELF = (Leaf("", ""),)
ITS_WEIGHT = (Leaf("", "", WEIGHT),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Tensors of ours and of theirs that hold the same numbers; at least one side is a single tensor."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    op: Op | None = None

    def ours_shapes(self, theirs: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Shapes of our tensors from those of theirs. Raises BadModelFile where they cannot be right."""
        shapes = _regrouped(theirs, len(self.ours), self.theirs[0])
        if self.op is Op.SQUEEZE:
            return tuple((*shape, 1, 1) if len(shape) == 2 else shape for shape in shapes)
        if self.op is Op.COLUMN:
            return tuple((*shape, 1) if len(shape) == 1 else shape for shape in shapes)
        return self._turned(shapes)

    def theirs_shapes(self, ours: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Shapes of their tensors from those of ours."""
        shapes = _regrouped(ours, len(self.theirs), self.ours[0])
        if self.op is Op.SQUEEZE:
            return tuple(shape[:2] if len(shape) == 4 else shape for shape in shapes)
        if self.op is Op.COLUMN:
            return tuple(shape[:1] if len(shape) == 2 else shape for shape in shapes)
        return self._turned(shapes)

    def _turned(self, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        if self.op is not Op.TRANSPOSE:
            return shapes
        return tuple(shape[::-1] if len(shape) == 2 else shape for shape in shapes)


def _regrouped(shapes: tuple[Shape, ...], count: int, name: str) -> tuple[Shape, ...]:
    """Join `shapes` along the first axis, or split the only one into `count` equal pieces."""
    if count == len(shapes):
        return shapes
    if any(len(shape) == 0 for shape in shapes):
        raise BadModelFile(f"The tensor {name} is a single number; it should have axes.")
    if len(shapes) == 1:
        first, *rest = shapes[0]
        if first % count:
            raise BadModelFile(
                f"The tensor {name} of shape {list(shapes[0])} cannot be split into {count} equal parts."
            )
        return ((first // count, *rest),) * count
    return ((sum(shape[0] for shape in shapes), *shapes[0][1:]),)


DEEPEST = 64
"""Levels of a name, counted in dots, up to which a network's blocks are looked for in it. Real ones stay below 20."""


class View:
    """The names below one place, with their shapes, as `measure` sees them."""

    __slots__ = ("_stems", "shapes")

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self.shapes = shapes
        self._stems: set[str] = set()
        for name in shapes:
            if name.count(".") > DEEPEST:
                continue
            stem = name
            while stem and stem not in self._stems:
                self._stems.add(stem)
                stem = stem.rpartition(".")[0]

    def has(self, stem: str) -> bool:
        """Whether a tensor is called `stem` or lies below it."""
        return stem in self._stems

    def count(self, pattern: str) -> int:
        """How many of `pattern` there are in a row, `#` counting from 0."""
        number = 0
        while pattern.replace("#", str(number)) in self._stems:
            number += 1
        return number

    def shape_of(self, ending: str) -> Shape:
        """The shape of the first tensor whose name ends like this; () where there is none."""
        return next((shape for name, shape in self.shapes.items() if name.endswith(ending)), ())

    def unequal(self, name: str) -> bool:
        """Whether the weight `name` is there with different numbers of outputs and inputs."""
        shape = self.shapes.get(name, ())
        return len(shape) >= 2 and shape[0] != shape[1]


class SquashedView(View):
    """Names that were written without dots. Words and numbers alternate in them, so that beginnings still tell."""

    __slots__ = ("_sorted",)

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self.shapes = shapes
        self._sorted = sorted(shapes)

    def has(self, stem: str) -> bool:
        start = stem.replace(".", "")
        at = bisect_left(self._sorted, start)
        return at < len(self._sorted) and self._sorted[at].startswith(start)

    def count(self, pattern: str) -> int:
        number = 0
        while self.has(pattern.replace("#", str(number))):
            number += 1
        return number

    def shape_of(self, ending: str) -> Shape:
        return super().shape_of(ending.replace(".", ""))

    def unequal(self, name: str) -> bool:
        return super().unequal(name.replace(".", ""))


Measure: TypeAlias = Callable[[View], Scope | None]
"""Sizes of a table's axes from the names that are there; None where the network is not."""


class Row:
    """A block at every place of its axes.

    Axes are named in order; each one's length is a number or a formula over the sizes and the axes before it. An axis
    of length 0 or 1 makes a row conditional.
    """

    __slots__ = ("axes", "leaves", "ours", "theirs")

    def __init__(self, ours: str, theirs: str, leaves: tuple[Leaf, ...] = ITSELF, **axes: int | str) -> None:
        self.ours = Template(ours)
        self.theirs = Template(theirs)
        self.leaves = leaves
        self.axes: tuple[tuple[str, Formula], ...] = tuple((name, parse(str(size))) for name, size in axes.items())

    def copy(self, *, theirs: Template, leaves: tuple[Leaf, ...]) -> Row:
        """This row with another right side."""
        twin = Row.__new__(Row)
        twin.ours, twin.theirs, twin.leaves, twin.axes = self.ours, theirs, leaves, self.axes
        return twin

    def places(self, sizes: Scope) -> Iterator[tuple[str, str]]:
        """Every (ours, theirs) that the axes give."""
        scopes: list[dict[str, int | tuple[int, ...]]] = [dict(sizes)]
        for name, length in self.axes:
            scopes = [{**scope, name: index} for scope in scopes for index in range(length(scope))]
        for scope in scopes:
            yield self.ours.fill(scope), self.theirs.fill(scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All names of one network in our spelling and in another."""

    name: str
    rows: tuple[Row, ...]
    measure: Measure
    measure_ours: Measure

    def entries(self, sizes: Scope, view: View, side: Side, *, most: int | None = None) -> tuple[Entry, ...]:
        """Every pair of names at these sizes, or the first `most`.

        `view` shows the tensors of `side`, whose shapes decide on shortcuts.
        """
        every = (
            entry
            for row in self.rows
            for ours, theirs in row.places(sizes)
            for leaf in row.leaves
            if not leaf.unequal or view.unequal(_sibling(row, leaf, (ours, theirs), side))
            for entry in _leaf_entries(leaf, ours, theirs)
        )
        return tuple(islice(every, most))

    def own(self, name: str) -> Table:
        """The table whose right side is our own spelling."""
        rows = tuple(row.copy(theirs=row.ours, leaves=tuple(_own_leaves(row.leaves))) for row in self.rows)
        return replace(self, name=name, rows=rows, measure=self.measure_ours)


def _own_leaves(leaves: Iterable[Leaf]) -> Iterator[Leaf]:
    for leaf in leaves:
        for name in (leaf.ours,) if isinstance(leaf.ours, str) else leaf.ours:
            yield Leaf(name, name, leaf.kinds, None, leaf.unequal)


def _sibling(row: Row, leaf: Leaf, places: tuple[str, str], side: Side) -> str:
    sibling = next(other for other in row.leaves if other.ours == leaf.unequal)
    names = sibling.ours if side == "ours" else sibling.theirs
    return _spelt(places[0 if side == "ours" else 1], names if isinstance(names, str) else names[0], "weight")


def _leaf_entries(leaf: Leaf, ours: str, theirs: str) -> Iterator[Entry]:
    left = (leaf.ours,) if isinstance(leaf.ours, str) else leaf.ours
    right = (leaf.theirs,) if isinstance(leaf.theirs, str) else leaf.theirs
    for kind in leaf.kinds:
        yield Entry(
            ours=tuple(_spelt(ours, name, kind) for name in left),
            theirs=tuple(_spelt(theirs, name, kind) for name in right),
            op=leaf.op,
        )


def _spelt(place: str, leaf: str, kind: str) -> str:
    if "*" in leaf:
        leaf, kind = leaf.replace("*", kind), ""
    return ".".join(piece for piece in (place, leaf, kind) if piece)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one network's names lie: behind `prefix`; with `squash`, also without their dots, as averages are kept.

    In a folder the prefix is the part's name and a slash, and `file` the stem of its weights. `note` is what people
    should know about weights that are found here.
    """

    prefix: str
    table: Table
    squash: bool = False
    file: str = "diffusion_pytorch_model"
    note: str = ""

    def spell(self, name: str) -> str:
        """The whole name of the table's `name`."""
        return self.prefix + (name.replace(".", "") if self.squash else name)

    def view(self, shapes: Mapping[str, Shape]) -> View:
        """The tensors below the prefix, without it."""
        start = len(self.prefix)
        below = {name[start:]: shape for name, shape in shapes.items() if name.startswith(self.prefix)}
        return SquashedView(below) if self.squash else View(below)

    def inside(self, wrapper: str) -> Place:
        """The same place when everything lies one level deeper, behind `wrapper`."""
        return replace(self, prefix=wrapper + self.prefix)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One network of a checkpoint. `places` are alternatives; writing uses the first.

    A part that is not `required` may be absent as a whole. `like` names another part whose sizes this one shares.
    """

    component: str
    places: tuple[Place, ...]
    required: bool = False
    like: str = ""


@dataclass(frozen=True, slots=True)
class Drop:
    """Tensors that are known and knowingly not loaded. `pattern` may hold `*`."""

    pattern: str
    reason: str


@dataclass(frozen=True, slots=True)
class ShapeFact:
    """What the layout demands of one tensor of ours: its length along `axis`, or its number of axes for None."""

    component: str
    tensor: str
    axis: int | None
    allowed: tuple[int, ...]
    what: str


@dataclass(frozen=True, slots=True)
class SizeFact:
    """What the layout demands of one measured size, a list's being its length.

    No `allowed` allow every number but those `refused`.
    """

    component: str
    size: str
    allowed: tuple[int, ...]
    what: str
    refused: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A kind of checkpoint of one family. `folder` layouts have one sub-folder per part."""

    name: str
    family: str
    parts: tuple[Part, ...]
    drops: tuple[Drop, ...] = ()
    facts: tuple[ShapeFact | SizeFact, ...] = ()
    folder: bool = False

    def inside(self, wrapper: str) -> Layout:
        """The same layout when all its names stand behind `wrapper`, as training programs save them."""
        return replace(
            self,
            parts=tuple(
                replace(part, places=tuple(place.inside(wrapper) for place in part.places)) for part in self.parts
            ),
            drops=(*(Drop(wrapper + drop.pattern, drop.reason) for drop in self.drops), *self.drops),
        )

    def part(self, component: str) -> Part:
        """The part called `component`. Raises KeyError."""
        for part in self.parts:
            if part.component == component:
                return part
        raise KeyError(f"{self.name} has no part {component!r}")

    def reason_to_drop(self, name: str) -> str | None:
        """Why the tensor `name` is not loaded; None when this layout does not know it."""
        return next((drop.reason for drop in self.drops if fnmatchcase(name, drop.pattern)), None)

    def names_for(self, component: str, ours: Mapping[str, Shape], *, place: Place | None = None) -> tuple[Entry, ...]:
        """How a network with the tensors `ours` is written: its entries, with the prefix on their side.

        `place` is where a file had it; the part's usual one for None. Raises BadModelFile when the tensors are not
        those of one network of this layout.
        """
        place = place or self.part(component).places[0]
        view = View(ours)
        sizes = place.table.measure_ours(view)
        entries = () if sizes is None else place.table.entries(sizes, view, "ours")
        known = {name for entry in entries for name in entry.ours}
        if strange := sorted(known ^ set(ours)):
            raise BadModelFile(
                f"The {component} cannot be written as {self.name}: {len(strange)} tensors do not fit it, "
                f"such as {strange[0]}.",
                hint="Choose the layout of the model's own family.",
            )
        return tuple(replace(entry, theirs=tuple(place.spell(name) for name in entry.theirs)) for entry in entries)
