"""What the factors of a change must look like to fit a layer, told by their shapes alone.

Letters: a layer has `out` rows and `inner` columns, all axes after the first taken together; r is a rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from pinxit.weights.layout import Shape

Shapes = Mapping[str, Shape]
"""Shapes of a change's tensors by their role."""

FACTORS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "lora": (("up", "down"),),
    "loha": (("w1_a", "w1_b", "w2_a", "w2_b"),),
    "lokr": (("w1", "w2"), ("w1_a", "w1_b", "w2"), ("w1", "w2_a", "w2_b"), ("w1_a", "w1_b", "w2_a", "w2_b")),
    "glora": (("a1", "a2", "b1", "b2"),),
    "oft": (("blocks",),),
    "ia3": (("weight", "on_input"),),
    "full": (("weight",),),
    "norm": (("weight",),),
    "set": (("weight",),),
}
"""The tensors that a change needs, any one of the groups; those of `dora` are its factors' and a magnitude."""


def complete(algorithm: str, roles: Mapping[str, object]) -> bool:
    """Whether every factor is there."""
    return any(all(role in roles for role in group) for group in FACTORS[algorithm])


def fits(algorithm: str, shapes: Shapes, layer: Shape) -> bool:
    """Whether a change of these factors is one of a layer of the shape `layer`. The factors must be complete."""
    if any(not shape for role, shape in shapes.items() if role not in ("alpha", "on_input", "rescale")):
        return False
    found = _EXTENTS[algorithm](shapes, layer)
    return found == (layer[0], math.prod(layer[1:])) and _magnitude_fits(shapes.get("magnitude"), layer)


def rank(shapes: Shapes) -> int:
    """The rank by which alpha is divided (Hu et al. 2021, section 4.1); 1 where nothing is of low rank."""
    for role in ("mid", "down", "w2_b", "w1_b"):
        if role in shapes:
            return shapes[role][0]
    if "a1" in shapes:
        return shapes["b1"][1] if is_new_glora(shapes) else shapes["b1"][0]
    return 1


def is_new_glora(shapes: Shapes) -> bool:
    """Whether GLoRA's factors stand as LyCORIS writes them since 2024, out x r and r x in, not the other way round."""
    a1, a2, b1, b2 = (shapes[role] for role in ("a1", "a2", "b1", "b2"))
    return b1[1] == b2[0] == a1[1] == a2[0]


Extent = tuple[int, int]
_WRONG = (-1, -1)


def _lora(shapes: Shapes, _layer: Shape) -> Extent:
    up, down, mid = shapes["up"], shapes["down"], shapes.get("mid")
    if len(up) < 2 or len(down) < 2:
        return _WRONG
    if mid is None:
        return (up[0], math.prod(down[1:])) if math.prod(up[1:]) == down[0] else _WRONG
    joins = len(mid) >= 2 and math.prod(up[1:]) == mid[0] and mid[1] == down[0] and not math.prod(down[2:]) > 1
    return (up[0], down[1] * math.prod(mid[2:])) if joins else _WRONG


def _product(a: Shape, b: Shape, core: Shape | None) -> Extent:
    """Rows and columns of a @ b; with the core of Tucker's form [r, r, k, k], of a [r, out] and b [r, in]."""
    if len(a) != 2 or len(b) < 2:
        return _WRONG
    if core is None:
        return (a[0], math.prod(b[1:])) if a[1] == b[0] else _WRONG
    joins = len(core) > 2 and core[0] == a[0] and core[1] == b[0] and len(b) == 2
    return (a[1], b[1] * math.prod(core[2:])) if joins else _WRONG


def _loha(shapes: Shapes, _layer: Shape) -> Extent:
    first = _product(shapes["w1_a"], shapes["w1_b"], shapes.get("t1"))
    second = _product(shapes["w2_a"], shapes["w2_b"], shapes.get("t2"))
    return first if first == second else _WRONG


def _lokr(shapes: Shapes, _layer: Shape) -> Extent:
    def extent(name: str, core: str) -> Extent:
        if name not in shapes:
            return _product(shapes[f"{name}_a"], shapes[f"{name}_b"], shapes.get(core))
        whole = shapes[name]
        return (whole[0], math.prod(whole[1:])) if len(whole) >= 2 else _WRONG

    first, second = extent("w1", ""), extent("w2", "t2")
    return _WRONG if _WRONG in (first, second) else (first[0] * second[0], first[1] * second[1])


def _glora(shapes: Shapes, layer: Shape) -> Extent:
    a1, a2, b1, b2 = (shapes[role] for role in ("a1", "a2", "b1", "b2"))
    if not all(len(shape) == 2 for shape in (a1, a2, b1)) or len(b2) < 2:
        return _WRONG
    if not is_new_glora(shapes):
        a1, a2, b1, b2 = a2, a1, b2, b1
    joins = len(b1) == 2 and b1[1] == b2[0] and a1[1] == a2[0] and a1[0] == a2[1]
    return (b1[0], math.prod(b2[1:])) if joins and layer[1:2] == a1[:1] else _WRONG


def _oft(shapes: Shapes, layer: Shape) -> Extent:
    blocks = shapes["blocks"]
    square = len(blocks) in (3, 4) and blocks[-1] == blocks[-2]
    rescale = math.prod(shapes.get("rescale", ()))
    if not square or rescale not in (1, layer[0]):
        return _WRONG
    if len(blocks) == 4 and (blocks[-1] % 2 or layer[0] % (2 ** (blocks[0] - 1) * blocks[-1])):
        return _WRONG
    return blocks[-3] * blocks[-1], math.prod(layer[1:])


def _ia3(shapes: Shapes, layer: Shape) -> Extent:
    return (layer[0], math.prod(layer[1:])) if math.prod(shapes["weight"]) in layer[:2] else _WRONG


def _whole(shapes: Shapes, _layer: Shape) -> Extent:
    return shapes["weight"][0], math.prod(shapes["weight"][1:])


_EXTENTS: Mapping[str, Callable[[Shapes, Shape], Extent]] = {
    "lora": _lora,
    "loha": _loha,
    "lokr": _lokr,
    "glora": _glora,
    "oft": _oft,
    "ia3": _ia3,
    "full": _whole,
    "norm": _whole,
    "set": _whole,
}


def _magnitude_fits(magnitude: Shape | None, layer: Shape) -> bool:
    if magnitude is None:
        return True
    return len(layer) >= 2 and math.prod(magnitude) in layer[:2]
