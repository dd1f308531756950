"""From a path to an Inspection: look at the file's first bytes, its header, its neighbours, and what is known of it."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.engine.catalog import Catalog
from pinxit.schema.errors import BadInput, BadModelFile, Missing
from pinxit.studio.inspect.advice import advice_for, folder_advice, stranger_advice
from pinxit.studio.inspect.foreign import LEGACY, recognise
from pinxit.studio.inspect.identity import Identity, component_of, identity
from pinxit.studio.inspect.inspection import MOST_NAMES, FileFacts, Inspection
from pinxit.studio.inspect.licences import Licence, find_licence, known_file
from pinxit.studio.inspect.metadata import cleaned, shown_metadata, training_facts
from pinxit.studio.inspect.words import note, plain
from pinxit.weights.folder import read_model
from pinxit.weights.header import Header, read_header

if TYPE_CHECKING:
    from pinxit.studio.hashes import HashCache, Hashes

INDEX = ".safetensors.index.json"
MODELS = (".safetensors", INDEX, *LEGACY, ".gguf")
MOST_FILES = 1000
"""Entries of a folder that are looked at."""
_SHARD = re.compile(r"^(.+)-(\d{5})-of-(\d{5})\.safetensors$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What an inspection may use: the catalogue, whether to read whole files for hashes, and where models lie."""

    catalog: Catalog
    hashes: bool
    cache: HashCache | None
    folders: Sequence[Path]


def inspect_file(
    path: Path,
    catalog: Catalog,
    *,
    hashes: bool = True,
    cache: HashCache | None = None,
    folders: Sequence[Path] = (),
) -> Inspection:
    """What the file or folder at `path` is.

    With `hashes` every file of the model is read from end to end, unless `cache` remembers it. `folders` are those
    that models are found in by name. Raises Missing when there is nothing at `path`, and BadInput when it is neither
    a file nor a folder or cannot be read; whatever else is wrong with it is the answer.
    """
    means = Means(catalog=catalog, hashes=hashes, cache=cache, folders=folders)
    if path.name == "model_index.json":
        path = path.parent
    try:
        info = path.stat()
        if not (stat.S_ISDIR(info.st_mode) or stat.S_ISREG(info.st_mode)):
            raise BadInput(f"{path.name} is a device, not a file.", hint="Give the path of a model.")
        return _inspect(path, info, means)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Missing(f"There is no file {path}.", hint="Check the path.") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadInput(f"{path.name!a} cannot be read: {reason}.", hint="Check its permissions.") from error


def _inspect(path: Path, info: os.stat_result, means: Means) -> Inspection:
    try:
        if _SHARD.match(path.name) and stat.S_ISREG(info.st_mode):
            return _shard(path, means)
        return _understood(path, read_model(path), means)
    except BadModelFile as error:
        if stat.S_ISDIR(info.st_mode):
            return _folder(path, error)
        if path.name.endswith(INDEX):
            advice = (plain(error.hint),)
            evidence = (error.message,)
            title = note("kind.damaged")
            return Inspection(
                path=path, kind="damaged", title=title, size=info.st_size, evidence=evidence, advice=advice
            )
        return _stranger(path, info.st_size, error, means)


def _understood(path: Path, header: Header, means: Means) -> Inspection:
    found = identity(header, means.catalog)
    files = _files(header.sizes, path, means)
    digests = _digests(files)
    licence = find_licence(path, header.metadata, digests)
    match = found.match
    missing = (*found.missing, *(match.missing if match else ()))
    return Inspection(
        path=path,
        kind=found.kind,
        title=found.title,
        size=sum(header.sizes.values()),
        family=found.family.name if found.family else found.goes_with,
        family_title=found.family.title if found.family else _title(found.goes_with, means),
        candidates=found.candidates,
        variant=found.variant,
        prediction=found.prediction,
        evidence=(*_sharded(path, header), *found.evidence),
        scheduler=found.scheduler,
        layout=found.layout,
        table=match.layout.name if match else None,
        components=found.components,
        missing=_names(missing),
        missing_count=len(missing),
        unexpected=_names(match.unexpected) if match else (),
        unexpected_count=len(match.unexpected) if match else 0,
        unused=dict(Counter(match.dropped.values())) if match else {},
        files=files,
        metadata=shown_metadata(header.metadata),
        training=training_facts(header.metadata),
        licence=_with_language_model(licence, found),
        known_as=_known_as(digests),
        advice=advice_for(found, path, licence, means.folders),
    )


def _with_language_model(licence: Licence, found: Identity) -> Licence:
    """The licence, with what is known of a language model's published versions as further evidence."""
    model = found.language_model
    if model is None or licence.name is not None:
        return licence
    return Licence(evidence=(f"{model.title} was published under: {', '.join(model.licences)}", *licence.evidence))


