"""LoRA and its relatives: what a file of theirs changes in a model, tensor by tensor.

```
names of the file --modules--> layers of the model --factors--> what fits --merge--> the weight, when it is loaded
```
Several adapters act in the order of the request, each on what those before it made of the weight, and the result is
rounded once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from pinxit.adapters.contract import AdapterKind, Base, Source, Strength, TensorPatch
from pinxit.adapters.factors import FACTORS, complete, fits, rank
from pinxit.schema.errors import BadModelFile, ModelError, NumericError
from pinxit.weights.header import Header
from pinxit.weights.layout import Op, Shape
from pinxit.weights.lora_names import BUNDLED, WEIGHT, Module, Target, modules, read_modules, targets

if TYPE_CHECKING:
    from torch import Tensor

BIAS = ".bias"
_AGAIN = "Download it again."
PEFT = "lora_adapter_metadata"
"""Metadata in which diffusers keeps what PEFT writes into a file of its own: alphas, which its tensors lack."""
PEFT_MAGNITUDE = "lora_magnitude_vector"
"""How PEFT calls magnitudes, which are always of outputs, whatever their axes."""
MOST = 0.5
"""The share of a file's layers that must be the model's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One tensor's change: how, by which tensors of the file (by their role), and scaled by what without an alpha."""

    module: str
    target: Target
    algorithm: str
    factors: Mapping[str, str]
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundLora:
    """An adapter of the kind `lora` on one model: its changes by component and by the tensor's name, ours."""

    name: str
    header: Header
    denoiser: str
    strengths: Strength
    changes: Mapping[str, Mapping[str, tuple[Change, ...]]]
    notes: tuple[str, ...] = field(default=())

    def strength(self, component: str) -> float:
        if component not in self.changes:
            return 0.0
        return self.strengths.image if component == self.denoiser else self.strengths.text

    def patch(self, component: str) -> TensorPatch:
        """The change of one component's tensors, one at a time in memory."""
        changes, strength = self.changes.get(component, {}), self.strength(component)

        def patched(name: str, tensor: Tensor) -> Tensor:
            found = changes.get(name, ()) if strength else ()
            return tensor if not found else self._changed(tensor, found, strength)

        return patched

    def _changed(self, tensor: Tensor, changes: tuple[Change, ...], strength: float) -> Tensor:
        import torch

        from pinxit.adapters.merge import changed
        from pinxit.weights.load import read_tensors

        whole = tensor.to(torch.float32, copy=True)
        for change in changes:
            read = read_tensors(self.header, change.factors.values())
            factors = {role: read[name].to(torch.float32) for role, name in change.factors.items()}
            if PEFT_MAGNITUDE in change.factors.get("magnitude", ""):
                factors["magnitude"] = factors["magnitude"].flatten()
            target = change.target
            place = whole if target.piece is None else whole.chunk(target.piece[1])[target.piece[0]]
            try:
                turned = changed(change.algorithm, _turned(place, target.op), factors, strength, change.scale)
                place.copy_(_turned(turned, target.op))
            except RuntimeError as error:
                if "allocate memory" in str(error):
                    raise
                raise BadModelFile(
                    f"{self.name} is damaged: the factors of {change.module} do not fit together.", hint=_AGAIN
                ) from error
        if not bool(torch.isfinite(whole).all()) and bool(torch.isfinite(tensor.float()).all()):
            raise NumericError(
                f"{self.name} makes {changes[0].target.ours} infinite or no number.",
                hint="Lower its weight; if that does not help, the file is damaged.",
            )
        return whole


