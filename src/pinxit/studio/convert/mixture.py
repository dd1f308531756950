"""Mixtures of models: weighted sums and added differences, block by block, tensor by tensor."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from pinxit.engine.catalog import Catalog
from pinxit.schema.errors import BadInput
from pinxit.studio.convert.blocks import block_of, blocks_of, read_blocks
from pinxit.studio.convert.model import (
    Chosen,
    Converted,
    Wish,
    apart,
    chosen,
    fitted,
    left_out,
    markers_of,
    write_rooms,
)
from pinxit.studio.convert.understanding import Known, open_source, understand
from pinxit.weights.blobs import Blob, Files, is_float
from pinxit.weights.files import Outgoing
from pinxit.weights.numbers import Codes, encoded
from pinxit.weights.rewrite import Named, checked, laid_out, our_blobs, outgoing, still_there

WEIGHTED, DIFFERENCE = "weighted", "add-difference"
MODES = (WEIGHTED, DIFFERENCE)
TAKE = ("a", "b", "merge")
CONV_IN = "input_blocks.0.0.weight"
PIECE_NUMBERS = 2**20
MAX_RECIPE = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """How models are mixed.

    `weighted` gives (1 - ratio) A + ratio B, `add-difference` A + ratio (B - C). `blocks` are the ratios of single
    blocks of the denoiser as text (see `blocks.read_blocks`). `vae` and `text` say where those networks come from:
    a, b, or mixed by the ratio as well.
    """

    mode: str = WEIGHTED
    ratio: float = 0.5
    blocks: str | None = None
    vae: str = "a"
    text: str = "a"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise BadInput(f"There is no way to merge called {self.mode!r}.", hint=f"Known: {', '.join(MODES)}.")
        if not -10 <= self.ratio <= 10:
            raise BadInput(f"The ratio {self.ratio} is out of bounds.", hint="It is usually from 0 to 1.")
        for name, choice in (("VAE", self.vae), ("text encoder", self.text)):
            if choice not in TAKE:
                raise BadInput(f"The {name} cannot be taken from {choice!r}.", hint=f"Known: {', '.join(TAKE)}.")


def merge(
    paths: Sequence[Path],
    destination: Path,
    catalog: Catalog,
    mixture: Mixture,
    wish: Wish | None = None,
    *,
    fingerprint: Callable[[Path], str] | None = None,
) -> Converted:
    """Mix the models at `paths` (A, B and for differences C) into `destination`, in the layout that `wish` asks for.

    The metadata get the recipe, with the SHA-256 of every input. Raises BadInput where the models do not fit each
    other, and everything that `convert` raises.
    """
    needed = 3 if mixture.mode == DIFFERENCE else 2
    if len(paths) != needed:
        raise BadInput(f"{mixture.mode} needs {needed} models, not {len(paths)}.", hint="Give A B, or A B C.")
    wish = wish or Wish()
    apart(destination, *paths)
    models = [understand(open_source(path), catalog) for path in paths]
    _must_match(models, mixture)
    target = chosen(models[0], replace(wish, components=None, average="drop"), destination)
    recipe = _Recipe.of(models, mixture, target)
    target = replace(
        target, did="merge", parts=recipe.parts, metadata=_told(models, mixture, recipe, fingerprint or sha256)
    )
    with still_there(models[0].source.header) as files:
        for model in models[1:]:
            still_there(model.source.header)
        rooms = [(name, recipe.mixed(name, files, wish.dtype)) for name in recipe.parts]
        rooms.append(("", markers_of(models[0], target, files)))
        written = write_rooms(models[0], target, rooms, destination, wish)
    return Converted(
        files=written,
        model=models[0].name,
        layout=target.layout.name,
        components=tuple(recipe.parts),
        tensors=sum(len(tensors) for _, tensors in rooms),
        size=sum(path.stat().st_size for path in written),
        left_out=left_out(models[0].match, target),
        notes=recipe.notes,
    )


def sha256(path: Path) -> str:
    """The digest of one file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _must_match(models: Sequence[Known], mixture: Mixture) -> None:
    """Refuse models of several families, and ones that predict different things."""
    first = models[0]
    for letter, model in zip("ABC"[1:], models[1:], strict=False):
        if model.name != first.name:
            raise BadInput(
                f"A is a {first.name} model and {letter} is a {model.name} one.", hint="Only models of one family mix."
            )
        if first.family is None or model.family is None:
            continue
        mine, theirs = (known.family.facts(known.config) for known in (first, model) if known.family is not None)
        sure = not any(facts.evidence.startswith("unknown") for facts in (mine, theirs))
        if sure and mine.prediction != theirs.prediction and mixture.ratio:
            raise BadInput(
                f"A predicts {mine.prediction} ({mine.evidence}) and {letter} {theirs.prediction} ({theirs.evidence}).",
                hint="Their numbers mean different things: mix models of one prediction type.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    """What becomes of every network: the first model's tensors, those of the others, and how much of each."""

    mixture: Mixture
    target: Chosen
    parts: Mapping[str, Mapping[str, Blob]]
    others: Mapping[str, tuple[Mapping[str, Blob], ...]]
    blocks: Mapping[str, float]
    denoiser: str
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, models: Sequence[Known], mixture: Mixture, target: Chosen) -> _Recipe:
        """Decide for each network whether it is taken or mixed. Raises BadInput where tensors do not fit."""
        family = models[0].family
        denoiser = family.denoiser if family is not None else models[0].name
        available = [
            {
                name: fitted(our_blobs(part, model.source.blobs), name, model, target.layout.folder)
                for name, part in model.match.parts.items()
                if name in {room.component for room in target.layout.parts} and not name.endswith("_average")
            }
            for model in models
        ]
        parts: dict[str, Mapping[str, Blob]] = {}
        others: dict[str, tuple[Mapping[str, Blob], ...]] = {}
        notes: list[str] = []
        for component in dict.fromkeys(name for part in available[:2] for name in part):
            choice = _choice(component, denoiser, mixture)
            owners = [part.get(component) for part in available]
            first = owners[1] if choice == "b" else owners[0]
            if first is None:
                first, choice = next(owner for owner in owners if owner is not None), "a"
                notes.append(f"only one of the models brings the {component}")
            parts[component] = first
            if choice == "merge":
                rest = tuple(owner for owner in owners[1:] if owner is not None)
                if len(rest) != len(models) - 1:
                    notes.append(f"the {component} is A's: not every model brings one")
                    continue
                for letter, other in zip("BC", rest, strict=False):
                    _must_fit(component, denoiser, first, other, letter)
                others[component] = rest
        names = blocks_of(parts.get(denoiser, {}))
        return cls(
            mixture=mixture,
            target=target,
            parts=parts,
            others=others,
            blocks=read_blocks(mixture.blocks, names),
            denoiser=denoiser,
            notes=tuple(notes),
        )

    def mixed(self, component: str, files: Files, dtype: str | None) -> list[Outgoing]:
        """The tensors of one network on their way into the file."""
        layout = self.target.layout
        first = laid_out(layout, component, self.parts[component])
        others = [
            {tensor.name: tensor.blob for tensor in laid_out(layout, component, blobs)}
            for blobs in self.others.get(component, ())
        ]
        return [
            self._tensor(tensor, [blobs[tensor.name] for blobs in others], component, files, dtype) for tensor in first
        ]

    def _tensor(self, tensor: Named, others: list[Blob], component: str, files: Files, dtype: str | None) -> Outgoing:
        ratio = self.mixture.ratio
        if component == self.denoiser:
            ratio = self.blocks.get(block_of(tensor.ours) or "", ratio)
        blob = tensor.blob
        if not others or ratio == 0.0 or not is_float(blob):
            return outgoing(tensor.name, blob, files, dtype or ("F16" if blob.packed else None))
        kind = dtype or ("F16" if blob.packed else blob.dtype)
        make = partial(_mixed_codes, [blob, *others], ratio, files, kind)
        return checked(tensor.name, blob.shape, kind, make, "F32")


