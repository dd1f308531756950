"""One model into another form: its layout, its number type, the networks in it. Tensor by tensor, never whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pinxit import __version__
from pinxit.engine.catalog import Catalog
from pinxit.schema.errors import BadInput, BadModelFile, UnknownModelFormat
from pinxit.studio.convert.folder import Around, around
from pinxit.studio.convert.understanding import Known, must_be_there, open_source, understand
from pinxit.studio.inspect.licences import find_licence
from pinxit.weights.blobs import Blob, Files, Source, is_float
from pinxit.weights.files import Outgoing
from pinxit.weights.folder import read_model
from pinxit.weights.header import Header, TensorInfo
from pinxit.weights.identify import Match, identify, match_layout
from pinxit.weights.layout import Layout
from pinxit.weights.rewrite import (
    Check,
    Named,
    Room,
    Target,
    completed,
    laid_out,
    our_blobs,
    outgoing,
    still_there,
    without,
    write_folder,
    write_single,
)

SINGLE, FOLDER, SAME = "single", "diffusers", "same"
LAYOUTS = (SINGLE, FOLDER, SAME)
AVERAGE = "unet_average"
HISTORY = "pinxit.history"
STALE = ("modelspec.hash_sha256", "sshs_model_hash", "sshs_legacy_hash")
"""Metadata about the bytes of the tensors, which are others now."""
PREDICTIONS: Mapping[str, str] = {"epsilon": "epsilon", "velocity": "v"}
"""What modelspec calls the prediction types."""
MARKER = "marker"
"""How the reasons begin for which a table drops tensors that say something."""
MAX_HISTORY = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a model is to become.

    `layout` is one of LAYOUTS; None follows the name: a .safetensors file, or else a folder. `dtype` is a type of the
    file format; None leaves the numbers as they are. `components` are the networks to keep, None is all.
    `average` says what happens to the averaged weights beside a U-Net: drop them, keep them beside it, or use them in
    its place.
    """

    layout: str | None = None
    dtype: str | None = None
    components: tuple[str, ...] | None = None
    average: str = "drop"
    max_shard_bytes: int | None = None
    overwrite: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What was written. `left_out` counts tensors that did not come along, by reason."""

    files: tuple[Path, ...]
    model: str
    layout: str
    components: tuple[str, ...]
    tensors: int
    size: int
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """All of it as plain JSON values."""
        return {
            "files": [str(path) for path in self.files],
            "model": self.model,
            "layout": self.layout,
            "components": list(self.components),
            "tensors": self.tensors,
            "size": self.size,
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
        }


def convert(path: Path, destination: Path, catalog: Catalog, wish: Wish | None = None) -> Converted:
    """Write the model at `path` as `destination`; either everything appears there or nothing.

    Raises Missing, BadModelFile, UnknownModelFormat, BadInput for a wish that cannot be fulfilled, NumericError for
    NaN and for numbers that a type cannot express, OutOfSpace.
    """
    wish = wish or Wish()
    if wish.layout not in (None, *LAYOUTS):
        raise BadInput(f"There is no layout {wish.layout!r}.", hint=f"Known: {', '.join(LAYOUTS)}.")
    apart(destination, path)
    source = open_source(path)
    if wish.layout == SAME:
        return _as_it_is(source, destination, wish)
    try:
        known = understand(source, catalog)
    except UnknownModelFormat:
        changed = not is_single(path) or wish.dtype is not None or wish.max_shard_bytes is not None
        if changed and wish.layout is None and wish.components is None and is_single(destination):
            return _as_it_is(source, destination, wish)
        raise
    return write_known(known, chosen(known, wish, destination), destination, wish)


def apart(destination: Path, *sources: Path) -> None:
    """Raise BadInput when `destination` is one of `sources`, or a folder that is no model and would be replaced.

    Raises Missing and BadModelFile for a source that cannot be reached.
    """
    for source in sources:
        must_be_there(source)
        if source.exists() and destination.exists() and source.samefile(destination):
            raise BadInput(f"{destination} would replace what it is made from.", hint="Choose another name.")
    models = ("model_index.json", "config.json")
    if destination.is_dir() and not any((destination / name).is_file() for name in models):
        raise BadInput(f"{destination} is a folder, and no model that could be replaced.", hint="Choose another name.")


def is_single(destination: Path) -> bool:
    return destination.name.endswith(".safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The layout to write, and the tensors of each network that goes into it, by component of that layout.

    `metadata` go into the files beside what the source says of itself; `did` is what is being done, in one word.
    """

    layout: Layout
    parts: Mapping[str, Mapping[str, Blob]]
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    did: str = "convert"