def _shard(path: Path, means: Means) -> Inspection:
    """One of several files of a model: by itself it is not to be used."""
    header = read_header(path)
    found = _SHARD.match(path.name)
    stem, number, total = (found[1], int(found[2]), int(found[3])) if found else ("", 1, 1)
    index = path.with_name(f"{stem}{INDEX}")
    advice = note("advice.index", name=index.name) if index.is_file() else note("advice.index-missing")
    files = _files(header.sizes, path, means)
    return Inspection(
        path=path,
        kind="shard",
        title=note("kind.shard"),
        size=sum(header.sizes.values()),
        variant=f"{number} of {total}",
        evidence=(f"its name says that it is shard {number} of {total}",),
        components=(component_of("tensors", header.tensors.values()),),
        files=files,
        metadata=shown_metadata(header.metadata),
        training=training_facts(header.metadata),
        licence=find_licence(path, header.metadata, _digests(files)),
        advice=(advice,),
    )


def _stranger(path: Path, size: int, error: BadModelFile, means: Means) -> Inspection:
    """A file that is no readable safetensors file."""
    found = recognise(path, size, error.message)
    rest = identity(found.rest, means.catalog) if found.rest is not None else None
    files = _files({path: size}, path, means) if size else ()
    digests = _digests(files)
    metadata = found.rest.metadata if found.rest is not None else {}
    whole = () if rest is None else (f"its header is that of a {rest.title.text()}", *rest.evidence)
    return Inspection(
        path=path,
        kind=found.kind,
        title=note(f"kind.{found.kind}"),
        size=size,
        family=rest.family.name if rest and rest.family else None,
        family_title=rest.family.title if rest and rest.family else "",
        variant=rest.variant if rest else None,
        prediction=rest.prediction if rest else None,
        evidence=(*found.evidence, *whole),
        layout=rest.layout if rest else None,
        table=rest.match.layout.name if rest and rest.match else None,
        components=rest.components if rest else (),
        missing=_names(rest.missing) if rest else (),
        missing_count=len(rest.missing) if rest else 0,
        files=files,
        metadata=shown_metadata(metadata),
        training=training_facts(metadata),
        licence=find_licence(path, metadata, digests),
        known_as=_known_as(digests),
        advice=stranger_advice(found, path, size),
    )


def _folder(path: Path, error: BadModelFile) -> Inspection:
    """A folder that cannot be read as a model: a diffusers folder that lacks something, or one with many models."""
    whole = (path / "model_index.json").is_file()
    names = _entries(path)
    kind = "diffusers" if whole else "folder"
    legacy = [name for name in names if name.endswith(LEGACY)]
    models = [name for name in names if name.endswith(MODELS)]
    evidence = [error.message]
    if models and not whole:
        evidence.append(f"it holds {len(models)} files of models, such as {', '.join(sorted(models)[:5])}")
    return Inspection(
        path=path,
        kind=kind,
        title=note(f"kind.{kind}"),
        size=sum((path / name).stat().st_size for name in names if (path / name).is_file()),
        layout="diffusers" if whole else None,
        evidence=tuple(evidence),
        licence=find_licence(path, {}, ()),
        advice=folder_advice(path, whole=whole, legacy=legacy, models=models, hint=error.hint),
    )


def _entries(path: Path) -> list[str]:
    """Files in a folder and, for the parts of a model, one level below it; at most 1000."""
    found: list[str] = []
    for place in (path, *sorted(entry for entry in path.iterdir() if entry.is_dir())[:50]):
        found += [str(entry.relative_to(path)) for entry in sorted(place.iterdir()) if entry.is_file()]
        if len(found) >= MOST_FILES:
            break
    return found[:MOST_FILES]


def _sharded(path: Path, header: Header) -> tuple[str, ...]:
    if path.name.endswith(INDEX):
        return (f"the index names {len(header.sizes)} shards, and all of them are here",)
    return ()


def _title(family: str | None, means: Means) -> str:
    return means.catalog.families.get(family).title if family and family in means.catalog.families else ""


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(cleaned(name, 160) for name in list(names)[:MOST_NAMES])


def _files(sizes: Mapping[Path, int], root: Path, means: Means) -> tuple[FileFacts, ...]:
    """The model's files, the largest first. New hashes are kept in the cache."""
    ordered = sorted(sizes, key=lambda path: (-sizes[path], str(path)))
    files = tuple(
        FileFacts(name=_relative(path, root), size=sizes[path], hashes=_hashes(path, means)) for path in ordered
    )
    if means.cache is not None:
        means.cache.save()
    return files


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if root.is_dir() and path.is_relative_to(root) else path.name


def _hashes(path: Path, means: Means) -> Hashes | None:
    if not means.hashes:
        return means.cache.known(path) if means.cache is not None else None
    if means.cache is not None:
        return means.cache.hashes(path)
    from pinxit.studio.hashes import compute_hashes

    return compute_hashes(path)


def _digests(files: Iterable[FileFacts]) -> list[str]:
    return [file.hashes.sha256 for file in files if file.hashes is not None]


def _known_as(digests: Iterable[str]) -> str | None:
    known = next((found for digest in digests if (found := known_file(digest))), None)
    return f"{known.title} ({known.file})" if known else None