def _choice(component: str, denoiser: str, mixture: Mixture) -> str:
    """Where a network comes from: `a`, `b` or `merge`."""
    if component == denoiser:
        return "merge"
    if component == "vae":
        return mixture.vae
    return mixture.text if component.startswith("text_encoder") else "a"


def _must_fit(component: str, denoiser: str, first: Mapping[str, Blob], other: Mapping[str, Blob], letter: str) -> None:
    """Refuse networks of different tensors. The first may have more input channels: what it adds to a picture."""
    if strange := sorted(set(first) ^ set(other)):
        owner = "A" if strange[0] in first else letter
        raise BadInput(
            f"The {component} of A and {letter} differ: only {owner} has {strange[0]} ({len(strange)} such tensors).",
            hint="Only models with the same networks mix.",
        )
    for name, blob in first.items():
        theirs = other[name].shape
        if blob.shape == theirs:
            continue
        wider = component == denoiser and name == CONV_IN and len(theirs) == len(blob.shape) == 4
        if wider and blob.shape[1] > theirs[1] and (blob.shape[0], *blob.shape[2:]) == (theirs[0], *theirs[2:]):
            continue
        hint = "Only models of the same sizes mix."
        if wider and theirs[1] > blob.shape[1]:
            hint = "Give the model with more input channels, such as the inpainting one, as A."
        raise BadInput(
            f"{name} of the {component} is {list(blob.shape)} in A and {list(theirs)} in {letter}.", hint=hint
        )


