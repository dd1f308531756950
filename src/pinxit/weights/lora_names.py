"""What every trainer calls the layers that an adapter changes, as functions of the tables' rows.

A table gives each layer two paths, ours (`input_blocks.1.1.proj_in`) and that of a diffusers folder
(`down_blocks.0.attentions.0.proj_in`). A `Naming` makes a trainer's module of one of them; a suffix then says which of
the module's tensors it is:

```
lora_unet_down_blocks_0_attentions_0_proj_in .lora_down.weight        kohya
lora_unet_input_blocks_1_1_proj_in           .lora_down.weight        kohya, for SDXL
unet.down_blocks.0.attentions.0.proj_in      .lora_A.weight           PEFT, diffusers
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pinxit.weights.layout import Op, Shape, Side, Table, View

WEIGHT = ".weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One layer of a model: its component, and the names of its weight, ours and that of a diffusers folder.

    `piece` is (number, count) where the folder's weight is one of `count` equal parts of ours along the first axis, and
    `op` is how it differs from ours otherwise.
    """

    component: str
    ours: str
    theirs: str
    piece: tuple[int, int] | None = None
    op: Op | None = None

    def path(self, side: Side) -> str:
        """The layer's path on one side, without `.weight`."""
        return (self.ours if side == "ours" else self.theirs).removesuffix(WEIGHT)


def targets(component: str, table: Table, ours: Mapping[str, Shape]) -> tuple[Target, ...]:
    """Every layer with a weight of the network that has the tensors `ours`; `table`'s other side is the folder's."""
    view = View(ours)
    sizes = table.measure_ours(view)
    if sizes is None:
        return ()
    found: list[Target] = []
    for entry in table.entries(sizes, view, "ours"):
        first, *more = entry.ours
        if more or not all(name.endswith(WEIGHT) for name in (*entry.ours, *entry.theirs)):
            continue
        count = len(entry.theirs)
        for number, theirs in enumerate(entry.theirs):
            piece = (number, count) if count > 1 else None
            found.append(Target(component=component, ours=first, theirs=theirs, piece=piece, op=entry.op))
    return tuple(found)


def _underscored(path: str) -> str | None:
    return path.replace(".", "_")


def _dotted(path: str) -> str | None:
    return path


PROJECTIONS = {"to_q": "to_q", "to_k": "to_k", "to_v": "to_v", "to_out.0": "to_out"}


def _processor(path: str) -> str | None:
    """Attentions alone, whose layers belong to a processor of theirs."""
    for layer, name in PROJECTIONS.items():
        attention = path.removesuffix(f".{layer}")
        if attention != path:
            return f"{attention}.processor.{name}"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """One trainer's way: what stands before a component's layers (any of them), and how a layer's path is spelt.

    `spell` gives None for a layer that this trainer never changes.
    """

    name: str
    side: Side
    spell: Callable[[str], str | None]
    prefixes: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def modules(self, target: Target) -> tuple[str, ...]:
        """What this trainer may call the layer; empty for one that it never changes."""
        if target.piece is not None and self.side == "ours" and target.piece[0]:
            return ()
        path = self.spell(target.path(self.side))
        return () if path is None else tuple(prefix + path for prefix in self.prefixes.get(target.component, ()))


_KOHYA_TEXT = {
    "text_encoder": ("lora_te_", "lora_te1_"),
    "text_encoder_2": ("lora_te2_",),
    "text_encoder_3": ("lora_te3_",),
}
_DIFFUSERS_TEXT = {name: (f"{name}.",) for name in ("text_encoder", "text_encoder_2", "text_encoder_3")}

NAMINGS: tuple[Naming, ...] = (
    Naming(
        name="kohya",
        side="theirs",
        spell=_underscored,
        prefixes={"unet": ("lora_unet_",), "transformer": ("lora_unet_", "lora_transformer_"), **_KOHYA_TEXT},
    ),
    Naming(
        name="kohya, original blocks",
        side="ours",
        spell=_underscored,
        prefixes={"unet": ("lora_unet_",), "transformer": ("lora_unet_",)},
    ),
    Naming(
        name="diffusers",
        side="theirs",
        spell=_dotted,
        prefixes={"unet": ("unet.",), "transformer": ("transformer.",), **_DIFFUSERS_TEXT},
    ),
    Naming(
        name="diffusers of 2023",
        side="theirs",
        spell=_processor,
        prefixes={"unet": ("unet.", ""), "transformer": ("transformer.",), **_DIFFUSERS_TEXT},
    ),
    Naming(
        name="PEFT",
        side="theirs",
        spell=_dotted,
        prefixes=dict.fromkeys(("unet", "transformer"), ("base_model.model.",)),
    ),
    Naming(
        name="SimpleTuner",
        side="theirs",
        spell=_underscored,
        prefixes={"unet": ("lycoris_",), "transformer": ("lycoris_",)},
    ),
    Naming(
        name="ComfyUI",
        side="ours",
        spell=_dotted,
        prefixes={"unet": ("diffusion_model.",), "transformer": ("diffusion_model.",)},
    ),
)