def chosen(known: Known, wish: Wish, destination: Path) -> Chosen:
    """Which networks go into which layout. Raises BadInput where the model lacks what is asked for."""
    match = known.match
    if match.missing:
        raise BadModelFile(
            f"{match.header.path.name} lacks {len(match.missing)} tensors of a {known.name} model, such as "
            f"{match.missing[0]}.",
            hint="The file is incomplete: download it again. --layout same rewrites it as it is.",
        )
    parts = {name: our_blobs(part, known.source.blobs) for name, part in match.parts.items()}
    _must_be_floats(parts, match)
    average = parts.pop(AVERAGE, None)
    if wish.average == "use":
        if average is None:
            raise BadInput(f"{match.header.path.name} holds no averaged weights.", hint="Leave --use-ema out.")
        parts["unet"] = average
    elif wish.average == "keep" and average is not None:
        parts[AVERAGE] = average
    if wish.components is not None:
        absent = [name for name in wish.components if name not in parts]
        if absent or not wish.components:
            raise BadInput(
                f"{match.header.path.name} holds no {' and no '.join(absent) or 'empty name'}.",
                hint=f"It holds {', '.join(parts)}.",
            )
        parts = {name: blobs for name, blobs in parts.items() if name in wish.components}
    folder = _wants_folder(wish, destination)
    parts = {name: fitted(blobs, name, known, folder) for name, blobs in parts.items()}
    return Chosen(layout=target_layout(known.layouts, parts, folder, known.name), parts=parts)


def _must_be_floats(parts: Mapping[str, Mapping[str, Blob]], match: Match) -> None:
    for component, blobs in parts.items():
        for name, blob in blobs.items():
            if not is_float(blob):
                raise BadModelFile(
                    f"{match.header.path.name} holds {blob.dtype} numbers where the {component} has weights ({name}).",
                    hint="Quantised files are not converted: use the float version.",
                )


def fitted(blobs: Mapping[str, Blob], component: str, known: Known, folder: bool) -> Mapping[str, Blob]:
    """The tensors of a network as a file or a folder of its family holds them: without some, and with others."""
    writing = known.family.writing if known.family is not None else None
    if not folder or writing is None:
        return blobs
    return completed(without(blobs, writing.left_out.get(component, ())), writing.identities.get(component, {}))


def _wants_folder(wish: Wish, destination: Path) -> bool:
    return wish.layout == FOLDER if wish.layout is not None else not is_single(destination)


def target_layout(
    layouts: Sequence[Layout], parts: Mapping[str, Mapping[str, Blob]], folder: bool, model: str
) -> Layout:
    """The first layout of its form that has room for `parts` and explains what they become in it.

    Raises BadInput when there is none.
    """
    fitting = [layout for layout in layouts if layout.folder == folder]
    roomy = [layout for layout in fitting if set(parts) <= {part.component for part in layout.parts}]
    for layout in roomy:
        if len(roomy) == 1 or _explains(layout, parts):
            return layout
    form = "folder" if folder else "single file"
    if not fitting:
        raise BadInput(f"A {model} is not written as a {form}.", hint="Choose the other layout.")
    room = {part.component for part in fitting[0].parts}
    raise BadInput(
        f"A {form} of {model} has no room for {', '.join(sorted(set(parts) - room))}.",
        hint=f"It holds {', '.join(sorted(room))}: choose with --components.",
    )