def _turned(tensor: Tensor, op: Op | None) -> Tensor:
    """From our form of a weight to the trainer's, and back; what differs in nothing but axes of 1 stays as it is."""
    if op is Op.SWAP:
        return tensor.roll(tensor.shape[0] // 2, 0)
    return tensor.t() if op is Op.TRANSPOSE and tensor.ndim == 2 else tensor


def bind(source: Source, base: Base, strength: Strength) -> BoundLora:
    """What the file changes in the model.

    Raises BadModelFile where factors are missing, and ModelError where it was made for another family, changes layers
    of other shapes, or where more than half of its layers are not the model's.
    """
    found, strangers = read_modules(source.header.tensors)
    known = modules(_targets(base))
    shapes = source.header.shapes
    alphas = _Alphas(source.header)
    changes: dict[str, dict[str, list[Change]]] = {}
    unknown: list[str] = []
    misfits: list[str] = []
    for name, module in found.items():
        target = known.get(name)
        made = [] if target is None else list(_changes(source, module, target, alphas))
        at_home = [(one, shape) for one in made if (shape := _layer(base, one.target)) is not None]
        if not at_home:
            unknown.append(name)
        for change, shape in at_home:
            if fits(change.algorithm, {role: shapes[tensor] for role, tensor in change.factors.items()}, shape):
                of_component = changes.setdefault(change.target.component, {})
                of_component.setdefault(change.target.ours, []).append(change)
            else:
                held = ", ".join(f"{role} {list(shapes[one])}" for role, one in change.factors.items() if shapes[one])
                misfits.append(f"{name} ({held}), where {base.name} has {list(shape)}")
    _check(source, base, found, unknown, misfits)
    return BoundLora(
        name=source.name,
        header=source.header,
        denoiser=base.family.denoiser,
        strengths=strength,
        changes={one: {name: tuple(many) for name, many in tensors.items()} for one, tensors in changes.items()},
        notes=tuple(_notes(source, base, changes, unknown, strangers)),
    )


def _targets(base: Base) -> Iterator[Target]:
    """The layers of the components that adapters may change, with the names that diffusers folders give them.

    Text encoders have had two spellings there.
    """
    parts = [part for layout in base.family.layouts if layout.folder for part in layout.parts]
    for component in (base.family.denoiser, *base.family.encoders):
        if component not in base.match.parts:
            continue
        shapes = base.match.parts[component].shapes
        places = [place for part in parts if part.component == component for place in part.places]
        for place in places[: 1 if component == base.family.denoiser else None]:
            yield from targets(component, place.table, shapes)


def _layer(base: Base, target: Target) -> Shape | None:
    """The shape of the layer as its trainer sees it; None where the model has no such tensor."""
    shape = base.match.parts[target.component].shapes.get(target.ours)
    if not shape:
        return None
    if target.op is Op.TRANSPOSE:
        return shape[::-1]
    return shape if target.piece is None else (shape[0] // target.piece[1], *shape[1:])


def _changes(source: Source, module: Module, target: Target, alphas: _Alphas) -> Iterator[Change]:
    """The changes that one module makes: of its layer's weight, and of the bias beside it."""
    roles = dict(module.tensors)
    bias = roles.pop("bias", None)
    if bias is not None:
        beside = Target(
            component=target.component,
            ours=target.ours.removesuffix(WEIGHT) + BIAS,
            theirs=target.theirs.removesuffix(WEIGHT) + BIAS,
            piece=target.piece,
            op=target.op,
        )
        yield Change(module=module.name, target=beside, algorithm="full", factors={"weight": bias})
    scale = alphas.scale(module.name, {role: source.header.shapes[name] for role, name in roles.items()})
    whole = [name for name in FACTORS if name in module.parts and complete(name, roles)]
    for algorithm in whole:
        yield Change(module=module.name, target=target, algorithm=algorithm, factors=roles, scale=scale)
    if not whole and bias is None and "reshape" not in module.parts:
        held = ", ".join(sorted(roles))
        raise BadModelFile(f"{source.name} is incomplete: of {module.name} it holds only {held}.", hint=_AGAIN)


class _Alphas:
    """The alphas that PEFT keeps apart from the tensors."""

    def __init__(self, header: Header) -> None:
        try:
            read = cast(object, json.loads(header.metadata.get(PEFT, "{}")))
        except (ValueError, RecursionError):
            read = {}
        self._told = cast("Mapping[str, object]", read) if isinstance(read, dict) else {}

    def scale(self, module: str, shapes: Mapping[str, Shape]) -> float:
        """alpha / r of a module without an alpha, or alpha / sqrt(r) where it says so (arXiv 2312.03732); else 1."""
        part, _, path = module.partition(".")
        alpha = self._told.get(f"{part}.lora_alpha")
        patterns = self._told.get(f"{part}.alpha_pattern")
        if isinstance(patterns, dict):
            for pattern, value in cast("Mapping[str, object]", patterns).items():
                if path == pattern or path.endswith(f".{pattern}"):
                    alpha = value
        r = rank(shapes)
        if not isinstance(alpha, int | float) or isinstance(alpha, bool) or "down" not in shapes or r < 1:
            return 1.0
        return float(alpha) / (math.sqrt(r) if self._told.get(f"{part}.use_rslora") is True else r)


def _check(source: Source, base: Base, found: Mapping[str, Module], unknown: list[str], misfits: list[str]) -> None:
    """Raise ModelError for a file that is not one of this model's."""
    if len(unknown) <= MOST * len(found) and not misfits:
        return
    if source.about.bases and base.family.name not in source.about.bases:
        made_for = source.made_for or source.about.bases[0]
        because = f" ({said})" if (said := "; ".join(source.about.evidence[-1:])) else ""
        raise ModelError(
            f"{source.name} was made for {made_for}{because}, and {base.name} is {base.family.title}.",
            hint=f"Choose an adapter for {base.family.title}, or a model that is {made_for}.",
        )
    if misfits and len(unknown) <= MOST * len(found):
        raise ModelError(
            f"{source.name} changes layers of other shapes than {base.name} has: {len(misfits)}, such as {misfits[0]}.",
            hint="It was made for another model.",
        )
    share = "none" if len(unknown) == len(found) else f"only {len(found) - len(unknown)}"
    raise ModelError(
        f"{source.name} changes {len(found)} layers, and {share} of them are {base.name}'s, such as {unknown[0]}.",
        hint=f"It was made for another model than {base.family.title}.",
    )


def _notes(
    source: Source,
    base: Base,
    changes: Mapping[str, Mapping[str, list[Change]]],
    unknown: list[str],
    strangers: tuple[str, ...],
) -> Iterator[str]:
    order = [one for one in (base.family.denoiser, *base.family.encoders) if one in changes]
    parts = [f"{len(changes[one])} of the {one.replace('_', ' ')}" for one in order]
    yield f"{source.name} changes {sum(map(len, changes.values()))} tensors: {', '.join(parts)}"
    if source.about.bases and base.family.name not in source.about.bases:
        yield f"{source.name} seems to be made for {source.made_for or source.about.bases[0]}, but fits"
    if unknown:
        yield f"{source.name}: {len(unknown)} of its layers are not the model's and are left out, such as {unknown[0]}"
    bundled = [name for name in strangers if name.startswith(BUNDLED)]
    if bundled:
        yield f"{source.name} brings {len(bundled)} tensors of embeddings, which are left out"
    if len(strangers) > len(bundled):
        yield f"{source.name}: {len(strangers) - len(bundled)} of its tensors change no layer and are left out"


KIND = AdapterKind(name="lora", title="LoRA", bind=bind, aliases=("lyco", "lycoris", "locon"))