def _mixed_codes(blobs: list[Blob], ratio: float, files: Files, dtype: str) -> Iterator[Codes]:
    if any(blob.shape != blobs[0].shape for blob in blobs[1:]):
        yield encoded(_widened(blobs, ratio, files), dtype)
        return
    runs = [blob.pieces(files, "F32", numbers=PIECE_NUMBERS) for blob in blobs]
    for piece in zip(*runs, strict=True):
        yield encoded(_formula(piece, ratio), dtype)


def _formula(values: Sequence[Codes], ratio: float) -> Codes:
    """(1 - r) A + r B, or A + r (B - C), in float32."""
    share = np.float32(ratio)
    if len(values) == 2:
        return values[1] if ratio == 1.0 else values[0] * np.float32(1 - ratio) + values[1] * share
    return values[0] + (values[1] - values[2]) * share


def _widened(blobs: list[Blob], ratio: float, files: Files) -> Codes:
    """The first convolution of A, mixed where the others have channels as well; the rest of its channels is A's."""
    wide, *narrow = (np.concatenate([*blob.pieces(files, "F32")]).reshape(blob.shape) for blob in blobs)
    channels = min(part.shape[1] for part in narrow)
    result = wide.copy()
    result[:, :channels] = _formula([wide[:, :channels], *(part[:, :channels] for part in narrow)], ratio)
    return result.reshape(-1)


def _told(
    models: Sequence[Known], mixture: Mixture, recipe: _Recipe, fingerprint: Callable[[Path], str]
) -> dict[str, str]:
    """The recipe as metadata, under the names that other programs read as well."""
    inputs: list[dict[str, object]] = []
    ancestors: dict[str, object] = {}
    for letter, model in zip("ABC", models, strict=False):
        header = model.source.header
        root = header.path if header.path.is_dir() else header.path.parent
        digests = {path.relative_to(root).as_posix(): fingerprint(path) for path in sorted(header.sizes)}
        inputs.append({"model": letter, "name": header.path.name, "sha256": digests})
        for name, digest in digests.items():
            earlier = header.metadata.get("sd_merge_recipe")
            ancestors[digest] = {"name": name, "sd_merge_recipe": earlier if earlier is None else earlier[:MAX_RECIPE]}
    told = {
        "type": "pinxit",
        "mode": mixture.mode,
        "ratio": mixture.ratio,
        "blocks": {name: round(weight, 6) for name, weight in recipe.blocks.items()},
        "vae": mixture.vae,
        "text": mixture.text,
        "inputs": inputs,
    }
    return {
        "sd_merge_recipe": json.dumps(told, ensure_ascii=False),
        "sd_merge_models": json.dumps(ancestors, ensure_ascii=False),
        "modelspec.merged_from": ", ".join(str(entry["name"]) for entry in inputs),
    }