def _explains(layout: Layout, parts: Mapping[str, Mapping[str, Blob]]) -> bool:
    """Whether `layout` recognises these networks in the names and shapes that it gives them."""
    try:
        named = [tensor for name, blobs in parts.items() for tensor in laid_out(layout, name, blobs)]
    except BadModelFile:
        return False
    path = Path("made.safetensors")
    tensors = {
        tensor.name: TensorInfo(name=tensor.name, dtype="F32", shape=tensor.blob.shape, start=0, end=0, path=path)
        for tensor in named
    }
    found = match_layout(Header(path=path, tensors=tensors), layout)
    return isinstance(found, Match) and not found.missing and not found.unexpected


def write_known(known: Known, target: Chosen, destination: Path, wish: Wish) -> Converted:
    """Write the networks of `target`, with what belongs beside them."""
    named = {name: laid_out(target.layout, name, blobs) for name, blobs in target.parts.items()}
    kept = {info.name for tensors in named.values() for info in tensors}
    with still_there(known.source.header) as files:
        rooms = [(name, [_ready(tensor, files, wish.dtype) for tensor in tensors]) for name, tensors in named.items()]
        rooms.append(("", markers_of(known, target, files)))
        written = write_rooms(known, target, rooms, destination, wish)
    return Converted(
        files=written,
        model=known.name,
        layout=target.layout.name,
        components=tuple(named),
        tensors=len(kept),
        size=sum(path.stat().st_size for path in written),
        left_out=left_out(known.match, target),
        notes=known.source.notes,
    )


def _ready(tensor: Named, files: Files, dtype: str | None) -> Outgoing:
    return outgoing(tensor.name, tensor.blob, files, dtype or ("F16" if tensor.blob.packed else None))


def markers_of(known: Known, target: Chosen, files: Files) -> list[Outgoing]:
    """The tensors of a single file that are no weights, but say what it predicts. A folder has its JSON for that."""
    if target.layout.folder or known.match.layout.folder:
        return []
    reasons = known.match.dropped
    return [outgoing(name, known.source.blobs[name], files) for name in reasons if reasons[name].startswith(MARKER)]


def write_rooms(
    known: Known,
    target: Chosen,
    rooms: Sequence[tuple[str, Sequence[Outgoing]]],
    destination: Path,
    wish: Wish,
) -> tuple[Path, ...]:
    """Write tensors that are ready, by component, as the layout of `target` wants them. Returns the files.

    What has no component goes into a single file as it is, in place of the family's own markers of that name.
    """
    layout = target.layout
    metadata = metadata_of(known, target, wish)
    goal = Target(path=destination, metadata=metadata, max_shard_bytes=wish.max_shard_bytes, overwrite=wish.overwrite)
    beside = around(known, layout, set(target.parts))
    check = _checker(known, layout)
    if not layout.folder:
        tensors = [tensor for _, part in rooms for tensor in part]
        extra = set(beside.markers) - {tensor.name for tensor in tensors}
        return write_single([*tensors, *(_marker(name) for name in sorted(extra))], goal, check)
    placed = [_room(layout, name, tensors) for name, tensors in rooms if name]
    return write_folder(placed, goal, check, files=beside.files, copies=beside.copies)


def _room(layout: Layout, component: str, tensors: Sequence[Outgoing]) -> Room:
    place = layout.part(component).places[0]
    inside = [replace(tensor, name=tensor.name.removeprefix(place.prefix)) for tensor in tensors]
    return Room(folder=place.prefix.rstrip("/"), stem=place.file, tensors=inside)


def _marker(name: str) -> Outgoing:
    return Outgoing(name=name, dtype="F32", shape=(0,), pieces=lambda: ())


def _checker(known: Known, layout: Layout) -> Check:
    """Whatever was written must be recognised again, complete: nothing appears that we could not read ourselves."""

    def check(path: Path) -> None:
        found = identify(read_model(path), [layout])
        if found.missing or found.unexpected:
            names = ", ".join((*found.missing, *found.unexpected)[:3])
            raise BadModelFile(f"{known.match.header.path.name} cannot be written as {layout.name}: {names}.")

    return check