def modules(found: Iterable[Target], namings: Iterable[Naming] = NAMINGS) -> dict[str, Target]:
    """What any of these trainers may call the layers `found`. Raises ValueError where one name means two layers."""
    names: dict[str, Target] = {}
    namings = tuple(namings)
    for target in found:
        for naming in namings:
            whole = Target(component=target.component, ours=target.ours, theirs=target.theirs)
            meant = whole if naming.side == "ours" else target
            for name in naming.modules(target):
                if names.setdefault(name, meant) != meant:
                    raise ValueError(f"{name} names {names[name].ours} as well as {meant.ours}")
    return names


SUFFIXES: Mapping[str, tuple[str, str]] = {
    ".lora_up.weight": ("lora", "up"),
    ".lora_down.weight": ("lora", "down"),
    ".lora_mid.weight": ("lora", "mid"),
    ".lora_B.weight": ("lora", "up"),
    ".lora_A.weight": ("lora", "down"),
    ".lora_B.default.weight": ("lora", "up"),
    ".lora_A.default.weight": ("lora", "down"),
    ".lora_B": ("lora", "up"),
    ".lora_A": ("lora", "down"),
    ".lora.up.weight": ("lora", "up"),
    ".lora.down.weight": ("lora", "down"),
    "_lora.up.weight": ("lora", "up"),
    "_lora.down.weight": ("lora", "down"),
    ".lora_linear_layer.up.weight": ("lora", "up"),
    ".lora_linear_layer.down.weight": ("lora", "down"),
    ".lora_magnitude_vector": ("dora", "magnitude"),
    ".lora_magnitude_vector.weight": ("dora", "magnitude"),
    ".dora_scale": ("dora", "magnitude"),
    ".alpha": ("", "alpha"),
    **{f".hada_{name}": ("loha", name) for name in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")},
    **{f".lokr_{name}": ("lokr", name) for name in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")},
    ".oft_blocks": ("oft", "blocks"),
    ".oft_R": ("oft", "blocks"),
    ".rescale": ("oft", "rescale"),
    **{f".{name}.weight": ("glora", name) for name in ("a1", "a2", "b1", "b2")},
    ".on_input": ("ia3", "on_input"),
    ".diff": ("full", "weight"),
    ".diff_b": ("full", "bias"),
    ".w_norm": ("norm", "weight"),
    ".b_norm": ("norm", "bias"),
    ".set_weight": ("set", "weight"),
    ".reshape_weight": ("reshape", "shape"),
    WEIGHT: ("ia3", "weight"),
}
"""The algorithm and the role of a tensor, by how its name ends. An alpha belongs to every algorithm."""

_BY_LENGTH = tuple(sorted(SUFFIXES, key=len, reverse=True))
BUNDLED = "bundle_emb."
"""What the names of embeddings start with that come in the same file."""


def split_name(name: str) -> tuple[str, str, str] | None:
    """The module, the algorithm and the role that a tensor's name says; None where it is no tensor of a module."""
    if name.startswith(BUNDLED) or not name.endswith(_BY_LENGTH):
        return None
    for suffix in _BY_LENGTH:
        if name.endswith(suffix):
            return (name.removesuffix(suffix), *SUFFIXES[suffix])
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One layer's change in a file: how it is computed, and its tensors' names by their role.

    `algorithm` is what such a change is known as; `parts` are all algorithms that its tensors belong to.
    """

    name: str
    algorithm: str
    tensors: Mapping[str, str]
    parts: frozenset[str] = frozenset()


def read_modules(names: Iterable[str]) -> tuple[dict[str, Module], tuple[str, ...]]:
    """The modules of a file with these tensors, and the names that belong to none.

    A change with a magnitude beside its factors is one of DoRA; `.weight` alone counts only where `.on_input` is
    beside it, as IA3 writes.
    """
    roles: dict[str, dict[str, str]] = {}
    algorithms: dict[str, set[str]] = {}
    strangers: list[str] = []
    names = tuple(names)
    present = set(names)
    for name in names:
        parts = split_name(name)
        if parts is None or (parts[1:] == ("ia3", "weight") and f"{parts[0]}.on_input" not in present):
            strangers.append(name)
            continue
        module, algorithm, role = parts
        roles.setdefault(module, {})[role] = name
        algorithms.setdefault(module, set()).update({algorithm} - {""})
    found: dict[str, Module] = {}
    for module, tensors in roles.items():
        kinds = algorithms[module]
        if kinds:
            algorithm = "dora" if "dora" in kinds else min(kinds)
            found[module] = Module(name=module, algorithm=algorithm, tensors=tensors, parts=frozenset(kinds))
        else:
            strangers += tensors.values()
    return found, tuple(strangers)