def left_out(match: Match, target: Chosen) -> dict[str, int]:
    """Why tensors of the source did not come along, and how many."""
    dropped = match.dropped.values()
    reasons = Counter(reason for reason in dropped if target.layout.folder or not reason.startswith(MARKER))
    for component, part in match.parts.items():
        if component == AVERAGE and component not in target.parts:
            reasons["average of the training, beside the weights"] += len(part.entries)
        elif component not in target.parts:
            reasons[f"the {component} was not asked for"] += len(part.entries)
        elif absent := set(part.shapes) - set(target.parts[component]):
            reasons[f"not part of the {component} in this layout"] += len(absent)
    if match.unexpected:
        sample = ", ".join(name[:60] for name in match.unexpected[:2])
        reasons[f"nothing is known of them, such as {sample}"] += len(match.unexpected)
    return dict(reasons)


def metadata_of(known: Known, target: Chosen, wish: Wish) -> dict[str, str]:
    """What the source said of itself, corrected and extended by what was done."""
    header = known.match.header
    found = {"format": "pt"} | {name: text for name, text in header.metadata.items() if name not in STALE}
    if known.match.layout.folder and "modelspec.license" not in found:
        licence = find_licence(header.path, header.metadata, ()).name
        found |= {"modelspec.license": licence} if licence else {}
    if not target.layout.folder and known.family is not None:
        facts = known.family.facts(known.config)
        if facts.prediction in PREDICTIONS and not facts.evidence.startswith("unknown"):
            found["modelspec.prediction_type"] = PREDICTIONS[facts.prediction]
        if known.family.writing is not None:
            found |= known.family.writing.metadata(known.config, known.match)
    found |= target.metadata
    done = {"did": target.did, "from": header.path.name, "layout": target.layout.name, "pinxit": __version__}
    return with_history(found, done | ({"dtype": wish.dtype} if wish.dtype else {}))


def with_history(metadata: Mapping[str, str], done: Mapping[str, object]) -> dict[str, str]:
    """`metadata` with one more line in the list of what was done to the file."""
    try:
        earlier: object = json.loads(metadata.get(HISTORY, "[]"))
    except (ValueError, RecursionError):
        earlier = []
    lines: list[object] = [*earlier] if isinstance(earlier, list) else []
    text = json.dumps([*lines, done], ensure_ascii=False)
    return {**metadata, HISTORY: text if len(text) <= MAX_HISTORY else json.dumps([done], ensure_ascii=False)}


def _as_it_is(source: Source, destination: Path, wish: Wish) -> Converted:
    """Every tensor under the name it has. Raises BadInput for a folder of several networks."""
    if not is_single(destination):
        raise BadInput(f"{destination.name} must end in .safetensors.", hint="--layout same writes one file.")
    if wish.components is not None:
        raise BadInput("--components needs a layout that knows them.", hint="Leave --layout same out.")
    if not source.blobs:
        raise BadModelFile(f"{source.header.path.name} holds no tensors.", hint="Download it again.")
    if any("/" in name for name in source.blobs):
        raise BadInput(
            f"{source.header.path.name} is a folder of several networks.", hint="Use --layout single or diffusers."
        )
    metadata = {"format": "pt"} | {name: text for name, text in source.header.metadata.items() if name not in STALE}
    done = {"did": "convert", "from": source.header.path.name, "layout": SAME, "pinxit": __version__}
    target = Target(
        path=destination,
        metadata=with_history(metadata, done | ({"dtype": wish.dtype} if wish.dtype else {})),
        max_shard_bytes=wish.max_shard_bytes,
        overwrite=wish.overwrite,
    )
    with still_there(source.header) as files:
        tensors = [
            outgoing(name, blob, files, wish.dtype or ("F16" if blob.packed else None))
            for name, blob in source.blobs.items()
        ]
        written = write_single(tensors, target, read_model)
    return Converted(
        files=written,
        model="",
        layout=SAME,
        components=(),
        tensors=len(tensors),
        size=sum(path.stat().st_size for path in written),
        notes=source.notes,
    )


__all__ = ["Around", "Converted", "Wish", "convert"]
